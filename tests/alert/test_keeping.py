"""Snapshots of rules with many series: cut in pieces between ticks, all or none on the disk, refused when damaged."""

import asyncio
import resource
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from observe.loops import evaluate, pause
from tests.alert.test_evaluate import restart
from tests.alert.world import World

BANDS = """groups:
- name: g
  rules:
  - alert: Odd
    expr: load
    band: {detector: rolling, window: 10, min_abs: 5, direction: above, trigger: 1 of 1, recover: 2 of 2}
"""
STAGED = BANDS.replace("rolling, window: 10", "auto, window: 10").replace("expr: load", "expr: load * 1")
QUIET = "10 11 10 9 10 11 9 10 11 12 9 10 10 11 9 10"
SERIES = 9


OPENED = []


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    """As of a rule with many series; and whatever is under way at the end is given up, as at a stop."""
    monkeypatch.setattr("observe.alert.keeping._AT_ONCE", 4)
    monkeypatch.setattr("observe.alert.state_file._FRAME_SERIES", 4)
    monkeypatch.setattr("observe.detect.snapshot.CHUNK_SERIES", 2)
    yield
    while OPENED:
        keeper = OPENED.pop().evaluator._keeper
        if keeper is not None:
            keeper.close()


def world(folder, text=BANDS, **settings):
    one = World(text, folder, **settings)
    OPENED.append(one)
    for number in range(SERIES):
        one.load(f'load{{service="s{number}"}}', f"{QUIET} {'40 41 42 40 41' if number == 2 else '9 10 11 10 9'}")
    return one


def restarted(one, folder, text=BANDS):
    OPENED.append(again := restart(one, folder, text))
    return again


def go_on(one, pieces=1000):
    """Let so many pieces be cut and written; True while there are more."""
    for _ in range(pieces):
        keeper = one.evaluator._keeper
        if keeper._going is not None and keeper._going.saving._writing is not None:
            wait([keeper._going.saving._writing])
        if not one.evaluator.keep_on():
            return False
    return True


@pytest.mark.parametrize("text", [BANDS, STAGED], ids=["a bare selector", "two stages"])
def test_ticks_go_on_while_a_large_snapshot_is_cut_and_who_restores_it_equals_who_ran_on(tmp_path, text):
    stopped, ran_on = world(tmp_path, text, snapshot_every_ms=150_000), world(None, text)
    ran_on.run(20)
    stopped.run(11)
    assert [] == list(tmp_path.glob("*.state"))  # begun, and waiting for time between ticks
    assert go_on(stopped, 3)
    stopped.run(4)
    assert go_on(stopped, 3)
    stopped.run(3)
    assert not go_on(stopped)
    assert [".state"] == [path.suffix for path in tmp_path.iterdir()]

    again = restarted(stopped, tmp_path, text)
    again.run(2)

    expr = '{__name__=~"observe_band_(upper|lower|baseline|firing)"}'
    assert again.value(expr) == ran_on.value(expr)
    assert again.states() == ran_on.states() == {"Odd": "firing"}


def test_what_a_killed_process_had_begun_is_deleted_at_the_next_start(tmp_path):
    (tmp_path / ".0123.state.tmp").write_bytes(b"begun")

    world(tmp_path)

    assert [] == list(tmp_path.iterdir())


def test_a_rule_that_is_removed_meanwhile_leaves_no_snapshot(tmp_path):
    one = world(tmp_path)
    one.run(3)
    assert go_on(one, 3)

    one.evaluator.load((), one.clock.now_ms())

    assert not go_on(one)
    assert [] == list(tmp_path.iterdir())


def test_a_stop_meanwhile_writes_the_whole_of_it_now(tmp_path):
    one = world(tmp_path)
    one.run(12)
    assert go_on(one, 3)

    one.evaluator.close(one.clock.now_ms())
    assert [".state"] == [path.suffix for path in tmp_path.iterdir()]

    again = restarted(one, tmp_path)
    again.run(1)
    assert (SERIES, SERIES) == (again.evaluator.rules()[0].series_total, again.evaluator.rules()[0].series_ready)


def test_a_snapshot_of_bands_that_another_engine_replaced_is_given_up(tmp_path):
    one = world(tmp_path)
    one.run(3)
    assert go_on(one, 3)
    alerting = one.evaluator._groups[0].rules[0].alerting

    alerting.take(one.evaluator._make_engine(alerting.rule.band, one.interval_ms))

    assert not go_on(one)
    assert [] == list(tmp_path.iterdir())


def test_a_disk_without_room_keeps_the_old_snapshot_and_is_counted(tmp_path):
    one = world(tmp_path)
    one.run(3)
    assert not go_on(one)
    (path,) = tmp_path.glob("*.state")
    old, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    one.run(5)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, limits[1]))
        assert not go_on(one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert old == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())
    assert 'observe_rule_snapshot_failures_total{reason="write"} 1.0' in one.telemetry.exposition().decode()
    one.run(5)
    assert not go_on(one)
    assert old != path.read_bytes()


DAMAGE = {
    "a bit of its bands": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "its last bytes": lambda data: data[:-9],
    "a bit of a list of series": lambda data: data.replace(b"s3", b"s4", 1),
    "all but the head": lambda data: data[:40],
    "its version": lambda data: data.replace(b"state 2", b"state 1", 1),
    "everything": lambda data: b"\x00" * len(data),
    "what it is": lambda data: b"",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_large_snapshot_of_which_is_lost_is_set_aside_and_the_store_is_folded(tmp_path, case):
    one = world(tmp_path)
    one.run(18)
    assert not go_on(one)
    (path,) = tmp_path.glob("*.state")
    path.write_bytes(DAMAGE[case](path.read_bytes()))

    again = restarted(one, tmp_path)
    again.run(1)

    assert {"Odd": "firing"} == again.states()
    assert SERIES == again.evaluator.rules()[0].series_ready
    assert [path.with_suffix(".bad")] == list(tmp_path.glob("*.bad"))
    assert 'observe_rule_snapshot_failures_total{reason="read"} 1.0' in again.telemetry.exposition().decode()


def test_the_loop_of_the_rules_writes_the_pieces_between_two_ticks(tmp_path):
    one = world(tmp_path)

    async def until_written():
        stop = asyncio.Event()
        with ThreadPoolExecutor(1) as data:
            loop = asyncio.create_task(evaluate(one.evaluator, data, one.clock, one.telemetry, stop))
            async with asyncio.timeout(300):
                while not list(tmp_path.glob("*.state")):
                    await pause(stop, 0.01)
            stop.set()
            await loop

    asyncio.run(until_written())

    assert restart(one, tmp_path, BANDS).evaluator._keeper.load()
