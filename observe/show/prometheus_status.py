"""Prometheus' HTTP API about the server itself: targets and status. Grafana asks these first."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from observe.duration import format_duration
from observe.errors import QueryError
from observe.moment import rfc3339, rfc3339_or_never
from observe.protocols import TargetHealth
from observe.show.api_endpoint import success
from observe.show.context import ShowContext
from observe.show.params import Params, first, whole
from observe.show.target_metadata import target_metadata

_MOST_ROWS: Final = 10
"""Rows of a table of the store's statistics: as many as it keeps."""


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
        kept = {target.job for target in self._context.targets()}
        return success({"scrapePools": sorted(kept | {job for job, _ in self._context.dropped_targets()})})

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
            "startTime": rfc3339_or_never(context.build.started_ms or None),
            "CWD": "",
            "hostname": "",
            "serverTime": rfc3339(context.clock.now_ms()),
            "reloadConfigSuccess": reloaded,
            "lastConfigTime": rfc3339_or_never(since_ms or None),
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

    def walreplay(self, params: Params) -> bytes:  # noqa: ARG002
        """Who can be asked has read its log: nothing is left of it."""
        return success({"min": 0, "max": 0, "current": 0})

    def tsdb(self, params: Params) -> bytes:
        rows = whole(params, "limit", _MOST_ROWS)
        if rows < 1:
            raise QueryError('invalid parameter "limit": it must be more than 0')
        stats = self._context.stats()
        return success({
            "headStats": {
                "numSeries": stats.get("series", 0),
                "numLabelPairs": stats.get("label_pairs", 0),
                "chunkCount": stats.get("chunks", 0),
                "minTime": stats.get("min_time_ms", 0),
                "maxTime": stats.get("max_time_ms", 0),
            },
            "seriesCountByMetricName": _table(stats, "series_by_metric", rows),
            "labelValueCountByLabelName": _table(stats, "values_by_name", rows), "memoryInBytesByLabelName": [],
            "seriesCountByLabelValuePair": _table(stats, "series_by_pair", rows),
        })


def _table(stats: Mapping[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    """What most series are of, as Prometheus lists it."""
    rows = stats.get("cardinality", {}).get(name, [])
    return [{"name": own, "value": count} for own, count in rows[:most]]


def _target(target: TargetHealth) -> dict[str, Any]:
    return {
        "discoveredLabels": dict(target.discovered.pairs) or {
            "__address__": target.labels.get("instance", ""), "job": target.job},
        "labels": dict(target.labels.pairs),
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": target.last_error,
        "lastScrape": rfc3339_or_never(target.last_scrape_ms),
        "lastScrapeDuration": target.last_duration_s,
        "health": {True: "up", False: "down", None: "unknown"}[target.up],
        "scrapeInterval": format_duration(target.interval_ms) if target.interval_ms else "",
        "scrapeTimeout": format_duration(target.timeout_ms) if target.timeout_ms else "",
    }
