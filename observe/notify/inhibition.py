"""Which firing alerts hold which others back: looked up by the labels that must be equal, not by comparing all pairs.

With ten thousand alerts on, comparing each with each makes a list of alerts take minutes.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence

from observe.model import Alert, Labels
from observe.notify.matching import matches
from observe.notify.settings import Inhibition


class Inhibitor:
    """The firing alerts that may hold others back, by rule and by their labels. Safe from any thread."""

    def __init__(self, rules: Sequence[Inhibition]) -> None:
        self._rules = tuple(rules)
        self._lock = threading.Lock()
        self._sources: list[dict[tuple[str, ...], dict[Labels, Alert]]] = [{} for _ in self._rules]

    def reconfigure(self, rules: Sequence[Inhibition], firing: Iterable[Alert]) -> None:
        """Other rules, over what fires now."""
        with self._lock:
            self._rules = tuple(rules)
            self._sources = [{} for _ in self._rules]
        for alert in firing:
            self.begin(alert)

    def begin(self, alert: Alert) -> None:
        """It fires."""
        with self._lock:
            for rule, sources in zip(self._rules, self._sources, strict=True):
                if matches(rule.source, alert.labels):
                    sources.setdefault(_key(rule, alert.labels), {})[alert.labels] = alert

    def end(self, alert: Alert) -> None:
        """It is over; of two with the same labels the other one goes on."""
        with self._lock:
            for rule, sources in zip(self._rules, self._sources, strict=True):
                key = _key(rule, alert.labels)
                alike = sources.get(key, {})
                known = alike.get(alert.labels)
                if known is not None and known.starts_at_ms <= alert.starts_at_ms:
                    del alike[alert.labels]
                    if not alike:
                        del sources[key]

    def holding(self, target: Alert) -> list[Alert]:
        """The alerts that hold `target` back."""
        with self._lock:
            return list(self._holding(target))

    def _holding(self, target: Alert) -> Iterator[Alert]:
        for rule, sources in zip(self._rules, self._sources, strict=True):
            alike = sources.get(_key(rule, target.labels)) if sources else None
            if not alike or not matches(rule.target, target.labels):
                continue
            is_source = matches(rule.source, target.labels)
            for source in alike.values():
                if source.labels == target.labels:
                    continue
                if is_source and matches(rule.target, source.labels):
                    continue  # both are both: they would silence each other
                yield source


def _key(rule: Inhibition, labels: Labels) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in rule.equal)
