"""Should we send? Every answer with its reason."""

import pytest

from observe.model import Reason
from observe.notify.dedup import Sent, should_send

HOUR = 3_600_000


def sent(firing: str = "", resolved: str = "", at_ms: int = 0) -> Sent:
    return Sent(at_ms, frozenset(firing), frozenset(resolved))


CASES = [
    ("nothing told, something fires", None, "a", "", 0, True, Reason.FIRST),
    ("nothing told, it is over already", None, "", "a", 0, False, Reason.NEVER_SENT),
    ("one more fires", sent("a"), "ab", "", 0, True, Reason.NEW_ALERTS),
    ("another one instead", sent("a"), "b", "a", 0, True, Reason.NEW_ALERTS),
    ("the same again", sent("a"), "a", "", HOUR - 1, False, Reason.UNCHANGED),
    ("the same, long after", sent("a"), "a", "", HOUR, True, Reason.REPEAT),
    ("one of two is over", sent("ab"), "a", "b", 0, True, Reason.SOME_RESOLVED),
    ("one of two is over, known", sent("a", "b"), "a", "b", 0, False, Reason.UNCHANGED),
    ("all are over", sent("ab"), "", "ab", 0, True, Reason.ALL_RESOLVED),
    ("all over, told", sent("", "ab"), "", "ab", 2 * HOUR, False, Reason.UNCHANGED),
    ("over, and never told of it", sent("a"), "a", "b", 0, False, Reason.UNCHANGED),
    ("a new one after all were over", sent("", "a"), "b", "", 0, True, Reason.FIRST),
    ("fewer fire, held back elsewhere", sent("ab"), "a", "", 0, False, Reason.UNCHANGED),
]


@pytest.mark.parametrize(
    ("last", "firing", "resolved", "now", "send", "reason"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_should_send(last, firing, resolved, now, send, reason):
    decision = should_send(last, frozenset(firing), frozenset(resolved), HOUR, now)
    assert (decision.send, decision.reason) == (send, reason)
