"""What was acknowledged survives the end of the process; damage is named, set aside, and costs only itself."""

import resource
import signal

import numpy as np
import pytest

from observe.errors import StorageError
from observe.model import Frame, Labels
from observe.store.wal import Wal
from observe.store.wal_segment import Kind, record_at
from tests.store.metrics.conftest import NOW


def filled(bench, scrapes=50):
    """Two targets scraped in turn; returns what a reader must find."""
    rng = np.random.default_rng(5)
    for at in range(scrapes):
        for job in ("a", "b"):
            bench.frame([[at, rng.random(), 7.0 if at % 3 else None]], at=[at * 1000], names="xyz", job=job)
    return bench.read()


def records(path):
    """(start, end, kind) of each record of a segment."""
    data = path.read_bytes()
    at, found = 8, []
    while at < len(data):
        kind, payload = record_at(memoryview(data), at)
        found.append((at, at + 12 + len(payload), kind))
        at = found[-1][1]
    return found


def test_a_store_opens_as_it_was_left(bench):
    expected = filled(bench)

    bench.reopen()

    assert bench.read() == expected
    assert bench.store.replay.damages == []


def test_it_goes_on_after_each_restart(bench):
    for round_number in range(4):
        bench.put("a", [(round_number, float(round_number))])
        bench.reopen()

    assert bench.read() == {"a": [(n, float(n)) for n in range(4)]}
    assert bench.store._wal.segments() == [1, 2, 3, 4]


def test_small_segments_hold_the_same(make):
    bench = make(segment_bytes=2000)
    expected = filled(bench)

    assert len(bench.store._wal.segments()) > 2
    bench.reopen()

    assert bench.read() == expected


def test_ids_that_come_again_and_again_are_named_in_every_segment(make):
    bench = make(segment_bytes=2000)
    targets = [bench.store.series_ids([Labels({"__name__": f"m{n}", "job": job}) for n in range(20)]) for job in "ab"]
    for ids in targets:
        ids.flags.writeable = False
    for at in range(0, 90_000, 1000):
        for number, ids in enumerate(targets):
            told = bench.store.append(Frame(np.array([NOW + at]), ids, np.arange(20.0)[None] * at + number))
            assert told.stored == 20
    expected = bench.read()

    assert len(bench.store._wal.segments()) > 2
    bench.reopen()

    assert bench.read() == expected
    assert expected['m3{job="b"}'][-1] == (89_000, 267_001.0)


def test_a_torn_tail_is_cut_off_and_the_rest_is_whole(bench):
    filled(bench, 20)
    path = bench.store._wal.path(1)
    whole = records(path)
    data = path.read_bytes()
    for cut in {whole[-1][0] + 1, whole[-1][0] + 13, whole[-1][1] - 1}:
        path.write_bytes(data[:cut])
        store = bench.reopen()

        assert [damage.torn for damage in store.replay.damages] == [True]
        assert store.replay.samples == 2 * (20 + 20 + 13) - 3  # the last frame was torn
        assert bench.reopen().replay.damages == []


def test_a_record_damaged_in_the_middle_is_set_aside_and_the_other_target_loses_nothing(bench):
    expected = filled(bench, 20)
    path = bench.store._wal.path(1)
    frames = [span for span in records(path) if span[2] is Kind.FRAME]
    low, high, _ = frames[10]  # target a, sixth scrape
    data = bytearray(path.read_bytes())
    data[(low + high) // 2] ^= 0x55
    path.write_bytes(data)

    store = bench.reopen()

    assert [damage.torn for damage in store.replay.damages] == [False]
    assert path.with_suffix(".damaged").read_bytes() == bytes(data)
    found = bench.read()
    for name, samples in expected.items():
        if 'job="b"' in name:
            assert found[name] == samples
        else:
            assert set(found[name]) < set(samples)  # some are gone, none is invented
            assert found[name][:5] == samples[:5] or name.startswith("z")


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_ever_invents_a_sample_or_stops_the_store(bench, seed):
    expected = filled(bench, 20)
    path = bench.store._wal.path(1)
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    at = int(rng.integers(8, len(data)))
    data[at : at + int(rng.integers(1, 40))] = rng.bytes(int(rng.integers(1, 40)))
    path.write_bytes(data)

    store = bench.reopen()

    assert store.replay.damages
    for name, samples in bench.read().items():
        assert set(samples) <= set(expected[name])


def test_a_full_disk_refuses_clearly_keeps_reading_and_recovers(bench, caplog):
    expected = filled(bench, 5)
    size = bench.store._wal.path(1).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for room in (size + 20, 4, 4):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
            with pytest.raises(StorageError, match="cannot write to the log"):
                bench.frame([[1.5, 2.5, 3.5]], at=[100_000], names="xyz")
        assert bench.read() == expected
        with pytest.raises(StorageError, match="cannot write to the log"):
            bench.store.series_ids([Labels({"__name__": "new"})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    bench.frame([[1.5, 2.5, 3.5]], at=[100_000], names="xyz")
    now = bench.read()
    assert sum(map(len, now.values())) == sum(map(len, expected.values())) + 3
    assert ["cannot write to", "is written again"] == [
        words for record in caplog.records for words in ("cannot write to", "is written again")
        if words in record.getMessage()]
    store = bench.reopen()
    assert bench.read() == now
    assert store.replay.damages == []


def test_ids_of_a_refused_series_are_not_given(bench, tmp_path):
    bench.put("a", [(0, 1.0)])
    bench.store._wal.close()
    bench.store._wal.append = lambda *_: (_ for _ in ()).throw(StorageError("full"))
    with pytest.raises(StorageError):
        bench.store.series_ids([Labels({"__name__": "b"})])

    assert bench.store._index.get(Labels({"__name__": "b"})) is None


def test_a_record_of_a_newer_version_is_passed_over(tmp_path):
    wal = Wal(tmp_path, 10**6)
    wal.append(Kind.METADATA, b"x")
    wal.append(99, b"from the future")
    wal.append(Kind.METADATA, b"y")
    damages = []

    assert [bytes(record.payload) for record in Wal(tmp_path, 10**6).records(1, damages)] == [b"x", b"y"]
    assert damages == []


def test_values_relative_to_each_other_survive(make):
    bench = make(late_window_ms=0)
    values = [0.0, -0.0, 5.0, 5.0, -7.0, 2.0**53, 1e300, np.inf, 0.1, 3.0, 2.0**52, -(2.0**52), 0.0]
    bench.put("a", list(enumerate(values)))

    bench.reopen()

    found = bench.store.select([], NOW, NOW + 100).values
    assert found.view(np.uint64).tolist() == np.array(values).view(np.uint64).tolist()


def test_frames_of_many_rows_and_absent_samples(bench):
    ids = bench.store.series_ids([Labels({"__name__": f"s{n}"}) for n in range(50)])
    rng = np.random.default_rng(0)
    for block in range(6):
        values = rng.integers(0, 9, (40, 50)).astype(float)
        bench.store.append(Frame(NOW + np.arange(block * 40, block * 40 + 40) * 1000, ids, values))
    expected = bench.read()

    bench.reopen()

    assert sum(map(len, expected.values())) == 6 * 40 * 50
    assert bench.read() == expected
