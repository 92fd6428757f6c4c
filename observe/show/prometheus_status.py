"""Prometheus' HTTP API about the server itself: targets, rules, alerts, status. Grafana asks these first."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from observe.duration import format_duration
from observe.errors import QueryError
from observe.model import Alert, AlertState, Labels
from observe.moment import NEVER, rfc3339
from observe.promql.render import go_float
from observe.protocols import RuleStatus, TargetHealth
from observe.show.api_endpoint import success
from observe.show.context import ShowContext
from observe.show.params import Params, count, first
from observe.show.target_metadata import target_metadata
from observe.show.units import unit_of
from observe.show.words import quantity


class StatusApi:
    """The handlers; each returns the ``data`` member."""

    def __init__(self, context: ShowContext) -> None:
        self._context = context

    def targets(self, params: Params) -> bytes:
        state, pool = first(params, "state", "any"), first(params, "scrapePool")
        if state not in {"any", "active", "dropped"}:
            raise QueryError(f'invalid parameter "state": {state!r} is none of any, active, dropped')
        found = [t for t in self._context.targets() if not pool or t.job == pool] if state != "dropped" else []
        dropped = [(job, labels) for job, labels in self._context.dropped_targets() if not pool or job == pool]
        counted = Counter(job for job, _ in dropped)
        return success({
            "activeTargets": [_target(target) for target in found],
            "droppedTargets": [
                {"discoveredLabels": dict(labels.pairs), "scrapePool": job} for job, labels in dropped
            ] if state != "active" else [],
            "droppedTargetCounts": {job: counted[job] for job in sorted({*counted, *(t.job for t in found)})},
        })

    def targets_metadata(self, params: Params) -> bytes:
        return target_metadata(self._context, params)

    def scrape_pools(self, params: Params) -> bytes:  # noqa: ARG002 - handlers share one signature
        return success({"scrapePools": sorted({target.job for target in self._context.targets()})})

    def rules(self, params: Params) -> bytes:
        kind = first(params, "type")
        if kind not in {"", "alert", "record"}:
            raise QueryError(f'invalid parameter "type": not supported value {kind!r}; use alert or record')
        names, groups, files = (set(params.get(key, ())) for key in ("rule_name[]", "rule_group[]", "file[]"))
        with_alerts = first(params, "exclude_alerts") not in {"true", "1"}
        shown = [
            rule for rule in (self._context.alerts.rules() if self._context.alerts else [])
            if (not kind or rule.kind == {"alert": "alerting", "record": "recording"}[kind])
            and (not names or rule.name in names) and (not groups or rule.group in groups)
            and (not files or rule.file in files)
        ]
        by_group: dict[tuple[str, str], list[RuleStatus]] = {}
        for rule in shown:
            by_group.setdefault((rule.file, rule.group), []).append(rule)
        limit = count(params, "group_limit")
        listed = list(by_group.values())[: limit or None]
        return success({"groups": [_group(rules, with_alerts) for rules in listed]})

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

    def alertmanagers(self, params: Params) -> bytes:  # noqa: ARG002
        context = self._context
        there = context.alertmanagers or ((context.settings.external_url,) if context.desk else ())
        return success({"activeAlertmanagers": [{"url": f"{url.rstrip('/')}/api/v2/alerts"} for url in there],
                         "droppedAlertmanagers": []})

    def buildinfo(self, params: Params) -> bytes:  # noqa: ARG002
        build = self._context.build
        return success({
            "version": build.prometheus,
            "revision": build.revision or f"observe-{build.version}",
            "branch": "HEAD",
            "buildUser": "observe",
            "buildDate": "",
            "goVersion": "",
        })

    def runtimeinfo(self, params: Params) -> bytes:  # noqa: ARG002
        context = self._context
        ready, _ = context.ready()
        reloaded, since_ms = context.last_reload() if context.last_reload else (True, context.build.started_ms)
        return success({
            "startTime": _time(context.build.started_ms or None),
            "CWD": "",
            "hostname": "",
            "serverTime": rfc3339(context.clock.now_ms()),
            "reloadConfigSuccess": reloaded,
            "lastConfigTime": _time(since_ms or None),
            "corruptionCount": 0,
            "goroutineCount": 0,
            "GOMAXPROCS": 1,
            "GOMEMLIMIT": 0,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": str(context.flags().get("storage.tsdb.retention.time", "")),
            "ready": ready,
        })

    def config(self, params: Params) -> bytes:  # noqa: ARG002
        return success({"yaml": self._context.config_text()})

    def flags(self, params: Params) -> bytes:  # noqa: ARG002
        return success(dict(self._context.flags()))

    def tsdb(self, params: Params) -> bytes:  # noqa: ARG002
        stats = self._context.stats()
        return success({
            "headStats": {
                "numSeries": stats.get("series", 0),
                "numLabelPairs": stats.get("label_pairs", 0),
                "chunkCount": stats.get("chunks", 0),
                "minTime": stats.get("min_time_ms", 0),
                "maxTime": stats.get("max_time_ms", 0),
            },
            "seriesCountByMetricName": _table(stats, "series_by_metric"),
            "labelValueCountByLabelName": _table(stats, "values_by_name"), "memoryInBytesByLabelName": [],
            "seriesCountByLabelValuePair": _table(stats, "series_by_pair"),
        })


def _table(stats: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """What most series are of, as Prometheus lists it."""
    rows = stats.get("cardinality", {}).get(name, [])
    return [{"name": own, "value": count} for own, count in rows]


def _time(time_ms: int | None) -> str:
    return NEVER if time_ms is None else rfc3339(time_ms)


def _target(target: TargetHealth) -> dict[str, Any]:
    return {
        "discoveredLabels": dict(target.discovered.pairs) or {
            "__address__": target.labels.get("instance", ""), "job": target.job},
        "labels": dict(target.labels.pairs),
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": target.last_error,
        "lastScrape": _time(target.last_scrape_ms),
        "lastScrapeDuration": target.last_duration_s,
        "health": {True: "up", False: "down", None: "unknown"}[target.up],
        "scrapeInterval": format_duration(target.interval_ms) if target.interval_ms else "",
        "scrapeTimeout": format_duration(target.timeout_ms) if target.timeout_ms else "",
    }


def _group(rules: list[RuleStatus], with_alerts: bool) -> dict[str, Any]:
    last = [rule.last_evaluation_ms for rule in rules if rule.last_evaluation_ms is not None]
    return {
        "name": rules[0].group,
        "file": rules[0].file,
        "rules": [_rule(rule, with_alerts) for rule in rules],
        "interval": _seconds(rules[0].interval_ms),
        "limit": 0,
        "evaluationTime": sum(rule.last_duration_s for rule in rules),
        "lastEvaluation": _time(max(last, default=None)),
    }


def _rule(rule: RuleStatus, with_alerts: bool) -> dict[str, Any]:
    common = {
        "name": rule.name,
        "query": rule.expr,
        "labels": dict(rule.labels.pairs),
        "health": rule.health,
        "evaluationTime": rule.last_duration_s,
        "lastEvaluation": _time(rule.last_evaluation_ms),
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
    }


def _exponent(value: float) -> str:
    """A float as Go's ``%e`` with the fewest digits, which is how Prometheus shows an alert's value."""
    plain = go_float(value)
    if plain in {"NaN", "+Inf", "-Inf"}:
        return plain
    digits = repr(value).replace("-", "").split("e")[0].replace(".", "").strip("0")
    return f"{value:.{max(0, len(digits) - 1)}e}"


