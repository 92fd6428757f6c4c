"""Recording rules: their results as series, by the rule's name and labels."""

import hashlib
import json

import numpy as np

from observe.alert.rules import Rule
from observe.alert.template import Scope, Template
from observe.alert.written import SeriesWriter
from observe.errors import ObserveError
from observe.model import METRIC_NAME, Labels, Vector


def key_of(rule: Rule) -> str:
    """Whose series they are that a rule records: rules of one name may differ in labels or expression, or in file."""
    told = json.dumps([rule.file, sorted(rule.labels.items()), rule.expr])
    return f"record {rule.id} {hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}"


class Recorder:
    """Without a writer every recording fails with what to do."""

    def __init__(self, writer: SeriesWriter | None) -> None:
        self._writer = writer
        self._names: dict[str, tuple[tuple[Labels, ...], tuple[Labels, ...]]] = {}
        """Names of what a rule recorded, for as long as its result has the same series."""

    def record(self, rule: Rule, vector: Vector, at_ms: int, limit: int) -> None:
        if limit and len(vector.labels) > limit:
            raise ObserveError(
                f"{len(vector.labels)} series, but the group's limit is {limit}; raise `limit` or aggregate more")
        if self._writer is None:
            raise ObserveError("recording rules need a store to write to; configure remote write")
        key = key_of(rule)
        known = self._names.get(key)
        if known is None or known[0] != vector.labels:
            laid = {name: Template(text).render(Scope({}, 0.0)) for name, text in rule.labels.items()}
            labels = tuple(one.updated({**laid, METRIC_NAME: rule.name}) for one in vector.labels)
            if len(set(labels)) != len(labels):
                raise ObserveError("several series of the result have the same labels once the rule's are added")
            known = self._names[key] = (vector.labels, labels)
        self._writer.write(key, at_ms, known[1], np.asarray(vector.values, dtype=np.float64))

    def forget(self) -> None:
        """Rules were loaded anew: their labels may differ."""
        self._names.clear()
