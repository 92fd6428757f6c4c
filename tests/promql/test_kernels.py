"""Kernels are compiled once, for the types that queries really use: no query waits for the compiler."""

import importlib
import pkgutil

import numpy as np

import observe.promql
from observe.errors import QueryError
from observe.model import Labels, Samples
from observe.promql.engine import Engine
from observe.promql.functions import FUNCTIONS
from observe.promql.render import result_json
from observe.testing import MemorySource

QUERIES = (
    "x", "x @ 0", "sum by (a) (x)", "topk(1, x)", "bottomk(scalar(x), x)", "quantile(0.5, x)", 'count_values("v", x)',
    "x + on (a) x", "x and x", "x unless on () x", "x or y", "-x", "x > 1", "sum_over_time(x[1m:10s])",
    "sum_over_time((x > 0)[1m:10s] @ end())", "vector(1)", "sort(x)",
    "avg by (le) (rate(x[1m]))", "x * on (a) group_left () sum by (a) (x)", "stddev(x)", "limitk(1, x)",
)
SAMPLES = {"vector": "x", "matrix": "x[1m]", "scalar": "0.5", "string": '"a"'}


class ReadOnlySource(MemorySource):
    """A source whose columns cannot be written to, as memory-mapped ones."""

    def select(self, matchers, start_ms, end_ms):
        found = super().select(matchers, start_ms, end_ms)
        for column in (found.offsets, found.timestamps, found.values):
            column.flags.writeable = False
        return found


class StridedSource(MemorySource):
    """A source whose columns are every other element of larger ones."""

    def select(self, matchers, start_ms, end_ms):
        found = super().select(matchers, start_ms, end_ms)
        return Samples(found.labels, np.repeat(found.offsets, 2)[::2], np.repeat(found.timestamps, 2)[::2],
                       np.repeat(found.values, 2)[::2])


def kernels():
    for module in pkgutil.iter_modules(observe.promql.__path__):
        if module.name.endswith("kernels"):
            loaded = importlib.import_module(f"observe.promql.{module.name}")
            loaded.compile_all()
            yield from (value for value in vars(loaded).values() if hasattr(value, "signatures"))


def test_no_query_compiles_anything():
    compiled = {kernel: len(kernel.signatures) for kernel in kernels()}
    calls = [f"{name}({', '.join(SAMPLES[kind] for kind in function.args)})" for name, function in FUNCTIONS.items()]
    for source in (MemorySource(), ReadOnlySource(), StridedSource()):
        source.load('x{a="1", le="1"}', "0+1x20 stale 5x3", step_ms=10_000)
        source.load('x{a="1", le="+Inf"}', "0+1x20 stale 5x3", step_ms=10_000)
        source.add(Labels({"__name__": "y"}), 0, 1.0)
        engine = Engine(source)
        for query in (*QUERIES, *calls):
            try:
                result_json(engine.query(query, 200_000))
                result_json(engine.range(query, 0, 200_000, 20_000))
            except QueryError:
                continue  # what the data does not allow has run its kernels before

    assert {kernel.__name__: len(kernel.signatures) for kernel in compiled} == {
        kernel.__name__: count for kernel, count in compiled.items()
    }
    assert max(compiled.values()) == 1, compiled
