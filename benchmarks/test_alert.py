"""Rules and pages: against the obvious way in Python, in the same run."""

import json
import sqlite3
import time

import numpy as np

from benchmarks.timing import best
from observe.alert.evaluate import EvaluatorSettings, RuleEvaluator
from observe.alert.rule_syntax import parse_rules
from observe.detect.engine import create
from observe.model import Alert, AlertState, Labels, Reason, Vector
from observe.notify.ledger import Ledger
from observe.protocols import Appended
from observe.telemetry import Telemetry
from observe.testing import ManualClock

SERIES = 20_000
STEP = 15_000
RULE = """\
groups:
- name: g
  rules:
  - {alert: A, expr: x, band: {detector: rolling, window: 30, direction: above, min_rel: 20%}}
"""


class Answers:
    """A `QueryEngine` that has the result ready: what is measured is what comes after it."""

    def __init__(self):
        self.labels = tuple(Labels({"series": str(number)}) for number in range(SERIES))
        self.rows = np.random.default_rng(1).normal(100, 5, (64, SERIES))

    def instant(self, expr, time_ms):
        return Vector(time_ms, self.labels, self.rows[time_ms // STEP % 64], np.full(SERIES, time_ms, dtype=np.int64))


class Nowhere:
    """A store and a page that take anything."""

    def __init__(self):
        self.samples = 0

    def series_ids(self, labels, owner=""):
        return np.arange(len(labels), dtype=np.uint32)

    def append(self, frame):
        self.samples += frame.values.size
        return Appended(stored=frame.values.size)

    def accept(self, alerts, now_ms):
        pass


def test_one_tick_of_a_band_rule_over_20_000_series(benchmark):
    """Judge, learn, advance, write six band series each; the peer computes mean and deviation alone, with pandas."""
    import pandas as pd

    groups, _ = parse_rules(RULE, "rules.yml", None, STEP)
    nowhere, answers = Nowhere(), Answers()
    evaluator = RuleEvaluator(groups, answers, nowhere, nowhere, create, ManualClock(0), Telemetry(),
                              settings=EvaluatorSettings(spread=False, replay_ms=0))
    now = 0

    def tick():
        nonlocal now
        now += STEP
        evaluator.tick(now)

    for _ in range(35):
        tick()
    ours = best(tick, 5)
    frame = pd.DataFrame(answers.rows[:31])
    theirs = best(lambda: (frame.rolling(30).mean().iloc[-1], frame.rolling(30).std().iloc[-1]), 5)
    benchmark.extra_info.update(
        series_per_s=round(SERIES / ours), pandas_ms=round(theirs * 1000, 2), ratio=round(theirs / ours, 1))
    print(benchmark.extra_info)
    benchmark.pedantic(tick, rounds=10)
    assert nowhere.samples > 0


def test_alert_events_made_durable(tmp_path, benchmark):
    """Batches of 50 events, each synced; the peer is sqlite3 with the same pragmas and one JSON column."""
    alerts = [
        Alert(Labels({"alertname": "A", "n": str(number)}), {"summary": "x"}, AlertState.FIRING, number, None, number,
              Reason.CONDITION_MET, "g/A") for number in range(50)
    ]
    ledger = Ledger(tmp_path / "alerts.sqlite")

    def timed(run):
        began = time.perf_counter()
        for _ in range(20):
            run()
        return (time.perf_counter() - began) / 20

    ours = timed(lambda: ledger.keep(alerts))
    peer = sqlite3.connect(tmp_path / "peer.sqlite", isolation_level=None)
    peer.execute("PRAGMA journal_mode=WAL")
    peer.execute("PRAGMA synchronous=FULL")
    peer.execute("CREATE TABLE t (k TEXT PRIMARY KEY, body TEXT)")

    def plain():
        peer.execute("BEGIN")
        peer.executemany("INSERT OR REPLACE INTO t VALUES (?, ?)",
                         [(str(number), json.dumps({"labels": dict(one.labels)})) for number, one in enumerate(alerts)])
        peer.execute("COMMIT")

    theirs = timed(plain)
    peer.close()
    benchmark.extra_info.update(
        events_per_s=round(50 / ours), sqlite_ms=round(theirs * 1000, 2), ratio=round(theirs / ours, 2))
    print(benchmark.extra_info)
    benchmark.pedantic(ledger.keep, args=(alerts,), rounds=10)
    ledger.close()


ALERTS, INHIBITIONS = 2_000, 86


def test_holding_alerts_back_against_comparing_each_with_each(benchmark):
    """Alerts that 86 inhibit rules look at: found by the labels that must be equal, and by comparing all pairs."""
    from observe.model import Matcher
    from observe.notify.inhibition import Inhibitor
    from observe.notify.matching import matches
    from observe.notify.settings import Inhibition

    rules = [
        Inhibition((Matcher("alertname", "=", f"Source{n}"),), (Matcher("team", "=~", f"t{n}|x"),), ("cluster",))
        for n in range(INHIBITIONS)
    ]
    alerts = [
        Alert(Labels({"alertname": f"Source{n % 86}" if n % 10 == 0 else f"A{n % 200}", "team": f"t{n % 86}",
                      "cluster": f"c{n % 20}", "instance": f"i{n}"}), {}, AlertState.FIRING, 0, None, 0,
              Reason.CONDITION_MET, "g/A")
        for n in range(ALERTS)
    ]

    def pairs():
        return [
            [source for rule in rules if matches(rule.target, target.labels) for source in alerts
             if matches(rule.source, source.labels) and source.labels != target.labels
             and source.labels.get("cluster") == target.labels.get("cluster")
             and not (matches(rule.source, target.labels) and matches(rule.target, source.labels))]
            for target in alerts
        ]

    def indexed():
        inhibitor = Inhibitor(rules)
        for alert in alerts:
            inhibitor.begin(alert)
        return [inhibitor.holding(alert) for alert in alerts]

    assert [{one.labels for one in found} for found in pairs()] == [
        {one.labels for one in found} for found in indexed()]
    ours, theirs = best(indexed), best(pairs, rounds=1)
    benchmark.extra_info.update(alerts=ALERTS, inhibit_rules=INHIBITIONS, ratio=round(theirs / ours, 1))
    print(benchmark.extra_info)
    benchmark.pedantic(indexed, rounds=5)
