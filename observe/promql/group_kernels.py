"""Kernels of the aggregations: rows of a block folded into groups, step by step."""

import math

import numpy as np
from numpy.typing import NDArray

from observe.jit import kernel
from observe.promql.statistics import neumaier, quantile_of

SUM, AVG, COUNT, MIN, MAX, GROUP, STDDEV, STDVAR = range(8)


@kernel
def folded(
    op: int, values: NDArray[np.float64], present: NDArray[np.bool_], group: NDArray[np.int64],
    out: NDArray[np.float64], seen: NDArray[np.bool_],
) -> None:
    """Aggregations that need a few running numbers a group. `group` [S] names the row of `out` and `seen`, [G, T]."""
    groups, count = out.shape
    lost = np.zeros((groups, count))
    numbers = np.zeros((groups, count))
    mean = np.zeros((groups, count)) if op in (AVG, STDDEV, STDVAR) else np.zeros((1, 1))
    incremental = np.zeros((groups, count), dtype=np.bool_) if op == AVG else np.zeros((1, 1), dtype=np.bool_)
    for s in range(values.shape[0]):
        g = group[s]
        for t in range(count):
            if not present[s, t]:
                continue
            x = values[s, t]
            numbers[g, t] += 1.0
            if not seen[g, t]:
                seen[g, t] = True
                out[g, t] = x
                if op in (STDDEV, STDVAR):
                    mean[g, t] = x
                    out[g, t] = 0.0 if math.isfinite(x) else np.nan
                continue
            if op == SUM:
                out[g, t], lost[g, t] = neumaier(x, out[g, t], lost[g, t])
            elif op == AVG:
                n = numbers[g, t]
                if not incremental[g, t]:
                    total, rest = neumaier(x, out[g, t], lost[g, t])
                    if not math.isinf(total):
                        out[g, t], lost[g, t] = total, rest
                        continue
                    incremental[g, t] = True  # the sum would overflow: from here on the mean itself is carried
                    mean[g, t] = out[g, t] / (n - 1)
                    lost[g, t] /= n - 1
                part = (n - 1) / n
                mean[g, t], lost[g, t] = neumaier(x / n, part * mean[g, t], part * lost[g, t])
            elif op == MIN:
                if out[g, t] > x or math.isnan(out[g, t]):
                    out[g, t] = x
            elif op == MAX:
                if out[g, t] < x or math.isnan(out[g, t]):
                    out[g, t] = x
            elif op in (STDDEV, STDVAR):
                delta = x - mean[g, t]
                mean[g, t] += delta / numbers[g, t]
                out[g, t] += delta * (x - mean[g, t])
    for g in range(groups):
        for t in range(count):
            if not seen[g, t]:
                continue
            n = numbers[g, t]
            if op == SUM:
                out[g, t] += lost[g, t]
            elif op == AVG:
                out[g, t] = mean[g, t] + lost[g, t] if incremental[g, t] else out[g, t] / n + lost[g, t] / n
            elif op == COUNT:
                out[g, t] = n
            elif op == GROUP:
                out[g, t] = 1.0
            elif op == STDVAR:
                out[g, t] /= n
            elif op == STDDEV:
                out[g, t] = math.sqrt(out[g, t] / n)


@kernel
def quantiles(
    q: NDArray[np.float64], values: NDArray[np.float64], present: NDArray[np.bool_],
    members: NDArray[np.int64], bounds: NDArray[np.int64], out: NDArray[np.float64], seen: NDArray[np.bool_],
) -> None:
    """The φ-quantile of each group at each step. Rows of group g are ``members[bounds[g]:bounds[g + 1]]``."""
    largest = 0
    for g in range(len(bounds) - 1):
        largest = max(largest, bounds[g + 1] - bounds[g])
    buffer = np.empty(largest)
    for g in range(len(bounds) - 1):
        for t in range(values.shape[1]):
            n = 0
            for i in range(bounds[g], bounds[g + 1]):
                if present[members[i], t]:
                    buffer[n] = values[members[i], t]
                    n += 1
            seen[g, t] = n > 0
            out[g, t] = quantile_of(q[t], np.sort(buffer[:n]))


@kernel
def chosen(
    k: NDArray[np.int64], largest_first: bool, values: NDArray[np.float64], present: NDArray[np.bool_],
    members: NDArray[np.int64], bounds: NDArray[np.int64], keep: NDArray[np.bool_], order: NDArray[np.int64],
) -> int:
    """The k greatest (or least) rows of each group at each step, NaN last.

    `keep` [S, T] tells which; `order` [S] lists the rows of the last step in their order; returns how many those are.
    """
    biggest = 0
    for g in range(len(bounds) - 1):
        biggest = max(biggest, bounds[g + 1] - bounds[g])
    keys = np.empty(biggest)
    rows = np.empty(biggest, dtype=np.int64)
    listed = 0
    for t in range(values.shape[1]):
        listed = 0
        for g in range(len(bounds) - 1):
            n = 0
            for i in range(bounds[g], bounds[g + 1]):
                row = members[i]
                if present[row, t]:
                    keys[n] = -values[row, t] if largest_first else values[row, t]
                    if math.isnan(keys[n]):
                        keys[n] = np.inf  # ties with infinity are broken below by what comes first
                    rows[n] = row
                    n += 1
            ranked = np.argsort(keys[:n], kind="mergesort")
            taken = 0
            for wants_nan in (False, True):
                for i in range(n):
                    if taken >= k[t]:
                        break
                    row = rows[ranked[i]]
                    if math.isnan(values[row, t]) == wants_nan:
                        keep[row, t] = True
                        order[listed] = row
                        listed += 1
                        taken += 1
    return listed


@kernel
def any_of_group(
    present: NDArray[np.bool_], group: NDArray[np.int64], out: NDArray[np.int64],
) -> None:
    """How many rows of each group [G, T] have a value."""
    for s in range(present.shape[0]):
        g = group[s]
        for t in range(present.shape[1]):
            if present[s, t]:
                out[g, t] += 1


def compile_all() -> None:
    values, present = np.zeros((1, 1)), np.ones((1, 1), dtype=np.bool_)
    group, bounds = np.zeros(1, dtype=np.int64), np.array([0, 1], dtype=np.int64)
    folded(SUM, values, present, group, values.copy(), np.zeros((1, 1), dtype=np.bool_))
    quantiles(np.zeros(1), values, present, group, bounds, values.copy(), present.copy())
    chosen(np.ones(1, dtype=np.int64), True, values, present, group, bounds, present.copy(), group.copy())
    any_of_group(present, group, np.zeros((1, 1), dtype=np.int64))
