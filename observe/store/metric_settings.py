"""What may be set about the metric store."""

from dataclasses import dataclass

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """`storage` in observe.yml."""

    retention_ms: int = 15 * 24 * _HOUR_MS
    """Samples older than this are deleted, and refused at the door."""
    retention_bytes: int = 10_000_000_000
    """When blocks and log take more than this, the oldest blocks are deleted. 0: no bound."""
    late_window_ms: int = 10 * 60_000
    """How far behind the newest sample of its series a sample may come."""
    future_ms: int = 10 * 60_000
    """How far ahead of the clock a sample may be."""
    accept_old: bool = False
    """Any age, any order, no retention: for imports and compliance tests."""
    series_limit: int = 2_000_000
    """Series in memory; new ones beyond it are refused."""
    owner_limit: int = 200_000
    """Series that one target or rule may have in memory; new ones beyond it are refused."""
    rows: int = 64
    """Samples a series collects before they are packed."""
    cut_idle_ms: int = 5 * 60_000
    """An hour that is over becomes a block when it got nothing for so long."""
    cache_bytes: int = 32_000_000
    """Hours that are in blocks already stay in memory as long as they and silent series take no more than this."""
    day_pairs: int = 300_000
    """Label pairs of a day's series: a day of more churn stays in hours, whose names are read one hour at a time."""
    samples_at_once: int = 50_000_000
    """Samples that one selector of a question may read: 16 bytes each while it is answered."""
    duckdb_bytes: int = 192_000_000
    """What DuckDB may use while it writes and reads blocks."""
    segment_bytes: int = 32_000_000
    """Size of a segment of the log."""
    exemplar_limit: int = 20_000
    metadata_limit: int = 50_000
