"""Bands start from what the store knows: beside the ticks, the same in every replica, and never instead of judging."""

import threading

import numpy as np
import pytest

from observe.alert.learning import LearnSettings
from observe.alert.past import Reading, read_past
from observe.alert.rule_files import load_files
from observe.detect.staged import create
from observe.errors import QueryError, RuleError, Unavailable
from tests.alert.installation import DAY, MINUTE_MS, NOON_MS, RULES, Installation, engine_of, learn, until
from tests.alert.world import Collected, rules


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    yield made
    made.store.close()


def test_a_new_install_with_old_data_is_ready_at_once_and_says_from_what(installation):
    evaluator = installation.evaluator()

    rule = learn(installation, evaluator)

    assert (2, 2) == (rule.series_total, rule.series_ready)
    assert ("learned", "from 3d12h of history") == (rule.start.state, rule.start.words)
    told = evaluator.explain("Odd", {"service": "web"})[0]
    assert told.parts.points > 3 * DAY
    evaluator.close(installation.clock.now_ms())


def test_without_the_past_it_warms_up_as_ever_and_says_so(tmp_path):
    young = Installation(tmp_path, days=0)
    evaluator = young.evaluator()

    rule = learn(young, evaluator)

    assert "empty" == rule.start.state
    assert (2, 0) == (rule.series_total, rule.series_ready)
    evaluator.close(young.clock.now_ms())
    young.store.close()


def test_what_was_learned_beside_the_ticks_is_what_a_fold_of_everything_says(installation):
    """Points that come while it learns are neither lost nor learned twice."""
    gate = threading.Event()

    class Slow:
        def instant(self, expr, time_ms):
            return installation.query.instant(expr, time_ms)

        def range(self, *args):
            gate.wait(300)
            return installation.query.range(*args)

    evaluator = installation.evaluator(source=Slow())
    for _ in range(7):
        installation.tick(evaluator)
    gate.set()
    rule = learn(installation, evaluator)

    first = (NOON_MS + MINUTE_MS - 3 * 86_400_000) // 86_400_000 * 86_400_000
    history = read_past(installation.query, "sum by (service) (load)", first, installation.clock.now_ms(), MINUTE_MS,
                        Reading())
    whole = create(rules(RULES)[0].rules[0].band, MINUTE_MS)
    whole.learn(history)
    assert "learned" == rule.start.state
    assert whole.snapshot() == engine_of(evaluator).snapshot()
    evaluator.close(installation.clock.now_ms())


def test_replicas_that_start_hours_apart_on_one_day_judge_alike(installation):
    first = installation.evaluator()
    learn(installation, first)
    for _ in range(180):
        installation.tick(first)

    second = installation.evaluator()
    learn(installation, second, first)

    one, other = (engine_of(evaluator) for evaluator in (first, second))
    for name in one.slots.slot_of:
        assert one.explain(name).words == other.explain(name).words
    first.close(installation.clock.now_ms())
    second.close(installation.clock.now_ms())


def test_a_rule_that_comes_with_a_reload_learns_too_and_the_others_go_on(installation):
    evaluator = installation.evaluator()
    learn(installation, evaluator)
    before = engine_of(evaluator)
    more = RULES + "  - {alert: Low, expr: min(load), band: {detector: seasonal, direction: below}}\n"

    evaluator.load(rules(more), installation.clock.now_ms())
    learn(installation, evaluator)

    odd, low = evaluator.rules()
    assert before is engine_of(evaluator)
    assert ("learned", 1) == (low.start.state, low.series_ready)
    assert "learned" == odd.start.state
    evaluator.close(installation.clock.now_ms())


class Away:
    """A server that fails for a while."""

    def __init__(self, query, error, times):
        self.query, self.error, self.times = query, error, times

    def _ask(self, name, args):
        if self.times:
            self.times -= 1
            raise self.error
        return getattr(self.query, name)(*args)

    def instant(self, *args):
        return self._ask("instant", args)

    def range(self, *args):
        return self._ask("range", args)


def test_history_that_cannot_be_read_now_is_read_later_while_the_rule_goes_on(installation):
    source = Away(installation.query, Unavailable("cannot reach prometheus"), 1)
    evaluator = installation.evaluator(source=source, settings=LearnSettings(retry_ms=120_000))
    installation.tick(evaluator)
    rule = evaluator.rules()[0]
    until(lambda: "tried again" in evaluator.rules()[0].start.words)
    assert 2 == rule.series_total
    installation.tick(evaluator)
    assert "learning" == evaluator.rules()[0].start.state

    installation.tick(evaluator)
    rule = learn(installation, evaluator)

    assert ("learned", 2) == (rule.start.state, rule.series_ready)
    evaluator.close(installation.clock.now_ms())


@pytest.mark.parametrize(
    ("error", "times", "words"),
    [
        (QueryError("execution: found duplicate series"), 1, "found duplicate series"),
        (Unavailable("refuses us (401)", retryable=False), 1, "refuses us (401)"),
        (Unavailable("cannot reach prometheus"), 99, "cannot reach prometheus"),
        (ZeroDivisionError("a bug"), 1, "unexpected ZeroDivisionError"),
    ],
)
def test_history_that_cannot_be_read_is_told_counted_and_costs_only_the_warming_up(installation, error, times, words):
    settings = LearnSettings(attempts=1)
    evaluator = installation.evaluator(source=Away(installation.query, error, times), settings=settings)

    rule = learn(installation, evaluator)

    assert "failed" == rule.start.state
    assert words in rule.start.words
    assert "warm up" in rule.start.words
    assert ("ok", 2) == (rule.health, rule.series_total)
    text = evaluator._telemetry.exposition().decode()
    assert 'observe_rule_history_reads_total{result="failed"} 1.0' in text
    evaluator.close(installation.clock.now_ms())


def test_without_statsmodels_a_seasonal_rule_learns_from_the_points_and_says_what_is_missing(
        installation, tmp_path, monkeypatch):
    (tmp_path / "lib" / "statsmodels").mkdir(parents=True)
    (tmp_path / "lib" / "statsmodels" / "__init__.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    evaluator = installation.evaluator(RULES.replace("detector: auto", "detector: seasonal"))

    rule = learn(installation, evaluator)

    assert ("learned", 2) == (rule.start.state, rule.series_ready)
    assert "pip install 'observe-stack[server,analysis]'" in rule.start.words
    evaluator.close(installation.clock.now_ms())


def test_a_stop_while_it_learns_leaves_no_snapshot_that_says_it_has(installation, tmp_path):
    gate = threading.Event()

    class Stuck:
        def instant(self, *args):
            gate.wait(300)
            return installation.query.instant(*args)

        range = instant

    folder = tmp_path / "rules"
    evaluator = installation.evaluator(source=Stuck(), folder=folder)
    installation.tick(evaluator)
    installation.tick(evaluator)
    evaluator._starts._learner._stop.set()
    gate.set()
    evaluator.close(installation.clock.now_ms())
    again = installation.evaluator(folder=folder)

    rule = learn(installation, again)

    assert "learned" == rule.start.state
    again.close(installation.clock.now_ms())
    third = installation.evaluator(folder=folder)
    installation.tick(third)
    assert third.rules()[0].start is None  # from its snapshot now
    assert 2 == third.rules()[0].series_ready
    third.close(installation.clock.now_ms())


def test_an_alert_that_fires_before_the_history_is_there_stays_on(installation):
    gate = threading.Event()

    class Slow:
        def instant(self, expr, time_ms):
            gate.wait(300)
            return installation.query.instant(expr, time_ms)

        def range(self, *args):
            return installation.query.range(*args)

    collected = Collected()
    text = RULES.replace("{detector: auto}", "{detector: rolling, window: 3h, k: 6, min_rel: 50%}")
    evaluator = installation.evaluator(text, source=Slow(), collected=collected)
    installation.append(NOON_MS - 3_600_000, 60)
    for _ in range(8):
        installation.tick(evaluator, value=500.0)
    gate.set()
    learn(installation, evaluator)
    for _ in range(20):
        installation.tick(evaluator, value=500.0)

    assert {("Odd", "firing")} == {told[:2] for told in collected.told()}
    evaluator.close(installation.clock.now_ms())


def test_an_alert_that_outlasted_its_window_is_found_again_without_a_snapshot(installation):
    """Four windows back all is fault already: what was normal lies before it."""
    text = RULES.replace("{detector: auto}", "{detector: rolling, window: 5, min_rel: 50%}")
    first = installation.evaluator(text)
    learn(installation, first)
    for _ in range(40):
        installation.tick(first, value=500.0)
    first.close(installation.clock.now_ms())

    collected = Collected()
    second = installation.evaluator(text, collected=collected)
    learn(installation, second)
    for _ in range(3):
        installation.tick(second, value=500.0)

    assert 2 == len(engine_of(second).firing())
    assert {("Odd", "firing")} == {told[:2] for told in collected.told()}
    second.close(installation.clock.now_ms())


def test_history_also_comes_from_a_file_beside_the_rules(tmp_path):
    young = Installation(tmp_path, days=0)
    at = NOON_MS - MINUTE_MS * np.arange(3 * DAY, 0, -1)
    rows = "".join(f"{stamp},{100 + n % 7},{name}\n" for n, stamp in enumerate(at) for name in ("web", "mail"))
    (tmp_path / "past.csv").write_text("timestamp,value,service\n" + rows)
    (tmp_path / "rules.yml").write_text(RULES.replace("detector: auto", "detector: auto, history: past.csv"))
    evaluator = young.evaluator(groups=load_files([tmp_path / "rules.yml"]))

    rule = learn(young, evaluator)

    assert ("learned", 2) == (rule.start.state, rule.series_ready)
    evaluator.close(young.clock.now_ms())
    young.store.close()


def test_a_file_that_is_not_there_is_a_problem_of_the_rule_file(tmp_path):
    (tmp_path / "rules.yml").write_text(RULES.replace("detector: auto", "detector: auto, history: past.csv"))

    with pytest.raises(RuleError, match=r"rules\.yml:8.*past\.csv.*no such file"):
        load_files([tmp_path / "rules.yml"])


BUDGET = RULES.replace("{detector: auto}", "{detector: rolling, trigger: 1 of 1, budget: 3/day}")


def until_spending_ends_at(installation, evaluator, until_ms):
    def read_off():
        installation.tick(evaluator)
        spending = engine_of(evaluator).spending
        return spending is not None and spending.until_ms == until_ms

    until(read_off)


def test_a_budget_is_calibrated_from_history_shown_and_read_off_again_each_midnight(installation):
    evaluator = installation.evaluator(BUDGET)

    rule = learn(installation, evaluator)

    assert (3, 86_400_000) == (rule.budget.asked_pages, rule.budget.per_ms)
    assert rule.budget.expected_pages == pytest.approx(3, rel=0.7)
    assert rule.budget.history_ms > 2 * 86_400_000
    midnight = NOON_MS + 12 * 3_600_000
    installation.append(NOON_MS + 3 * MINUTE_MS, 720 - 3 - 2)
    installation.clock.advance_ms(midnight - 2 * MINUTE_MS - installation.clock.now_ms())
    assert midnight - 43_200_000 > engine_of(evaluator).spending.until_ms
    until_spending_ends_at(installation, evaluator, midnight - MINUTE_MS)
    assert "learned" == evaluator.rules()[0].start.state
    evaluator.close(installation.clock.now_ms())


def test_after_a_restart_a_budget_is_read_off_what_has_passed_since(installation, tmp_path):
    evaluator = installation.evaluator(BUDGET, folder=tmp_path / "rules")
    learn(installation, evaluator)
    evaluator.close(installation.clock.now_ms())
    installation.append(installation.clock.now_ms() + MINUTE_MS, DAY - 1)
    installation.clock.advance_ms(86_400_000 - MINUTE_MS)

    again = installation.evaluator(BUDGET, folder=tmp_path / "rules")

    until_spending_ends_at(installation, again, NOON_MS + 43_200_000 - MINUTE_MS)
    again.close(installation.clock.now_ms())


def test_a_new_series_starts_from_its_siblings(installation):
    text = RULES.replace("sum by (service) (load)", "load * 1").replace("auto}", "auto, by: [zone]}")
    evaluator = installation.evaluator(text)
    learn(installation, evaluator)

    installation.services = ("web", "mail", "new")
    installation.tick(evaluator)

    rule = evaluator.rules()[0]
    assert (3, 3) == (rule.series_total, rule.series_ready)
    evaluator.close(installation.clock.now_ms())
