"""A rule with its state: evaluates once, advances the state machine, and says it as alerts."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from observe.alert.judge import BandJudge, Judge, PlainJudge
from observe.alert.rules import Rule
from observe.alert.states import Evidence, Instance, Observation, Seen, State, Timing, Transition, advance, begins
from observe.alert.template import BAND_NAMES, Scope, Template
from observe.alert.whereabouts import Whereabouts
from observe.detect.band import Band
from observe.errors import InvalidInput, ObserveError
from observe.model import METRIC_NAME, Alert, AlertState, Labels, Reason, Vector
from observe.protocols import BandEngine, ExplainedBand, QueryEngine

MakeEngine = Callable[[Band, int], BandEngine]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What alert texts and links may say about this installation."""

    external_url: str = ""
    external_labels: Mapping[str, str] = field(default_factory=dict)
    alert_path: str = "/alerts/{fingerprint}"
    """The console's page of one alert, below `external_url`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one evaluation of an alerting rule came to."""

    transitions: tuple[Transition, ...]
    alerts: tuple[Alert, ...]
    """Firing alerts and those that resolved just now. What was firing before a restart is told once seen to fire."""


class RunningAlert:
    """One alerting rule: its judge, its state, its texts."""

    def __init__(
        self, rule: Rule, interval_ms: int, query: QueryEngine, make_engine: MakeEngine, around: Surroundings,
        limit: int = 0,
    ) -> None:
        self.rule = rule
        self.interval_ms = interval_ms
        self.key = rule.key(interval_ms)
        self.state: State = {}
        self.current: tuple[Alert, ...] = ()
        """Pending and firing, as last evaluated."""
        self.warning = ""
        self.settle_until_ms = 0
        self._seeded: set[Labels] = set()
        self._unconfirmed: set[Labels] = set()
        """Firing before a restart, and since then never seen to fire: a twin may know that it is over."""
        self._around = around
        self._limit = limit
        self._texts(rule)
        self.judge: Judge
        if rule.band is None:
            self.judge = PlainJudge()
            self._timing = Timing(rule.for_ms, rule.keep_firing_for_ms)
        else:
            where = Whereabouts(query, rule.expr)
            self.judge = BandJudge(
                rule.id, make_engine(rule.band, interval_ms), where.of, rule.band.no_data, where.forget,
            )
            self._timing = Timing(rule.for_ms, rule.keep_firing_for_ms, rule.band.no_data, Reason.RECOVERED)
        self._alert_labels: dict[Labels, Labels] = {}
        self._links: dict[Labels, str] = {}

    def _texts(self, rule: Rule) -> None:
        names = BAND_NAMES if rule.band is not None else frozenset[str]()
        self._label_texts = {name: Template(text, names) for name, text in rule.labels.items()}
        self._annotation_texts = {name: Template(text, names) for name, text in rule.annotations.items()}

    @property
    def band_judge(self) -> BandJudge | None:
        return self.judge if isinstance(self.judge, BandJudge) else None

    def take(self, engine: BandEngine) -> None:
        """Judge by an engine that has learned elsewhere."""
        assert self.band_judge is not None
        self.band_judge.engine = engine

    def change_texts(self, rule: Rule) -> None:
        """Take over a reloaded rule that judges alike: its annotations and times may differ, its state goes on."""
        self.rule = rule
        self._texts(rule)
        self._timing = replace(self._timing, for_ms=rule.for_ms, keep_firing_for_ms=rule.keep_firing_for_ms)

    def evaluate(self, vector: Vector, now_ms: int) -> Outcome:
        """One evaluation: judge, advance, render. Raises `InvalidInput` if its alerts could not be told apart."""
        observations = self.judge.observe(vector, self.state.keys(), now_ms)
        observations = self._within_limit(self._settling(observations, now_ms))
        named = self._name(observations)
        self.state, transitions = advance(self.state, observations, self._timing, now_ms)
        self._alert_labels = {
            series: named.get(series) or self._alert_labels[series]
            for series in [*self.state, *(change.instance.series for change in transitions)]
        }
        resolved = [
            self.alert(change.instance, now_ms, change.reason)
            for change in transitions if change.after is AlertState.RESOLVED
        ]
        self.current = tuple(self.alert(instance, now_ms) for instance in self.state.values())
        gone = self._alert_labels.keys() - self.state.keys()
        for series in gone:
            self._alert_labels.pop(series, None)
            self._links.pop(series, None)
        if self._unconfirmed:
            self._unconfirmed.intersection_update(self.state)
            self._unconfirmed.difference_update(
                series for series, seen in observations.items() if begins(seen, self._timing) is not None)
        firing = [
            alert for alert, series in zip(self.current, self.state, strict=True)
            if alert.state is AlertState.FIRING and series not in self._unconfirmed
        ]
        return Outcome(transitions, tuple(firing + resolved))

    def seed(self, instances: Mapping[Labels, Instance], names: Mapping[Labels, Labels]) -> None:
        """Take over state from a snapshot or from the ledger."""
        self.state = dict(instances)
        self._seeded.update(instances)
        self._unconfirmed.update(
            series for series, instance in instances.items() if instance.state is AlertState.FIRING)
        self._alert_labels.update({series: names[series] for series in instances if series in names})
        for series, instance in instances.items():
            self._alert_labels.setdefault(series, self._labels_of(series, instance.evidence))

    def names(self) -> Mapping[Labels, Labels]:
        """The alert labels of what is pending or firing, by series."""
        return dict(self._alert_labels)

    def explain(self, alert: Alert) -> ExplainedBand | None:
        """Why the band behind one of its alerts is where it is."""
        judge = self.band_judge
        if judge is None:
            return None
        series = next((series for series, labels in self.names().items() if labels == alert.labels), None)
        if series is not None:
            return judge.explain_series(series)
        added = {"alertname", *self.rule.labels}
        found = judge.explain({name: value for name, value in alert.labels.pairs if name not in added}, 1)
        return found[0] if found else None

    def end(self, instance: Instance, now_ms: int, reason: Reason) -> Alert:
        """A resolved alert for a rule that is no more."""
        return self.alert(replace(instance, reason=reason), now_ms, reason)

    def _settling(self, observations: dict[Labels, Observation], now_ms: int) -> dict[Labels, Observation]:
        """Right after a start, an alert from before that has no data yet has not cleared."""
        if not self._seeded:
            return observations
        if now_ms >= self.settle_until_ms:
            self._seeded.clear()
            return observations
        waiting = {series: _UNKNOWN for series in self._seeded if series in self.state and series not in observations}
        return {**observations, **waiting}

    def _within_limit(self, observations: dict[Labels, Observation]) -> dict[Labels, Observation]:
        """Alerts beyond the group's limit are not begun; those that are on stay, whatever else comes up."""
        self.warning = ""
        met = [series for series, seen in observations.items() if seen.seen is Seen.MET]
        if not self._limit or len(met) <= self._limit:
            return observations
        keep = sorted(met, key=lambda series: (series not in self.state, series))[: self._limit]
        refused = set(met).difference(keep)
        self.warning = (
            f"{len(met)} alerts, but the group's limit is {self._limit}: {len(refused)} are not raised; "
            "raise `limit`, or aggregate more in `expr`"
        )
        return {series: seen for series, seen in observations.items() if series not in refused}

    def _name(self, observations: Mapping[Labels, Observation]) -> dict[Labels, Labels]:
        named = dict(self._alert_labels)
        for series, seen in observations.items():
            if series not in named and seen.seen in {Seen.MET, Seen.DOWN}:
                named[series] = self._labels_of(series, seen.evidence)
        if len(set(named.values())) != len(named):
            raise InvalidInput(
                f"rule {self.rule.id}: several series of the result have the same labels once the rule's are added; "
                "aggregate them in `expr`, or do not overwrite the label that tells them apart",
            )
        return named

    def _labels_of(self, series: Labels, evidence: Evidence) -> Labels:
        base = series.without(METRIC_NAME)
        scope = self._scope(base, evidence)
        rendered = {name: _rendered(text, scope) for name, text in self._label_texts.items()}
        return base.updated({**rendered, "alertname": self.rule.name})

    def _scope(self, labels: Labels, evidence: Evidence) -> Scope:
        """What the texts of one alert may look at; `labels` without the metric's name."""
        nan = float("nan")
        return Scope(
            labels, evidence.value if evidence.value is not None else nan, self._around.external_labels,
            self._around.external_url,
            {name: value if (value := getattr(evidence, name)) is not None else nan for name in BAND_NAMES},
        )

    def alert(self, instance: Instance, now_ms: int, ended: Reason | None = None) -> Alert:
        """The alert as everybody after this sees it."""
        series, seen = instance.series, instance.evidence
        labels = self._alert_labels.get(series) or self._labels_of(series, seen)
        scope = self._scope(series.without(METRIC_NAME), instance.wrong)
        texts = {name: _rendered(text, scope) for name, text in self._annotation_texts.items()}
        started = instance.fired_at_ms if instance.fired_at_ms is not None else instance.active_at_ms
        link = self._links.get(series)
        if link is None:
            path = self._around.alert_path.format(fingerprint=f"{labels.fingerprint:016x}")
            link = self._links[series] = self._around.external_url.rstrip("/") + path
        return Alert(
            labels, {name: text for name, text in texts.items() if text},
            AlertState.RESOLVED if ended else instance.state, started, now_ms if ended else None, now_ms,
            ended or instance.reason, self.rule.id, self.rule.expr, seen.value, seen.baseline, seen.lower, seen.upper,
            seen.score, link, None if ended else instance.clear_since_ms,
        )


def _rendered(text: Template, scope: Scope) -> str:
    try:
        return text.render(scope)
    except ObserveError as error:
        return f"<{str(error).splitlines()[0]}>"


_UNKNOWN = Observation(Seen.UNKNOWN)


def active_since(running: RunningAlert) -> Collection[tuple[Alert, int]]:
    """Pending and firing alerts with the time their condition began to hold."""
    return [
        (alert, instance.active_at_ms)
        for alert, instance in zip(running.current, running.state.values(), strict=True)
    ]
