"""Which rules learn from history, and when what they learned is taken over. On the data thread alone."""

from collections.abc import Collection
from dataclasses import dataclass

from observe.alert.learning import Learner, Learning, days_over
from observe.alert.running import RunningAlert
from observe.detect.budget import Spending
from observe.errors import ObserveError
from observe.protocols import BandStart, BudgetStatus


@dataclass
class _Start:
    learning: Learning | None = None
    """On its way from history to the present, or to the width of its budget."""
    calibrated_days: int = 0
    """`days_over` when its budget was last to be read off them."""
    came_of_it: BandStart | None = None


class ColdStarts:
    """Rules by their key. Without a learner nothing ever starts, and everything else holds."""

    def __init__(self, learner: Learner | None) -> None:
        self._learner = learner
        self._starts: dict[str, _Start] = {}

    def begin(self, alerting: RunningAlert, until_ms: int) -> None:
        """Let its bands learn what is known up to `until_ms`, beside the ticks."""
        judge, band = alerting.band_judge, alerting.rule.band
        if self._learner is None or judge is None or band is None:
            return
        learning = Learning(alerting.rule, band, alerting.interval_ms, until_ms)
        self._starts[alerting.key] = _Start(learning, days_over(until_ms, alerting.interval_ms))
        judge.listener = learning.judged
        self._learner.begin(learning)

    def tick(self, alerting: RunningAlert, until_ms: int, now_ms: int) -> bool:
        """Between two evaluations: take over an engine that has caught up. True where that happened just now."""
        if self._learner is None or alerting.band_judge is None:
            return False
        start = self._starts.get(alerting.key)
        if start is None or start.learning is None:
            self._calibrate_again(alerting, until_ms)
            return False
        one = start.learning
        if one.state == "retry" and now_ms >= one.retry_at_ms:
            one.again(until_ms)
            self._learner.begin(one)
        if one.state not in {"ready", "done"}:
            return False
        start.learning = None
        if one.only_budget:
            if one.spending is not None:
                alerting.band_judge.engine.spend(one.spending)  # type: ignore[attr-defined]
            return False
        alerting.band_judge.listener = None
        start.came_of_it = self._take_over(alerting, one)
        return True

    def _take_over(self, alerting: RunningAlert, one: Learning) -> BandStart:
        if one.engine is not None:
            try:
                one.catch_up()
            except ObserveError as error:
                return BandStart("failed", f"its bands warm up from the points that come: {error}")
            alerting.take(one.engine)
        return one.start

    def _calibrate_again(self, alerting: RunningAlert, until_ms: int) -> None:
        """A budget is read off again after each midnight: of a drifting system the width of last month is no guide.

        Nothing hangs on when this process started: what counts is which whole days the width was read from.
        """
        band = alerting.rule.band
        if self._learner is None or band is None or band.budget is None:
            return
        start = self._starts.setdefault(alerting.key, _Start())
        spending, days = _spending(alerting), days_over(until_ms, alerting.interval_ms)
        known = days_over(spending.until_ms, alerting.interval_ms) if spending is not None else 0
        if days <= max(known, start.calibrated_days):
            return
        start.calibrated_days = days
        start.learning = Learning(alerting.rule, band, alerting.interval_ms, until_ms, only_budget=True)
        self._learner.begin(start.learning)

    def keep_only(self, keys: Collection[str]) -> None:
        """Rules that are gone stop learning."""
        for key in [key for key in self._starts if key not in keys]:
            gone = self._starts.pop(key).learning
            if gone is not None:
                gone.dropped = True

    def is_learning(self, alerting: RunningAlert) -> bool:
        """A snapshot of it now would say that there is nothing more to learn."""
        start = self._starts.get(alerting.key)
        return start is not None and start.learning is not None and not start.learning.only_budget

    def told(self, alerting: RunningAlert) -> BandStart | None:
        """For people. Safe from any thread."""
        start = self._starts.get(alerting.key)
        if start is None:
            return None
        learning = start.learning
        if learning is None or learning.only_budget:
            return start.came_of_it
        if learning.start.state == "learning":
            return learning.start
        return BandStart("learning", "its history is learned and waits for the next evaluation")

    def close(self) -> None:
        if self._learner is not None:
            self._learner.close()


def budget_of(alerting: RunningAlert) -> BudgetStatus | None:
    """What a rule's budget asks for, and what its bands are expected to cost."""
    band = alerting.rule.band
    if band is None or band.budget is None:
        return None
    spending = _spending(alerting)
    if spending is None:
        return BudgetStatus(band.budget.pages, band.budget.per_ms)
    return BudgetStatus(band.budget.pages, band.budget.per_ms, spending.pages, spending.history_ms)


def _spending(alerting: RunningAlert) -> Spending | None:
    judge = alerting.band_judge
    found: Spending | None = getattr(judge.engine, "spending", None) if judge is not None else None
    return found
