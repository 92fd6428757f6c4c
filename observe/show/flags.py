"""`/api/v1/status/flags`: how this server was started, by the names of Prometheus' own flags where it has them."""

from collections.abc import Mapping
from pathlib import Path

from observe.duration import format_duration
from observe.promql.evaluate import QueryLimits
from observe.store.metric_settings import MetricSettings


def prometheus_flags(
    address: str, config_file: Path | None, folder: Path, store: MetricSettings, query: QueryLimits,
) -> Mapping[str, str]:
    """Names without dashes in front; limits that Prometheus has not are named in its manner."""
    return {
        "config.file": str(config_file or ""),
        "query.lookback-delta": format_duration(query.lookback_ms),
        "query.max-samples": str(query.max_samples),
        "query.max-series": str(query.max_series),
        "query.max-steps": str(query.max_steps),
        "query.timeout": format_duration(round(query.timeout_s * 1000)),
        "storage.tsdb.path": str(folder),
        "storage.tsdb.retention.size": f"{store.retention_bytes}B",
        "storage.tsdb.retention.time": "" if store.accept_old else format_duration(store.retention_ms),
        "web.listen-address": address,
    }
