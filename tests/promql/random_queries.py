"""Random data and random expressions on which Prometheus 2 and 3 agree.

They differ where a sample lies exactly on the edge of a window (closed on the left before 3.0). So samples are taken
7 ms past the second, queries at 3 s past a multiple of ten, and subqueries have steps of whole tens and no subquery
inside. Counters that have gaps never come near zero: how far those are stretched was changed as well. Left out are what
2.42 gets wrong: it keeps the name in ``atan2``, refuses ``-(a or b)`` over a range, freezes ``predict_linear(x @ t)``
at the first step, takes the deviation of a lone NaN for 0; and the calendar of NaN, which is the processor's.
"""

import random

from observe.model import STALE_NAN, Labels

START_MS = 1_733_331_600_000
SAMPLES, STEP_MS = 240, 15_000
EVAL_MS = START_MS + 1_803_000
END_MS = START_MS + 3_303_000


def series(seed):
    """``[(labels, [(time_ms, value)])]``: counters with resets, gauges with gaps and markers, histograms."""
    rng = random.Random(seed)
    found = []
    for index in range(12):
        labels = {"job": f"j{index % 3}", "instance": f"i{index}", "zone": "ab"[index % 2]}
        times = [START_MS + 7 + at * STEP_MS for at in range(SAMPLES)]
        total, counter = 0.0, []
        for time_ms in times:
            total = 0.0 if rng.random() < 0.02 else total + rng.choice([0, 1, 7.5, 120])
            counter.append((time_ms, total))
        found.append((Labels({"__name__": "requests_total", **labels}), counter))
        gauge = [
            (time_ms, rng.choice([rng.gauss(50, 20), rng.randint(-3, 3), STALE_NAN if rng.random() < 0.2 else 1.5]))
            for time_ms in times if rng.random() > 0.1
        ]
        found.append((Labels({"__name__": "temperature", **labels}), gauge))
        level = 1e6
        holes = []
        for time_ms in times:
            level += rng.randint(0, 50)
            if rng.random() > 0.15:
                holes.append((time_ms, level))
        found.append((Labels({"__name__": "bytes_total", **labels}), holes))
    for index in range(3):
        counts = [0.0] * 6
        buckets = [[] for _ in counts]
        for at in range(SAMPLES):
            for rank in range(6):
                counts[rank] += sum(rng.randint(0, 4) for _ in range(rank + 1))
                counts[rank] = max(counts[: rank + 1])
                buckets[rank].append((START_MS + 7 + at * STEP_MS, counts[rank]))
        found += [
            (Labels({"__name__": "took_seconds_bucket", "job": f"j{index}", "le": le}), bucket)
            for le, bucket in zip(("0.1", "0.5", "1", "2.5", "10", "+Inf"), buckets, strict=True)
        ]
    return found


class Expressions:
    """Random expressions as text; every one is valid, not every one has an answer."""

    def __init__(self, seed):
        self._rng = random.Random(seed)

    def _one(self, *choices):
        return self._rng.choice(choices)

    def selector(self):
        name = self._one("requests_total", "temperature", "temperature", "bytes_total")
        matcher = self._one("", "", '{job="j1"}', '{job!="j1"}', '{instance=~"i[1-5]"}', '{instance!~"i1.*",zone="a"}',
                            '{nope="x"}', '{zone=~"a|b"}')
        return name + matcher

    def modifiers(self):
        return self._one("", "", "", "", " offset 2m", " offset -1m30s", " @ 1733333403", " @ start()", " @ end()",
                         " @ 1733333403 offset 50s")

    def scalar(self):
        return self._one("2", "-1.5", "0", "1e3", "0.5", "NaN", "time()", "pi()", "scalar(temperature)",
                         'scalar(temperature{instance="i2"})', "3 * 4 ^ 0.5", "-(2 % 3)")

    def window(self, depth):
        if depth > 0 and self._rng.random() < 0.2:
            inner = self.vector(0, plain=True)
            return f"({inner})[{self._one('3m', '10m')}:{self._one('10s', '30s', '1m')}]" + self.modifiers()
        return f"{self.selector()}[{self._one('1m', '2m', '5m', '17m')}]{self.modifiers()}"

    def vector(self, depth, *, plain=False):
        if depth <= 0:
            return self.selector() + ("" if plain else self.modifiers())
        kind = self._one("window", "window", "window", "math", "aggregate", "aggregate", "binary", "binary", "set",
                         "labels", "choose", "histogram", "time", "scalar", "other")
        return getattr(self, "_" + kind)(depth - 1)

    def _window(self, depth):
        function = self._one(
            "rate", "rate", "increase", "delta", "irate", "idelta", "changes", "resets", "deriv", "avg_over_time",
            "sum_over_time", "min_over_time", "max_over_time", "count_over_time", "stddev_over_time",
            "stdvar_over_time", "last_over_time", "present_over_time", "absent_over_time",
        )
        if self._rng.random() < 0.15:
            return f"quantile_over_time({self._one('0', '0.25', '0.9', '1')}, {self.window(depth)})"
        if self._rng.random() < 0.1:
            window = f"{self.selector()}[{self._one('2m', '17m')}]"
            return f"predict_linear({window}, {self._one('60', '-30', '3600')})"
        window = self.window(depth)
        if function in {"rate", "increase"} and "temperature" in window:
            function = "delta"
        return f"{function}({window})"

    def _math(self, depth):
        function = self._one("abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "atan",
                             "deg", "rad", "tanh", "asinh")
        if self._rng.random() < 0.1:
            part = self._one("minute", "hour", "day_of_week", "month", "days_in_month", "day_of_year", "year")
            return f"{part}({self.selector()})"
        if self._rng.random() < 0.2:
            return f"clamp({self.vector(depth)}, {self._one('-1', '0')}, {self._one('5', '-5', '100')})"
        if self._rng.random() < 0.2:
            return f"round({self.vector(depth)}, {self._one('0.1', '5', '0.25')})"
        return f"{function}({self.vector(depth)})"

    def _grouping(self):
        return self._one("", "by (job) ", "by (zone, job) ", "without (instance) ", "by (nope) ", "without () ")

    def _aggregate(self, depth):
        function = self._one("sum", "sum", "avg", "min", "max", "count", "group")
        if self._rng.random() < 0.1:
            return f"{self._one('stddev', 'stdvar')} {self._grouping()}({self.selector()})"
        if self._rng.random() < 0.15:
            return f"quantile {self._grouping()}({self._one('0', '0.5', '0.99', '1')}, {self.vector(depth)})"
        if self._rng.random() < 0.1:
            return f'count_values {self._grouping()}("said", round({self.vector(depth)}, 50))'
        return f"{function} {self._grouping()}({self.vector(depth)})"

    def _choose(self, depth):
        # Which of two equals is taken is nobody's promise: so only the sum of what is taken is looked at.
        function, k, grouping = self._one("topk", "bottomk"), self._one(1, 2, 5, 100), self._grouping()
        return f"sum {grouping}({function} {grouping}({k}, {self.vector(depth)}))"

    def _binary(self, depth):
        operator = self._one(*"+-*/%^><", "==", "!=", ">=", "<=", "> bool", "== bool")
        shape = self._rng.random()
        if shape < 0.3:
            return f"({self.vector(depth)}) {operator} {self.scalar()}"
        if shape < 0.4:
            return f"{self.scalar()} {operator} ({self.vector(depth)})"
        if shape < 0.6:
            left, right = self._one("sum", "max"), self._one("sum", "avg", "count")
            return (f"{left} by (job, zone) ({self.vector(depth)}) {operator} on (job) group_left () "
                    f"{right} by (job) ({self.vector(depth)})")
        matching = self._one("", "", "on (instance) ", "ignoring (zone) ", "on (job, instance) group_right (zone) ")
        return f"({self.vector(depth)}) {operator} {matching}({self.vector(depth)})"

    def _set(self, depth):
        matching = self._one("", "on (job) ", "ignoring (instance) ", "on () ")
        return f"({self.vector(depth)}) {self._one('and', 'or', 'unless')} {matching}({self.vector(depth)})"

    def _labels(self, depth):
        if self._rng.random() < 0.5:
            return f'label_join({self.vector(depth)}, "both", "-", "job", "zone")'
        source, pattern = self._one(("instance", "i(.)"), ("job", "(.*)"), ("zone", "(a)|b"))
        target, template = self._one("new", "zone"), self._one("x-$1", "$1", "")
        return f'label_replace({self.vector(depth)}, "{target}", "{template}", "{source}", "{pattern}")'

    def _histogram(self, depth):
        inner = self._one("took_seconds_bucket", "rate(took_seconds_bucket[5m])",
                          "sum by (le) (rate(took_seconds_bucket[4m]))", "sum by (job, le) (took_seconds_bucket)")
        return f"histogram_quantile({self._one('0.5', '0.95', '0', '1', '0.01')}, {inner})"

    def _time(self, depth):
        return self._one("timestamp({})", "vector(time()) - timestamp({})", "absent({})", "-{}").format(self.selector())

    def _scalar(self, depth):
        return f"vector({self.scalar()})"

    def _other(self, depth):
        return self._one(f"sort({self.vector(depth)})", f"sort_desc({self.vector(depth)})", f"({self.vector(depth)})",
                         f"absent({self.vector(depth)})")
