"""An installation with days of history in a real store, and rules that learn from it."""

import threading
import time

import numpy as np

from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.learning import Learner, LearnSettings
from observe.detect.staged import create
from observe.model import Frame, Labels
from observe.promql.engine import Engine
from observe.store.metric_settings import MetricSettings
from observe.store.metrics import MetricStore
from observe.telemetry import Telemetry
from observe.testing import ManualClock
from tests.alert.world import Collected, rules

MINUTE_MS = 60_000
DAY = 1440
NOON_MS = 19_700 * 86_400_000 + 12 * 3_600_000
"""Noon of some day: histories begin at a midnight before."""
RULES = """
groups:
- name: demo
  interval: 1m
  rules:
  - alert: Odd
    expr: sum by (service) (load)
    band: {detector: auto}
"""


class Installation:
    """A real metric store with `days` of a daily load, and evaluators over it; the clock stands at NOON_MS."""

    def __init__(self, folder, days=4, services=("web", "mail"), seed=1):
        self.folder = folder
        self.clock = ManualClock(NOON_MS)
        self.telemetry = Telemetry()
        self.store = MetricStore(folder / "metrics", MetricSettings(accept_old=True), self.clock, self.telemetry)
        self.query = Engine(self.store, clock=self.clock)
        self.chance = np.random.default_rng(seed)
        self.services = services
        if days:
            self.append(NOON_MS - days * DAY * MINUTE_MS, days * DAY)

    def append(self, first_ms, minutes, value=None):
        at = first_ms + MINUTE_MS * np.arange(minutes, dtype=np.int64)
        ids = self.store.series_ids([Labels({"__name__": "load", "service": name}) for name in self.services])
        wave = 100 + 30 * np.sin(2 * np.pi * at / 86_400_000)
        table = wave[:, None] + self.chance.standard_normal((minutes, len(self.services)))
        self.store.append(Frame(at, ids, table if value is None else np.full_like(table, value)))

    def evaluator(self, text=RULES, source=None, groups=None, folder=None, settings=None, learns=True, collected=None):
        telemetry = Telemetry()
        query = source or self.query
        settings = settings or LearnSettings(reach_ms=3 * 86_400_000)
        learner = Learner([query], create, self.clock, telemetry, settings) if learns else None
        return RuleEvaluator(
            groups or rules(text), self.query, None, collected or Collected(), create, self.clock, telemetry,
            settings=EvaluatorSettings(spread=False), folder=folder, learner=learner,
        )

    def tick(self, *evaluators, value=None):
        """A minute passes: a point comes, the rules are evaluated."""
        self.clock.advance_ms(MINUTE_MS)
        self.append(self.clock.now_ms(), 1, value)
        for evaluator in evaluators:
            evaluator.tick(self.clock.now_ms())


def until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)


def learn(installation, evaluator, *others):
    """Start it, wait until its rules have read their history, and let them take it over."""
    installation.tick(evaluator, *others)
    learning = [start.learning for start in evaluator._starts._starts.values() if start.learning is not None]
    until(lambda: all(one.state in {"ready", "done"} for one in learning))
    installation.tick(evaluator, *others)
    return evaluator.rules()[0]


def engine_of(evaluator, rule=0):
    return evaluator._groups[0].rules[rule].alerting.band_judge.engine
