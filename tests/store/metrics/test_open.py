"""`observe.store.open(folder).frame(...)`: a DataFrame beside the running process."""

import pytest

import observe.store
from observe.errors import StorageError, UsageError
from observe.store.opened import moment_ms
from tests.store.metrics.conftest import NOW


def test_an_expression_becomes_a_frame_while_the_owner_goes_on(bench):
    bench.put("hits_total", [(at * 15_000, at * 30.0) for at in range(40)], job="a")
    bench.put("hits_total", [(at * 15_000, at * 60.0) for at in range(20)], job="b")

    with observe.store.open(bench.folder) as opened:
        frame = opened.frame("sum by (job) (rate(hits_total[1m]))", NOW / 1000 + 60, NOW / 1000 + 120, step="30s")
        bench.put("hits_total", [(40 * 15_000, 1200.0)], job="a")

    assert list(frame.columns) == ['{job="a"}', '{job="b"}']
    assert frame['{job="a"}'].tolist() == pytest.approx([2.0] * 3)
    assert str(frame.index[0]) == "2023-11-14 22:14:20+00:00"


def test_where_there_is_no_point_there_is_nan(bench):
    bench.put("up", [(0, 1.0), (600_000, 0.0)])

    frame = observe.store.open(bench.folder).frame("up", NOW / 1000, NOW / 1000 + 660, step="5m30s")

    assert frame["up"].fillna(-1.0).tolist() == [1.0, -1.0, 0.0]


def test_nothing_is_changed_in_a_folder_that_is_only_looked_at(bench):
    bench.put("up", [(0, 1.0)])
    segment = bench.store._wal.path(1)
    segment.write_bytes(segment.read_bytes() + b"half a rec")
    before = {path: path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()}

    opened = observe.store.open(bench.folder)

    assert len(opened.store.select([], 0, 2**62)) == 1
    opened.close()
    assert {path: path.read_bytes() for path in bench.folder.rglob("*") if path.is_file()} == before


def test_the_data_folder_itself_may_be_given(bench):
    bench.put("up", [(0, 1.0)])

    assert len(observe.store.open(str(bench.folder.parent)).store.select([], 0, 2**62)) == 1


def test_a_folder_without_metrics_is_refused(tmp_path):
    with pytest.raises(StorageError, match="holds no metrics"):
        observe.store.open(tmp_path)


@pytest.mark.parametrize(("moment", "expected"), [
    (1_700_000_000, NOW), (1_700_000_000.5, NOW + 500), ("2023-11-14T22:13:20", NOW),
    ("2023-11-14T23:13:20+01:00", NOW),
])
def test_times_may_be_written_in_several_ways(moment, expected):
    assert moment_ms(moment) == expected


def test_a_time_that_is_none_says_so():
    with pytest.raises(UsageError, match="yesterday"):
        moment_ms("yesterday")
