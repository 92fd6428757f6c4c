"""What rules write back as series: bands, ALERTS, ALERTS_FOR_STATE and recordings, ended with staleness markers."""

from bisect import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from observe.alert.judge import Judged
from observe.detect.matching import Row
from observe.distinct import distinct
from observe.model import METRIC_NAME, STALE_NAN, Alert, AlertState, Frame, Labels
from observe.protocols import NO_SERIES, SampleSink
from observe.telemetry import Telemetry

BAND_SERIES = ("upper", "lower", "baseline", "score", "ready", "firing")


class SeriesWriter:
    """Writes one set of series a key (a rule); a series that was there last time and is not now is marked stale."""

    def __init__(self, sink: SampleSink, telemetry: Telemetry, replica: str = "") -> None:
        self._sink = sink
        self._telemetry = telemetry
        self._replica = replica
        self._last: dict[str, tuple[Row, NDArray[np.uint32]]] = {}
        self._bands: dict[str, tuple[Row, NDArray[np.object_], tuple[Labels, ...]]] = {}
        """Of each rule: its series, the names of their bands [6, S], and these one part after the other."""
        self._unique: dict[str, NDArray[np.uint32]] = {}

    def write(self, key: str, at_ms: int, labels: tuple[Labels, ...], values: NDArray[np.float64]) -> None:
        """Append `values` [N] at `at_ms`, and stale markers for the series of this key that are no more."""
        self._switch(key, at_ms, labels)
        self._append_to(key, at_ms, np.arange(len(labels)), values)

    def end(self, key: str, at_ms: int) -> None:
        """The rule is gone: so are its series."""
        self.write(key, at_ms, (), np.empty(0))
        self._last.pop(key, None)
        self._bands.pop(key, None)
        self._unique.pop(key, None)

    def write_band(self, rule: str, at_ms: int, judged: Judged) -> None:
        """The bands of the points that were judged. A series without a new point keeps its band; one that left ends."""
        said = judged.judgement
        key = "band " + rule
        labels = self._band_labels(rule, judged.series)
        self._switch(key, at_ms, labels)
        values = np.stack([
            said.upper, said.lower, said.baseline, said.score, said.ready.astype(np.float64),
            said.firing.astype(np.float64),
        ])
        known = np.isfinite(values)
        places = np.arange(len(labels)).reshape(len(BAND_SERIES), -1)[:, judged.where]
        self._append_to(key, at_ms, places[known], values[known])

    def end_band(self, rule: str, at_ms: int) -> None:
        self.end("band " + rule, at_ms)
        self._bands.pop(rule, None)

    def write_alerts(self, rule: str, at_ms: int, alerts: Sequence[tuple[Alert, int]]) -> None:
        """``ALERTS`` and ``ALERTS_FOR_STATE`` of pending and firing alerts with the time they became active."""
        labels: list[Labels] = []
        values: list[float] = []
        for alert, active_at_ms in alerts:
            state = "firing" if alert.state is AlertState.FIRING else "pending"
            labels.append(alert.labels.updated({METRIC_NAME: "ALERTS", "alertstate": state}))
            values.append(1.0)
            labels.append(alert.labels.updated({METRIC_NAME: "ALERTS_FOR_STATE"}))
            values.append(active_at_ms // 1000)  # whole seconds, as in Prometheus
        key = "alerts " + rule
        if labels or (key in self._last and len(self._last[key][0])):
            self.write(key, at_ms, tuple(labels), np.array(values))

    def _band_labels(self, rule: str, series: tuple[Labels, ...]) -> tuple[Labels, ...]:
        """[6 · S] the names of the bands, part after part."""
        cached = self._bands.get(rule)
        if cached is not None and cached[0].names is series:
            return cached[2]
        row, names = Row(series), np.empty((len(BAND_SERIES), len(series)), np.object_)
        source = np.full(len(series), -1)
        if cached is not None:
            source, _ = cached[0].places_of(row)
            names[:, source >= 0] = cached[1][:, source[source >= 0]]
        for place in np.flatnonzero(source < 0).tolist():
            base = self._band_name(rule, series[place])
            for part, name in enumerate(BAND_SERIES):
                names[part, place] = _named(f"observe_band_{name}", base)
        made = tuple(names.ravel().tolist())
        self._bands[rule] = (row, names, made)
        return made

    def _band_name(self, rule: str, labels: Labels) -> Labels:
        laid = {"rule": rule}
        if "rule" in labels:
            laid["exported_rule"] = labels["rule"]
        if self._replica:
            laid["replica"] = self._replica
        return labels.without(METRIC_NAME).updated(laid)

    def _are_unique(self, key: str, ids: NDArray[np.uint32]) -> bool:
        """Whether no id is there twice; sorted out again only when the series of this key changed."""
        known = self._last.get(key)
        if known is not None and self._unique.get(key) is known[1]:
            return True
        unique = len(distinct(ids)) == len(ids)
        if unique and known is not None and len(ids) == len(known[1]):
            self._unique[key] = known[1]
        return unique

    def _switch(self, key: str, at_ms: int, labels: tuple[Labels, ...]) -> None:
        """From now on this key has these series; those that it had and has no more are marked stale.

        Only those that are new are asked for: by their names, for as many as there may be six million.
        """
        before, before_ids = self._last.get(key, _NOTHING)
        if key in self._last and before.names is labels:
            return
        row = Row(labels)
        source, taken = before.places_of(row)
        ids = np.full(len(labels), NO_SERIES, np.uint32)
        ids[source >= 0] = before_ids[source[source >= 0]]
        new = np.flatnonzero(source < 0)
        ids[new] = self._asked(key, labels, new)
        if not (ids[new] == NO_SERIES).any():  # there is room: perhaps now also for those that were refused before
            refused = np.flatnonzero(ids == NO_SERIES)
            ids[refused] = self._asked(key, labels, refused)
        self._last[key] = (row, ids)
        over = _not_among(before_ids[~taken], ids)
        self._append(key, at_ms, over, np.full(len(over), STALE_NAN))  # one that lapsed has ended already

    def _asked(self, key: str, labels: tuple[Labels, ...], places: NDArray[np.intp]) -> NDArray[np.uint32]:
        """The ids of the series at these places."""
        if not len(places):
            return np.empty(0, np.uint32)
        return self._sink.series_ids([labels[place] for place in places.tolist()], f"rule {key}")

    def _append_to(self, key: str, at_ms: int, places: NDArray[np.intp], values: NDArray[np.float64]) -> None:
        """Append to the series at `places` of this key; ids that lapsed in the store are asked for again."""
        row, ids = self._last[key]
        if not self._append(key, at_ms, ids[places], values):
            return
        fresh = self._sink.series_ids(row.names, f"rule {key}")
        self._last[key] = (row, fresh)
        lapsed = fresh[places] != ids[places]
        lost = self._append(key, at_ms, fresh[places][lapsed], values[lapsed])
        if lost:
            self._telemetry.dropped("rules", "unknown series", lost)

    def _append(self, key: str, at_ms: int, ids: NDArray[np.uint32], values: NDArray[np.float64]) -> int:
        """Returns how many samples were for ids that the store no longer knows."""
        allowed = ids != NO_SERIES
        refused = int(len(ids) - allowed.sum())
        if refused:
            self._telemetry.dropped("rules", "series limit", refused)
        ids, values = ids[allowed], values[allowed]
        if not self._are_unique(key, ids):
            # Results that differ in nothing but their name become one series: the first is kept.
            unique, first = np.unique(ids, return_index=True)
            self._telemetry.dropped("rules", "same labels", len(ids) - len(unique))
            ids, values = unique, values[first]
        if not len(ids):
            return 0
        done = self._sink.append(
            Frame(np.array([at_ms], dtype=np.int64), ids.astype(np.uint32), values.reshape(1, -1)),
        )
        lost = {
            "duplicate": done.duplicate, "too old": done.too_old, "future": done.future, "over limit": done.over_limit,
        }
        for reason, count in lost.items():
            if count:
                self._telemetry.dropped("rules", reason, count)
        return done.unknown


_NOTHING = (Row(), np.empty(0, np.uint32))


def _not_among(some: NDArray[np.uint32], ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Those of `some` that are not among `ids`: two results that differ in their name only have one band."""
    some, ids = some[some != NO_SERIES], ids[ids != NO_SERIES]
    if not len(some):
        return some
    among = np.zeros(max(int(some.max()), int(ids.max(initial=0))) + 1, np.bool_)
    among[ids] = True
    return some[~among[some]]


def _named(name: str, labels: Labels) -> Labels:
    """`labels`, which have no name, with one: the pairs are sorted already, and there may be a million of them."""
    place = bisect(labels.pairs, (METRIC_NAME,))
    return Labels.from_sorted((*labels.pairs[:place], (METRIC_NAME, name), *labels.pairs[place:]))
