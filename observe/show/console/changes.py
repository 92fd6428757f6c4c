"""What changed: what `observe.app` reports, and every process, JVM and machine that started in the range."""

from typing import Final

from observe.model import METRIC_NAME, Matcher
from observe.show.context import Change, ShowContext

_STARTS: Final = ("process_start_time_seconds", "jvm_start_time_seconds", "host_boot_time_seconds")
_MOST: Final = 40


def changes_of(context: ShowContext, start_ms: int, end_ms: int) -> list[Change]:
    """Changes in the range, by time; a restart shows in the series that say when something started."""
    told = context.changes(start_ms, end_ms) if context.changes else []
    samples = context.source.select([Matcher(METRIC_NAME, "=~", "|".join(_STARTS))], end_ms - 300_000, end_ms)
    found = {}
    for index, labels in enumerate(samples.labels):
        values = samples.values[samples.offsets[index] : samples.offsets[index + 1]]
        at_ms = int(values[-1] * 1000) if len(values) and values[-1] == values[-1] else 0
        if start_ms <= at_ms <= end_ms:
            program = labels.get("main_class") or labels.get("job", "process")
            what = "machine" if labels.name.startswith("host") else program
            found[at_ms // 1000, what] = Change(at_ms, f"{what} started", labels.get("service", ""))
    return sorted([*told, *found.values()], key=lambda change: change.at_ms)[-_MOST:]
