"""Prometheus' HTTP API about rules and their alerts, and why bands are where they are."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from observe.errors import QueryError
from observe.model import Alert, AlertState, Labels
from observe.moment import rfc3339, rfc3339_or_never
from observe.promql.render import go_float
from observe.protocols import RuleStatus
from observe.show.api_endpoint import success
from observe.show.context import ShowContext
from observe.show.expressions import parse_selector
from observe.show.params import Params, count, first
from observe.show.units import unit_of
from observe.show.words import quantity
from observe.store.exemplars import matches

_Group = tuple[str, str]
"""File and name."""


class RulesApi:
    """The handlers; each returns the body of a success."""

    def __init__(self, context: ShowContext) -> None:
        self._context = context

    def rules(self, params: Params) -> bytes:
        kind = first(params, "type")
        if kind not in {"", "alert", "record"}:
            raise QueryError(f'invalid parameter "type": not supported value {kind!r}; use alert or record')
        names, groups, files = (set(params.get(key, ())) for key in ("rule_name[]", "rule_group[]", "file[]"))
        chosen = [parse_selector(text) for text in params.get("match[]", ())]
        with_alerts = first(params, "exclude_alerts") not in {"true", "1"}
        shown = [
            rule for rule in (self._context.alerts.rules() if self._context.alerts else [])
            if (not kind or rule.kind == {"alert": "alerting", "record": "recording"}[kind])
            and (not names or rule.name in names) and (not groups or rule.group in groups)
            and (not files or rule.file in files)
            and (not chosen or any(matches(rule.labels, matchers) for matchers in chosen))
        ]
        by_group: dict[tuple[str, str], list[RuleStatus]] = {}
        for rule in shown:
            by_group.setdefault((rule.file, rule.group), []).append(rule)
        page, after = _page(list(by_group), count(params, "group_limit"), first(params, "group_next_token"))
        return success({
            "groups": [_group(by_group[key], with_alerts) for key in page],
            **({"groupNextToken": _token(after)} if after else {}),
        })

    def alerts(self, params: Params) -> bytes:  # noqa: ARG002
        book = self._context.alerts
        return success({"alerts": [self._standing(alert) for alert in (book.active() if book else [])]})

    def _standing(self, alert: Alert) -> dict[str, Any]:
        """As Prometheus shows it, and beyond that `pages`: who was told, or why nobody was."""
        desk = self._context.desk
        pages = desk.page_status(alert, self._context.clock.now_ms()) if desk is not None else []
        return {**_alert(alert), "pages": [
            {"receiver": one.receiver, "state": one.state.value, "detail": one.detail,
             "at": None if one.at_ms is None else rfc3339(one.at_ms)}
            for one in pages
        ]}

    def explain(self, params: Params) -> bytes:
        """Why bands are where they are: ours, not Prometheus'. Parameters beside `rule` and `limit` are labels."""
        rule = first(params, "rule")
        if not rule:
            raise QueryError('invalid parameter "rule": name a rule, by its name or as group/name')
        labels = {name: values[0] for name, values in params.items() if name not in {"rule", "limit"}}
        book = self._context.alerts
        found = book.explain(rule, labels, count(params, "limit") or 5) if book else []
        known = book.rules() if book else []
        meant = next((one for one in known if rule in {one.name, f"{one.group}/{one.name}"}), None)
        unit = unit_of(meant.expr, meant.annotations) if meant is not None else ""
        return success([
            {"labels": dict(one.labels), "words": list(one.told(lambda value: quantity(value, unit)))} for one in found
        ])


def _page(groups: Sequence[_Group], most: int, token: str) -> tuple[Sequence[_Group], _Group | None]:
    """At most `most` groups (0: all) from the one that `token` is of, and the first that comes after them."""
    if token and not most:
        raise QueryError('invalid parameter "group_next_token": it goes with group_limit')
    begin = next((place for place, group in enumerate(groups) if _token(group) == token), None) if token else 0
    if begin is None:
        raise QueryError(f'invalid parameter "group_next_token": no group has {token!r}; were the rules changed?')
    end = begin + most if most else len(groups)
    return groups[begin:end], groups[end] if end < len(groups) else None


def _token(group: _Group) -> str:
    return hashlib.blake2b("\0".join(group).encode("utf-8", "replace"), digest_size=16).hexdigest()


def _group(rules: list[RuleStatus], with_alerts: bool) -> dict[str, Any]:
    last = [rule.last_evaluation_ms for rule in rules if rule.last_evaluation_ms is not None]
    return {
        "name": rules[0].group,
        "file": rules[0].file,
        "rules": [_rule(rule, with_alerts) for rule in rules],
        "interval": _seconds(rules[0].interval_ms),
        "limit": rules[0].limit,
        "evaluationTime": sum(rule.last_duration_s for rule in rules),
        "lastEvaluation": rfc3339_or_never(max(last, default=None)),
    }


def _rule(rule: RuleStatus, with_alerts: bool) -> dict[str, Any]:
    common = {
        "name": rule.name,
        "query": rule.expr,
        "labels": dict(rule.labels.pairs),
        "health": rule.health,
        "evaluationTime": rule.last_duration_s,
        "lastEvaluation": rfc3339_or_never(rule.last_evaluation_ms),
        "type": rule.kind,
    }
    if rule.last_error:
        common["lastError"] = rule.last_error
    if rule.kind == "recording":
        return common
    return {
        "state": _state(rule.alerts),
        "duration": _seconds(rule.for_ms),
        "keepFiringFor": _seconds(rule.keep_firing_for_ms),
        "annotations": dict(rule.annotations),
        "alerts": [_alert(alert) for alert in rule.alerts] if with_alerts else [],
        **_band(rule),
        **common,
    }


def _seconds(duration_ms: int) -> int | float:
    """As Go writes a float: whole seconds without a fraction."""
    return duration_ms / 1000 if duration_ms % 1000 else duration_ms // 1000


def _band(rule: RuleStatus) -> dict[str, Any]:
    """Beyond Prometheus: the band's settings, how many of its series have a baseline, and what stands behind them."""
    if rule.band is None:
        return {}
    told: dict[str, Any] = {
        "band": dict(rule.band), "seriesTotal": rule.series_total, "seriesReady": rule.series_ready,
    }
    if rule.start is not None:
        told["start"] = {"state": rule.start.state, "words": rule.start.words}
    if rule.budget is not None:
        told["budget"] = {
            "askedPages": rule.budget.asked_pages, "seconds": rule.budget.per_ms / 1000,
            "expectedPages": rule.budget.expected_pages, "historySeconds": rule.budget.history_ms / 1000,
        }
    return told


def _state(alerts: Iterable[Alert]) -> str:
    states = {alert.state for alert in alerts}
    return next((s.value for s in (AlertState.FIRING, AlertState.PENDING) if s in states), "inactive")


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "labels": dict(Labels(alert.labels).pairs),
        "annotations": dict(alert.annotations),
        "state": alert.state.value,
        "activeAt": rfc3339(alert.starts_at_ms),
        "value": "" if alert.value is None else _exponent(alert.value),
        **({} if alert.clear_since_ms is None else {"keepFiringSince": rfc3339(alert.clear_since_ms)}),
    }


def _exponent(value: float) -> str:
    """A float as Go's ``%e`` with the fewest digits, which is how Prometheus shows an alert's value."""
    plain = go_float(value)
    if plain in {"NaN", "+Inf", "-Inf"}:
        return plain
    digits = repr(value).replace("-", "").split("e")[0].replace(".", "").strip("0")
    return f"{value:.{max(0, len(digits) - 1)}e}"
