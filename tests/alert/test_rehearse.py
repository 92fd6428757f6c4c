"""Rules replayed over history: what would have fired, why, and how that meets what really happened."""

import numpy as np
import pytest

from observe.alert.learning import LearnSettings
from observe.alert.rehearse import Incident, judge_firings, read_incidents, rehearse
from observe.cli import main
from observe.detect.engine import create
from observe.errors import InvalidInput
from observe.model import Labels
from observe.promql.engine import Engine
from observe.testing import MemorySource
from tests.alert.world import rules

STEP_MS = 60_000
START_MS = 1_700_000_040_000
RULES = """
groups:
- name: demo
  interval: 1m
  rules:
  - record: ignored
    expr: latency * 2
  - alert: Slow
    expr: latency
    band: {detector: rolling, window: 30, k: 4, direction: above}
  - alert: High
    expr: latency > 50
    for: 2m
"""


@pytest.fixture(scope="module")
def firings():
    source = MemorySource()
    for minute in range(200):
        value = 100.0 if 100 <= minute < 120 else 10.0 + minute % 3
        source.add(Labels({"__name__": "latency", "service": "web"}), START_MS + minute * STEP_MS, value)
    done = list(rehearse(rules(RULES), Engine(source), create, START_MS, START_MS + 199 * STEP_MS))
    assert [("demo/Slow", 1, 1), ("demo/High", 1, None)] == [(one.rule, one.series, one.ready) for one in done]
    return [firing for one in done for firing in one.firings]


def minute(time_ms):
    return (time_ms - START_MS) / STEP_MS


def test_a_replay_tells_what_fired_when_and_why(firings):
    slow, high = sorted(firings, key=lambda one: one.rule, reverse=True)

    assert ("demo/Slow", "demo/High") == (slow.rule, high.rule)
    assert (102, 124) == (minute(slow.fired_at_ms), minute(slow.resolved_at_ms))
    assert 102 == minute(high.fired_at_ms)
    assert "web" == slow.labels["service"]
    assert 100 == slow.value
    assert slow.upper < 20
    assert "recovered" == slow.ended
    assert "the value was 100, outside its band: 11" in slow.words[0]


def test_a_budget_is_read_off_again_each_midnight_of_the_replay():
    source, made = MemorySource(), []
    noise = np.random.default_rng(3).standard_normal(4 * 144)
    midnight = START_MS // 86_400_000 * 86_400_000
    for tick, value in enumerate(noise):
        source.add(Labels({"__name__": "latency"}), midnight + tick * 10 * STEP_MS, 50 + float(value))
    text = RULES.replace("interval: 1m", "interval: 10m").replace("k: 4", "budget: 2/day")

    def make(band, interval_ms):
        made.append(create(band, interval_ms))
        return made[-1]

    list(rehearse(rules(text), Engine(source), make, midnight + 3 * 86_400_000, midnight + 4 * 86_400_000 - 1,
                  LearnSettings()))

    assert midnight + 3 * 86_400_000 - 10 * STEP_MS == made[-1].spending.until_ms
    made.clear()
    list(rehearse(rules(text), Engine(source), make, midnight + 5 * 43_200_000, midnight + 4 * 86_400_000 - 1,
                  LearnSettings()))
    assert midnight + 3 * 86_400_000 - 10 * STEP_MS == made[-1].spending.until_ms


def test_firings_are_matched_to_incidents_by_time_and_labels(firings):
    at = START_MS + 100 * STEP_MS
    web, mail = (Incident(at, at + 20 * STEP_MS, Labels({"service": name})) for name in ("web", "mail"))
    earlier = Incident(START_MS, START_MS + STEP_MS, Labels())

    both = judge_firings(firings, [web, earlier])
    foreign = judge_firings(firings, [mail])

    assert (1, 2, 0, 120_000) == (both.found, both.incidents, both.false_alarms, both.median_delay_ms)
    assert (1.0, 0.5) == (both.precision, both.recall)
    assert (0, 2, None) == (foreign.found, foreign.false_alarms, foreign.median_delay_ms)
    assert ((earlier,), (mail,)) == (both.missed, foreign.missed)
    assert judge_firings([], []).precision is None


def test_incidents_are_read_with_their_labels(tmp_path):
    path = tmp_path / "incidents.csv"
    path.write_text("start,end,service\n2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,web\n2026-01-02,2026-01-03,\n")

    first, second = read_incidents(path)

    assert (3_600_000, {"service": "web"}) == (first.end_ms - first.start_ms, dict(first.labels))
    assert {} == dict(second.labels)


def test_a_wrong_incident_is_named_with_its_line(tmp_path):
    path = tmp_path / "incidents.csv"
    path.write_text("start,end\n2026-01-01,2026-01-02\nsoon,later\n")

    with pytest.raises(InvalidInput, match=r"incidents\.csv:3"):
        read_incidents(path)


@pytest.mark.parametrize(
    "words",
    [["--rules", "r.yml"], ["--input", "a.csv"], [],
     ["--rules", "r.yml", "--prometheus", "http://127.0.0.1:9", "--from", "soon"],
     ["--rules", "r.yml", "--prometheus", "http://127.0.0.1:9", "--from", "2026-01-02", "--to", "2026-01-01"]],
)
def test_wrong_use_of_the_command_is_exit_code_2(words):
    assert 2 == main(["backtest", *words])


@pytest.mark.parametrize(("text", "words"), [
    ("2026-01-01,2026-01-02\n", r"incidents\.csv:1: columns `start` and `end` are wanted"),
    ("", "found: an empty file"),
    ("start,end\n\n2026-01-02,2026-01-01\n", r"incidents\.csv:3: this incident ends before it starts"),
    ("start,end\n2026-01-02,\n", r"incidents\.csv:2: `start` and `end` are wanted"),
])
def test_incidents_that_nobody_can_mean_are_refused(tmp_path, text, words):
    path = tmp_path / "incidents.csv"
    path.write_text(text)

    with pytest.raises(InvalidInput, match=words):
        read_incidents(path)


def test_spaces_in_a_file_of_incidents_mean_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("start,end,service\n2026-01-01,2026-01-02,web\n")
    (tmp_path / "b.csv").write_text("start , end, service\r\n2026-01-01 , 2026-01-02, web \r\n")

    assert read_incidents(tmp_path / "a.csv") == read_incidents(tmp_path / "b.csv")
