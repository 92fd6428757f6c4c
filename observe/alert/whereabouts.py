"""Why a series is missing: its target is down, or the series itself is gone.

A result such as ``{service="gateway"}`` does not say which targets it was computed from. So the selectors of the
expression are asked which targets carried those labels lately, and `up` how these targets are now.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache

from observe.alert.states import Seen
from observe.errors import ObserveError, QueryError
from observe.model import METRIC_NAME, Labels
from observe.promql.ast import Expr, Selector, children
from observe.promql.parse import parse
from observe.protocols import QueryEngine

LOOK_BACK = "1h"
"""How long ago a target may have carried the series; what it was is remembered while it stays down."""

SETTLE_MS = 60_000
"""A series is gone after it was missing from successful scrapes for this long: a rate needs two samples first."""
SETTLE_BLIND_MS = 900_000
"""And where there is no `up` at all (everything is pushed), after this long."""

MOST_ASKED = 200
"""Series whose targets one evaluation asks for: when a thousand vanish at once the tick must not wait for each."""

_TARGET = ("job", "instance")


class Whereabouts:
    """Remembers, for the missing series of one rule, the targets they came from.

    A question that fails is answered UNKNOWN: silence proves nothing.
    """

    def __init__(self, query: QueryEngine, expr: str) -> None:
        self._query = query
        self._expr = expr
        self._targets: dict[Labels, frozenset[Labels]] = {}
        self._gone_since: dict[Labels, int] = {}

    def forget(self, present: Collection[Labels]) -> None:
        """These series are back."""
        for series in present:
            self._targets.pop(series, None)
            self._gone_since.pop(series, None)

    def of(self, missing: Collection[Labels], at_ms: int) -> dict[Labels, Seen]:
        """DOWN, GONE or (not known yet) UNKNOWN for each missing series."""
        if not missing:
            return {}
        try:
            ups = self._query.instant("up", at_ms)
        except ObserveError:
            return dict.fromkeys(missing, Seen.UNKNOWN)
        health = {labels.only(_TARGET): bool(value) for labels, value in zip(ups.labels, ups.values, strict=True)}
        answers: dict[Labels, Seen] = {}
        asked = 0
        for series in missing:
            if series not in self._targets:
                if asked == MOST_ASKED:  # the next evaluation asks on
                    answers[series] = Seen.UNKNOWN
                    continue
                asked += 1
            down = self._is_down(series, health, at_ms)
            if down is not False:
                self._gone_since.pop(series, None)
                answers[series] = Seen.UNKNOWN if down is None else Seen.DOWN
                continue
            since = self._gone_since.setdefault(series, at_ms)
            patience = SETTLE_MS if health else SETTLE_BLIND_MS
            answers[series] = Seen.GONE if at_ms - since >= patience else Seen.UNKNOWN
        return answers

    def _is_down(self, series: Labels, health: dict[Labels, bool], at_ms: int) -> bool | None:
        targets = self._targets.get(series)
        if targets is None:
            try:
                targets = self._targets[series] = self._came_from(series, at_ms)
            except ObserveError:
                return None
        known = [health[target] for target in targets if target in health]
        return bool(known) and not all(known)

    def _came_from(self, series: Labels, at_ms: int) -> frozenset[Labels]:
        wanted = series.without(METRIC_NAME)
        found: set[Labels] = set()
        for selector, offered in selectors(self._expr):
            matchers = ",".join(f"{name}={_quote(value)}" for name, value in wanted.pairs if name != "le")
            narrowed = selector + "{" + ",".join(part for part in (offered, matchers) if part) + "}"
            answer = self._query.instant(f"group by (job, instance) (last_over_time({narrowed}[{LOOK_BACK}]))", at_ms)
            found.update(labels.only(_TARGET) for labels in answer.labels)
        return frozenset(found)


@lru_cache(maxsize=1024)
def selectors(expr: str) -> tuple[tuple[str, str], ...]:
    """The vector selectors of an expression: (metric name, matchers as text)."""
    try:
        tree = parse(expr)
    except QueryError:  # of another engine's dialect, judged there
        return ()
    found: dict[tuple[str, str], None] = {}
    for node in _walked(tree):
        if isinstance(node, Selector):
            others = node.matchers[1:] if node.name else node.matchers
            found[node.name, ",".join(map(str, others))] = None
    return tuple(found)


def _walked(node: Expr) -> Iterator[Expr]:
    yield node
    for child in children(node):
        yield from _walked(child)


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
