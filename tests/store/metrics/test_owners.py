"""Every target and rule has its own room in memory, before and after a restart."""

import numpy as np
import pytest

from observe.model import Frame, Labels
from observe.protocols import NO_SERIES
from tests.store.metrics.test_blocks import settle

LIMIT = 4


def offer(bench, owner, *names):
    """A sample of each of these series of `owner`; which of them were refused."""
    series = [Labels({"__name__": name, "of": owner}) for name in names]
    ids = bench.store.series_ids(series, owner)
    bench.store.append(Frame(np.array([bench.clock.now_ms()]), ids, np.ones((1, len(ids)))))
    return [name for name, series_id in zip(names, ids.tolist(), strict=True) if series_id == NO_SERIES]


def killed(bench):
    bench.reopen()


def closed(bench):
    bench.store.close()
    bench.reopen()


def after_its_log_was_shortened(bench):
    """The hour is in a block, and the series that live are named anew in a later segment."""
    bench.clock.advance("2h")
    settle(bench, "6m")
    assert bench.store.stats()["blocks"] == 1
    assert not bench.store._wal.path(1).exists()
    bench.reopen()


def twice(bench):
    bench.reopen()
    bench.reopen()


@pytest.mark.parametrize("restart", [killed, closed, after_its_log_was_shortened, twice])
def test_a_target_that_exploded_gets_no_second_room_from_a_restart(make, restart):
    bench = make(owner_limit=LIMIT)
    assert offer(bench, "exploded", "a", "b", "c", "d", "e") == ["e"]
    assert offer(bench, "small", "a") == []

    restart(bench)

    assert offer(bench, "exploded", "a", "f", "g", "d") == ["f", "g"]
    assert offer(bench, "small", "a", "b", "c", "d", "e") == ["e"]
    assert offer(bench, "new", "a", "b", "c", "d", "e") == ["e"]


def test_series_of_before_a_restart_make_room_when_they_fell_silent(make):
    bench = make(owner_limit=LIMIT, cache_bytes=0)
    offer(bench, "job/1", "a", "b", "c", "d")
    bench.reopen()
    assert offer(bench, "job/1", "e") == ["e"]

    bench.clock.advance("3h")
    settle(bench, "1h")

    assert offer(bench, "job/1", "e", "f", "g", "h", "i") == ["i"]


def test_a_series_that_came_back_from_another_target_is_of_that_one_after_a_restart(make):
    bench = make(owner_limit=LIMIT, cache_bytes=0)
    kept = Labels({"__name__": "kept"})
    steady = bench.store.series_ids([Labels({"__name__": "steady"})])
    bench.store.series_ids([kept], "before")
    hour_ms = 3_600_000
    for _ in range(36):  # the log of the hour that is not over names it still, when it has left the memory
        bench.clock.advance_ms(hour_ms // 36)
        bench.store.append(Frame(np.array([bench.clock.now_ms()]), steady, np.ones((1, 1))))
        bench.store.maintain(bench.clock.now_ms(), 10.0)
    assert bench.store._index.get(kept) is None
    bench.store.series_ids([kept], "after")

    bench.reopen()

    assert offer(bench, "before", "a", "b", "c", "d", "e") == ["e"]
    assert offer(bench, "after", "a", "b", "c", "d", "e") == ["d", "e"]


def test_more_owners_than_are_ever_looked_at_keep_theirs(make):
    bench = make(owner_limit=1)
    for number in range(3000):
        offer(bench, f"pod/{number}", "a")

    bench.reopen()

    assert all(offer(bench, f"pod/{number}", "a", "b") == ["b"] for number in range(0, 3000, 7))
    assert bench.store._head.owned[1:].count(1) == 3000
