"""The book of silences stays small, whoever fills it."""

import pytest

from observe.errors import InvalidInput
from observe.model import Matcher
from observe.notify.ledger import Ledger
from observe.notify.silences import SilenceBook
from observe.protocols import Silence

DAY_MS = 24 * 3_600_000


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "alerts.sqlite")
    yield ledger
    ledger.close()


def silence(instance, ends_at_ms=1000, silence_id=""):
    return Silence(silence_id, (Matcher("instance", "=", instance),), 0, ends_at_ms, "me", "")


def test_more_silences_than_anybody_needs_are_refused(ledger):
    book = SilenceBook(ledger, most=2)
    first = book.put(silence("a"), 0)
    book.put(silence("b"), 0)

    with pytest.raises(InvalidInput, match="there are 2 silences already"):
        book.put(silence("c"), 0)
    assert first == book.put(silence("a", ends_at_ms=2000, silence_id=first), 0), "a change is not one more"

    assert book.put(silence("c", ends_at_ms=3000), 1500), "one of them is over"


def test_what_is_over_for_days_is_forgotten_and_the_rest_is_not(ledger):
    book = SilenceBook(ledger)
    over, lately, active = (book.put(silence(name, ends_at_ms=days * DAY_MS), 0)
                            for name, days in (("a", 1), ("b", 3), ("c", 9)))
    book.forget(7 * DAY_MS)

    assert [active, lately] == [one.id for one in book.listed(7 * DAY_MS)]
    assert {over, lately, active} == {one.id for one in ledger.silences()}, "the ledger remembers for longer"
