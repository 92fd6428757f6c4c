"""Recording rules over the whole language, into the real store, and the bound on what one rule may make."""

import json

import numpy as np
import pytest

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.rule_syntax import parse_rules
from observe.detect.staged import create
from observe.model import METRIC_NAME, Frame, Labels
from observe.promql.engine import Engine
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.alert.world import START_MS, Collected, rules

STEP_MS = 15_000
EXPRESSIONS = {
    "a rate": "sum by (job) (rate(requests_total[1m]))",
    "a quantile of buckets": "histogram_quantile(0.9, sum by (le) (rate(latency_bucket[2m])))",
    "a subquery": "max_over_time(sum(rate(requests_total[1m]))[2m:30s])",
    "an offset": "requests_total offset 1m",
    "a fixed time": f"requests_total @ {(START_MS + 60_000) / 1000}",
    "the end of the range": "requests_total @ end()",
    "one against many": "requests_total / on (job) group_left (version) build_info",
    "a set": 'requests_total{instance="1"} or requests_total unless on (instance) requests_total{instance="2"}',
    "the largest": "topk(2, requests_total)",
    "values counted": 'count_values("seen", build_info)',
    "labels made": 'label_replace(requests_total, "short", "$1", "job", "(.).*")',
    "labels joined": 'label_join(requests_total, "both", "-", "job", "instance")',
    "what is absent": 'absent(requests_total{job="none"})',
    "a trend": "predict_linear(requests_total[2m], 600)",
    "a smoothed curve": "double_exponential_smoothing(requests_total[2m], 0.5, 0.5)",
    "a calendar": "day_of_week(vector(time()))",
    "a scalar": "scalar(sum(requests_total)) * 2",
    "a comparison": "requests_total > bool 30",
    "a trigonometric function": "sin(requests_total) ^ 2",
}


class Ruled:
    """Rules over a metric store that already has three minutes of samples."""

    def __init__(self, folder, groups, **settings):
        self.clock, self.telemetry = ManualClock(START_MS), Telemetry()
        self.store = MetricStore(folder, MetricSettings(**settings), self.clock, self.telemetry)
        series = [Labels({METRIC_NAME: "requests_total", "job": job, "instance": place})
                  for job in ("api", "web") for place in "123"]
        series += [Labels({METRIC_NAME: "build_info", "job": job, "version": "v" + job}) for job in ("api", "web")]
        series += [Labels({METRIC_NAME: "latency_bucket", "le": le}) for le in ("0.1", "1", "+Inf")]
        ids = self.store.series_ids(series)
        for _ in range(12):
            rows = np.arange(1.0, len(series) + 1) * (self.clock.now_ms() - START_MS + STEP_MS) / STEP_MS
            rows[6:8] = 1
            self.store.append(Frame(np.array([self.clock.now_ms()]), ids, rows[None, :]))
            self.clock.advance_ms(STEP_MS)
        self.engine = Engine(self.store, clock=self.clock)
        self.evaluator = RuleEvaluator(
            rules(groups, STEP_MS), self.engine, self.store, Collected(), create, self.clock, self.telemetry,
            settings=EvaluatorSettings(spread=False),
        )

    def found(self, expr):
        vector = self.engine.instant(expr, self.clock.now_ms())
        return {labels.without(METRIC_NAME): value for labels, value in zip(
            vector.labels, vector.values.tolist(), strict=True)}


def group(records):
    return json.dumps({"groups": [{"name": "g", "rules": [
        {"record": name, "expr": expr} for name, expr in records.items()]}]})


@pytest.mark.parametrize("what", EXPRESSIONS)
def test_a_recording_is_what_its_expression_gives(tmp_path, what):
    ruled = Ruled(tmp_path, group({"kept": EXPRESSIONS[what]}))
    expected = ruled.found(EXPRESSIONS[what])

    ruled.evaluator.tick(ruled.clock.now_ms())

    assert [("ok", "")] == [(rule.health, rule.last_error) for rule in ruled.evaluator.rules()]
    assert len(expected) >= 1
    assert expected == ruled.found("kept")


def test_a_rule_that_makes_too_many_series_gets_some_and_leaves_the_others_their_room(tmp_path):
    ruled = Ruled(tmp_path, group({"many": "requests_total", "few": "build_info"}), owner_limit=4)

    ruled.evaluator.tick(ruled.clock.now_ms())

    assert (4, 2) == (len(ruled.found("many")), len(ruled.found("few")))
    assert b'observe_dropped_total{reason="series limit",stage="rules"} 2.0' in ruled.telemetry.exposition()


def test_recordings_of_one_name_that_differ_in_their_labels_do_not_end_each_other(tmp_path):
    """As objectives are written: the same name, a service each; here from two groups of two files as well."""
    def objective(group, service, value):
        rule = {"record": "objective", "labels": {"service": service}, "expr": f"vector({value})"}
        return {"name": group, "rules": [rule]}

    both = objective("g", "api", 0.99)
    both["rules"] += objective("g", "web", 0.95)["rules"]
    ruled = Ruled(tmp_path, json.dumps({"groups": [both]}))
    ruled.evaluator.load([
        *parse_rules(json.dumps({"groups": [both]}), "one.yml", None, STEP_MS)[0],
        *parse_rules(json.dumps({"groups": [objective("g", "shop", 0.9)]}), "two.yml", None, STEP_MS)[0],
    ])
    for _ in range(5):
        ruled.evaluator.tick(ruled.clock.now_ms())
        found = ruled.found("objective")
        ruled.clock.advance_ms(STEP_MS)

        assert {"api": 0.99, "web": 0.95, "shop": 0.9} == {labels["service"]: value for labels, value in found.items()}
    assert b"observe_dropped_total" not in ruled.telemetry.exposition()
