"""Complete hours become blocks, days of blocks one block; readers never notice, and neither does a restart."""

import json
import shutil
from itertools import pairwise

import duckdb
import numpy as np
import pytest

from observe.errors import LimitExceeded, StorageError
from observe.model import NORMAL_NAN_BITS, STALE_NAN, Frame, Labels
from tests.store.metrics.conftest import NOW, parse

HOUR = 3_600_000
TOP = NOW // HOUR * HOUR - NOW + 2 * HOUR
"""Midnight after NOW, relative to it."""


def scrape(bench, begin, end, names="abc", job="a", step=60_000):
    """Advance the clock from `begin` to `end` (ms after NOW), a frame each `step`."""
    rng = np.random.default_rng(begin % 1000)
    ids = bench.store.series_ids([Labels({"__name__": name, "job": job}) for name in names])
    for at in range(begin, end, step):
        bench.clock.advance_ms(max(0, NOW + at - bench.clock.now_ms()))
        bench.store.append(Frame(np.array([NOW + at]), ids, rng.integers(0, 99, (1, len(names))).astype(float)))


def settle(bench, wait="20m"):
    """Let maintenance do everything that is due after a while of silence."""
    for _ in range(3):
        while bench.store.maintain(bench.clock.now_ms(), 0.0):
            pass
        bench.clock.advance(wait)


def everything(bench):
    return bench.read(start=-10**12, end=10**12)


@pytest.fixture
def hours(make):
    """A store with four hours in blocks and one that is not over; nothing of the blocks is in memory."""
    bench = make(cache_bytes=0, rows=16)
    scrape(bench, TOP, TOP + 4 * HOUR + HOUR // 2)
    bench.expected = everything(bench)
    settle(bench, "30m")
    return bench


def test_hours_that_are_over_become_blocks_and_read_the_same(hours):
    assert [block.path.name[:17] for block in hours.store._archive.blocks] == [
        "hour-20231115T00-", "hour-20231115T01-", "hour-20231115T02-", "hour-20231115T03-", "hour-20231115T04-"]
    assert hours.store._head.parts == []
    assert everything(hours) == hours.expected
    hours.reopen()
    assert everything(hours) == hours.expected


def test_the_log_is_shortened_to_what_no_block_has(hours):
    assert len(hours.store._wal.segments()) <= 2
    assert hours.store.replay.samples == 0
    assert hours.reopen().replay.samples == 0
    scrape(hours, TOP + 6 * HOUR, TOP + 6 * HOUR + 120_000)
    expected = everything(hours)
    assert hours.reopen().replay.samples == 6
    assert everything(hours) == expected


@pytest.mark.parametrize(("matchers", "start", "end"), [
    (["__name__=b"], TOP, TOP + 10 * HOUR),
    (["__name__=b"], TOP + HOUR + 1, TOP + 3 * HOUR - 1),
    (["__name__=~a|c"], TOP + HOUR - 60_000, TOP + HOUR),
    (["job!=a"], TOP, TOP + 10 * HOUR),
    (["__name__=a"], TOP - 5 * HOUR, TOP - 1),
])
def test_ranges_across_blocks(hours, matchers, start, end):
    names = {"=b": "b", "=~a|c": "ac", "!=a": "", "=a": "a"}[matchers[0].removeprefix("__name__").removeprefix("job")]
    expected = {
        name: kept for name, samples in hours.expected.items() if name[0] in names
        and (kept := [(at, value) for at, value in samples if start <= at <= end])
    }

    assert hours.read(*matchers, start=start, end=end) == expected
    assert [str(labels) for labels in hours.store.series(
        [parse(matcher) for matcher in matchers], NOW + start, NOW + end)] == sorted(expected)


def test_names_and_values_of_the_past_are_found(hours):
    hours.store._head.drop_silent(2**62, 2**31)

    assert len(hours.store._index) == 0
    assert hours.store.label_names([], NOW + TOP, NOW + TOP + HOUR) == ["__name__", "job"]
    assert hours.store.label_values("__name__", [], NOW + TOP, NOW + TOP + HOUR) == ["a", "b", "c"]
    assert hours.store.label_values(
        "__name__", [parse("job=a")], NOW + TOP, NOW + TOP + HOUR) == ["a", "b", "c"]
    assert everything(hours) == hours.expected


def test_blocks_still_in_memory_are_not_read_from_the_disk(make):
    bench = make(rows=16)
    scrape(bench, TOP, TOP + 2 * HOUR)
    expected = everything(bench)
    settle(bench)
    assert len(bench.store._archive.blocks) == 2

    assert everything(bench) == expected
    assert not bench.store._archive._indexes


def test_late_samples_for_an_hour_in_a_block_are_merged(make):
    bench = make(cache_bytes=0, rows=8, late_window_ms=10 * HOUR, accept_old=True)
    scrape(bench, TOP, TOP + 2 * HOUR)
    settle(bench, "12h")
    assert len(bench.store._archive.blocks) == 2
    bench.put("a", [(TOP + 90_000, 1.25), (TOP + 60_000, 77.0)], job="a")

    found = everything(bench)['a{job="a"}']
    assert (TOP + 90_000, 1.25) in found
    assert len(found) == 121  # 60 000 was there before: the first stays
    settle(bench, "12h")
    assert len(bench.store._archive.blocks[0].info.sources) == 3  # and the day is over
    assert everything(bench)['a{job="a"}'] == found
    bench.reopen()
    assert everything(bench)['a{job="a"}'] == found


def test_a_day_becomes_one_block(make):
    bench = make(cache_bytes=0, rows=64)
    begin = TOP
    scrape(bench, begin, begin + 26 * HOUR, step=300_000)
    scrape(bench, begin + 26 * HOUR, begin + 27 * HOUR, names="ad", step=300_000)
    expected = everything(bench)
    settle(bench, "6h")

    assert [block.path.name.rsplit("-", 1)[0] for block in bench.store._archive.blocks] == [
        "day-20231115T00", "hour-20231116T00", "hour-20231116T01", "hour-20231116T02"]
    assert everything(bench) == expected
    assert sorted(path.name for path in (bench.folder / "blocks").iterdir()) == [
        block.path.name for block in bench.store._archive.blocks]
    bench.reopen()
    assert everything(bench) == expected
    day = bench.store._archive.blocks[0].info
    assert (day.series, day.samples) == (3, 3 * 24 * 12)


def test_a_day_of_much_churn_stays_in_hours_and_is_not_looked_at_again(make):
    bench = make(cache_bytes=0, day_pairs=30)
    for hour in range(24):
        scrape(bench, TOP + hour * HOUR, TOP + (hour + 1) * HOUR, names=[f"h{hour}", f"again{hour}"], step=600_000)
    settle(bench, "6h")
    expected = everything(bench)
    blocks = bench.store._archive.blocks

    settle(bench, "6h")

    assert [block.path.name[:4] for block in blocks] == ["hour"] * 24
    assert bench.store._archive.blocks == blocks
    assert bench.store._maintenance._apart == {NOW + TOP: 24}
    assert everything(bench) == expected
    assert [path.name for path in (bench.folder / "blocks").iterdir() if path.name.startswith(".")] == []


def test_more_names_than_are_written_at_once_become_one_file_in_their_order(make):
    bench = make(cache_bytes=0)
    names = [f"n{n:05}" for n in range(20_001)]
    scrape(bench, TOP, TOP + 1, names=names)
    settle(bench, "2h")

    block = bench.store._archive.blocks[0].path
    rows = duckdb.sql(f"SELECT series, metric, labels['job'][1] FROM '{block}/series.parquet'").fetchall()

    assert rows == [(at, name, "a") for at, name in enumerate(names)]
    assert sorted(path.name for path in block.iterdir()) == [
        "block.json", "index.bin", "samples-000.parquet", "series.parquet"]
    (block / "index.bin").unlink()
    bench.reopen()
    assert len(everything(bench)) == 20_001


def test_a_crash_between_a_day_and_the_end_of_its_hours_reads_nothing_twice(hours, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(hours.folder / "blocks", kept)
    hours.clock.advance("2d")
    settle(hours)
    assert any(block.path.name.startswith("day-") for block in hours.store._archive.blocks)
    for block in kept.iterdir():
        if not (hours.folder / "blocks" / block.name).exists():
            shutil.copytree(block, hours.folder / "blocks" / block.name)

    hours.reopen()

    assert everything(hours) == hours.expected
    assert all(not name.startswith("hour-20231115") for name in
               (path.name for path in (hours.folder / "blocks").iterdir()))


def test_half_written_blocks_are_removed(hours):
    (hours.folder / "blocks" / ".hour-20231114T20-00000001.tmp").mkdir()
    hours.reopen()

    assert not list((hours.folder / "blocks").glob(".*"))


@pytest.mark.parametrize("what", ["block.json", "samples-000.parquet"])
@pytest.mark.parametrize("how", ["torn", "gone"])
def test_a_damaged_block_is_set_aside_and_the_rest_serves(hours, what, how):
    block = hours.store._archive.blocks[1]
    file = block.path / what
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    hours.reopen()

    found = everything(hours)

    lost = range(block.info.start_ms - NOW, block.info.end_ms - NOW)
    assert found == {name: [row for row in rows if row[0] not in lost] for name, rows in hours.expected.items()}
    assert "hour-20231115T01" in hours.store.damages()[0]
    assert (block.path.parent / (block.path.name + ".damaged")).is_dir()


def test_a_damaged_index_is_made_anew(hours):
    for block in hours.store._archive.blocks:
        (block.path / "index.bin").write_bytes(b"OBSIDX01 and nothing more")
    hours.reopen()

    assert everything(hours) == hours.expected


def test_the_oldest_blocks_go_by_time_and_by_size(hours):
    hours.settings = type(hours.settings)(cache_bytes=0, rows=16, retention_ms=3 * HOUR)
    hours.reopen()
    settle(hours, "1m")
    assert [block.path.name[5:16] for block in hours.store._archive.blocks] == ["20231115T03", "20231115T04"]

    size = hours.store._archive.blocks[0].size_bytes
    hours.settings = type(hours.settings)(cache_bytes=0, rows=16, retention_bytes=size + 100)
    hours.reopen()
    settle(hours, "1m")
    assert [block.path.name[5:16] for block in hours.store._archive.blocks] == ["20231115T04"]
    assert min(at for rows in everything(hours).values() for at, _ in rows) >= TOP + 4 * HOUR


def test_nans_and_stale_markers_keep_their_meaning_in_blocks(make):
    bench = make(cache_bytes=0)
    nan = np.uint64(NORMAL_NAN_BITS).view(np.float64)
    ids = bench.store.series_ids([Labels({"__name__": "a"})])
    values = np.array([1.0, nan, STALE_NAN, np.inf, -0.0, STALE_NAN])
    bench.store.append(Frame(NOW + np.arange(6) * 1000, ids, values[:, None].copy()))
    bench.clock.advance("3h")
    settle(bench)
    assert len(bench.store._archive.blocks) == 1

    found = bench.store.select([], NOW, NOW + HOUR)

    assert found.values.view(np.uint64).tolist() == values.view(np.uint64).tolist()


def test_churning_series_leave_the_memory_and_are_found_in_blocks(make):
    bench = make(cache_bytes=0)
    for hour in range(6):
        scrape(bench, TOP + hour * HOUR, TOP + hour * HOUR + 20 * 60_000, names=[f"h{hour}n{n}" for n in range(50)])
        bench.clock.advance("1h")
        settle(bench, "1m")
    settle(bench, "1h")

    assert len(bench.store._index) == 0
    assert bench.store._index.slots <= 200  # rows were taken again
    found = everything(bench)
    assert len(found) == 300
    assert all(len(rows) == 20 for rows in found.values())
    scrape(bench, TOP + 20 * HOUR, TOP + 20 * HOUR + 60_000, names=["h0n0"])
    assert len(bench.read("__name__=h0n0", end=10**12)['h0n0{job="a"}']) == 21


def test_rows_of_series_that_left_give_their_memory_back_and_serve_others(make):
    bench = make(cache_bytes=0)
    scrape(bench, TOP, TOP + 60_000, names=[f"gone{n}" for n in range(2000)])
    scrape(bench, TOP, TOP + 60_000, names=["stays"])
    scrape(bench, TOP, TOP + 60_000, names=[f"gone{n}" for n in range(2000, 4000)])
    for minute in range(60, 240, 20):
        scrape(bench, TOP + minute * 60_000, TOP + minute * 60_000 + 1, names=["stays"])
        settle(bench, "1m")
    rows = bench.store._head.rows

    assert len(bench.store._index) == 1
    assert np.count_nonzero(rows.values.any(axis=1)) < 64
    assert len(bench.read("__name__=stays", end=10**12)['stays{job="a"}']) == 10
    begin = TOP + 4 * HOUR
    scrape(bench, begin, begin + 120_000, names=[f"new{n}" for n in range(4000)])
    found = bench.read("__name__=~new.*", start=begin, end=10**12)
    assert {len(samples) for samples in found.values()} == {2}
    assert len(found) == 4000


def test_an_owner_gets_its_room_back_when_its_series_fell_silent(make):
    bench = make(cache_bytes=0, owner_limit=2)
    for round_number in range(3):
        ids = bench.store.series_ids([Labels({"__name__": f"r{round_number}{n}"}) for n in range(3)], owner="job/1")
        told = bench.store.append(Frame(np.array([bench.clock.now_ms()]), ids, np.ones((1, 3))))
        assert (told.stored, told.over_limit) == (2, 1)
        bench.clock.advance("3h")
        settle(bench, "1h")


@pytest.mark.parametrize("fixed", [False, True], ids=["ids of once", "ids that come again"])
def test_samples_of_a_series_that_was_dropped_are_counted_as_unknown(make, fixed):
    bench = make(cache_bytes=0)
    ids = bench.store.series_ids([Labels({"__name__": "a"})])
    ids.flags.writeable = not fixed
    bench.store.append(Frame(np.array([NOW]), ids, np.ones((1, 1))))
    bench.clock.advance("3h")
    settle(bench, "1h")

    told = bench.store.append(Frame(np.array([bench.clock.now_ms()]), ids, np.ones((1, 1))))

    assert told.unknown == 1
    assert bench.store.series_ids([Labels({"__name__": "a"})])[0] > ids[0]


def test_anyone_can_read_a_block_with_duckdb(hours):
    folder = hours.store._archive.blocks[1].path
    rows = duckdb.sql(
        f"SELECT metric, labels['job'], count(*), min(timestamp_ms) FROM '{folder}/samples-*.parquet' "
        f"JOIN '{folder}/series.parquet' USING (series) GROUP BY ALL ORDER BY 1").fetchall()

    assert rows == [(name, "a", 60, NOW + TOP + HOUR) for name in "abc"]
    assert json.loads((folder / "block.json").read_text())["samples"] == 180
    written = duckdb.sql("SELECT path_in_schema, compression, encodings FROM "
                         f"parquet_metadata('{folder}/samples-000.parquet')").fetchall()
    assert written == [("series", "ZSTD", "DELTA_BINARY_PACKED"), ("timestamp_ms", "ZSTD", "DELTA_BINARY_PACKED"),
                       ("value", "ZSTD", "BYTE_STREAM_SPLIT")]


def test_a_block_is_in_groups_of_rows_that_each_hold_a_range_of_series(make):
    """What lets DuckDB pass over the groups that a question is not about."""
    bench = make(cache_bytes=0)
    scrape(bench, TOP, TOP + HOUR, names=[f"m{n:04}" for n in range(1200)])
    bench.clock.advance("1h")
    settle(bench, "20m")
    [block] = bench.store._archive.blocks

    ranges = duckdb.sql(
        "SELECT stats_min_value::INT, stats_max_value::INT FROM "
        f"parquet_metadata('{block.path}/samples-*.parquet') WHERE path_in_schema = 'series' ORDER BY ALL").fetchall()

    assert len(ranges) >= 2
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    assert (0, 1199) == (ranges[0][0], ranges[-1][1])


def test_a_full_disk_keeps_the_hours_in_memory_until_there_is_room(make):
    bench = make(cache_bytes=0)
    scrape(bench, TOP, TOP + HOUR)
    expected = everything(bench)
    bench.clock.advance("2h")
    blocks = bench.folder / "blocks"
    blocks.rmdir()
    blocks.write_text("in the way")  # as root, permissions stop nobody

    bench.store.maintain(bench.clock.now_ms())
    bench.clock.advance("10m")
    with pytest.raises(StorageError, match="cannot write"):
        bench.store.maintain(bench.clock.now_ms(), 60.0)
    assert everything(bench) == expected

    blocks.unlink()
    blocks.mkdir()
    settle(bench)
    assert len(bench.store._archive.blocks) == 1
    assert everything(bench) == expected


def test_a_clock_that_jumps_loses_nothing(make):
    bench = make(cache_bytes=0)
    scrape(bench, TOP, TOP + HOUR)
    bench.clock.advance("5d")
    scrape(bench, TOP + 5 * 24 * HOUR, TOP + 5 * 24 * HOUR + HOUR)
    settle(bench)
    expected = everything(bench)
    assert sum(map(len, expected.values())) == 3 * 120
    bench.clock.advance_ms(-5 * 24 * HOUR)  # and back again: what comes now is behind what is there

    ids = bench.store.series_ids([Labels({"__name__": "a", "job": "a"})])
    told = bench.store.append(Frame(np.array([bench.clock.now_ms()]), ids, np.ones((1, 1))))
    settle(bench)

    assert told.stored == 1  # the series had left the memory, so nothing is known to be newer
    expected['a{job="a"}'] = sorted([*expected['a{job="a"}'], (bench.clock.now_ms() - NOW - 60 * 60_000, 1.0)])
    assert everything(bench) == expected
    bench.reopen()
    assert everything(bench) == expected


def test_a_clock_that_leaps_ahead_deletes_nothing_at_once(make):
    class Leaping(type(make().clock)):
        leap_ms = 0

        def now_ms(self):
            return super().now_ms() + self.leap_ms

    bench = make(cache_bytes=0)
    clock = bench.clock = Leaping(NOW)
    bench.reopen()
    scrape(bench, TOP, TOP + HOUR)
    settle(bench, "40m")
    expected = everything(bench)
    assert len(bench.store._archive.blocks) == 1

    clock.leap_ms = 30 * 24 * HOUR
    settle(bench, "1m")
    assert everything(bench) == expected

    settle(bench, "1h")
    assert everything(bench) == {}


def test_a_log_that_someone_deleted_does_not_hide_what_comes_after(hours):
    hours.store.close()
    shutil.rmtree(hours.folder / "wal")
    hours.reopen()
    ids = hours.store.series_ids([Labels({"__name__": "late"})])
    hours.store.append(Frame(np.array([NOW + TOP + 4 * HOUR]), ids, np.ones((1, 1))))
    hours.reopen()

    assert hours.read("__name__=late", end=10**12) == {"late": [(TOP + 4 * HOUR, 1.0)]}


def test_a_block_found_damaged_while_its_day_is_merged_is_left_out(hours):
    block = hours.store._archive.blocks[2]
    file = block.path / "samples-000.parquet"
    data = bytearray(file.read_bytes())
    data[40 : len(data) // 2] = bytes(len(data) // 2 - 40)
    file.write_bytes(data)
    hours.clock.advance("1d")

    settle(hours)
    settle(hours)

    assert [found.path.name[:3] for found in hours.store._archive.blocks] == ["day"]
    assert len(hours.store.damages()) == 1
    lost = range(block.info.start_ms - NOW, block.info.end_ms - NOW)
    assert everything(hours) == {
        name: [row for row in rows if row[0] not in lost] for name, rows in hours.expected.items()}


def test_the_log_stays_as_short_as_the_hours_that_no_block_has(make):
    bench = make(rows=16, cut_idle_ms=60_000)
    spans = []
    for hour in range(8):
        scrape(bench, TOP + hour * HOUR, TOP + (hour + 1) * HOUR)
        over = TOP + (hour + 1) * HOUR
        for quarter in range(2):
            scrape(bench, over + quarter * 900_000, over + (quarter + 1) * 900_000)
            bench.store.maintain(bench.clock.now_ms(), 60.0)
        spans.append(len(set().union(*bench.store._log_length._hours.values())))
        if hour == 5:
            bench.reopen()
    assert max(spans) <= 3
    expected = everything(bench)

    assert bench.reopen().replay.samples < 3 * 3 * 60
    assert everything(bench) == expected
    assert {name: len(rows) for name, rows in expected.items()} == {f'{name}{{job="a"}}': 510 for name in "abc"}


def test_a_question_that_would_fill_the_memory_is_refused_before_it_does(hours):
    def ask(most, start=TOP, end=TOP + 10 * HOUR):
        hours.settings = type(hours.settings)(cache_bytes=0, rows=16, samples_at_once=most)
        hours.reopen()
        return sum(map(len, hours.read("job=a", start=start, end=end).values()))

    assert ask(810) == 810
    assert ask(90, start=TOP, end=TOP + HOUR // 2 - 1) == 90
    with pytest.raises(LimitExceeded, match="fewer series or a shorter range"):
        ask(809)
    bench = hours
    bench.put("fresh", [(TOP + 6 * HOUR + at, 1.0) for at in range(20)])
    bench.settings = type(bench.settings)(samples_at_once=19)
    bench.reopen()
    with pytest.raises(LimitExceeded, match="20 samples"):
        bench.read("__name__=fresh", end=10**12)
