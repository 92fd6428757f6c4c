"""A rehearsal as text: each firing with its reason, each rule with its cost, and how well incidents were met."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from observe.alert.rehearse import Firing, Rehearsed, Verdict
from observe.duration import format_duration

_WEEK_MS = 604_800_000
_WORDS_SHOWN = ("What made it unusual", "The value usually misses")


def lines(done: Sequence[Rehearsed], verdict: Verdict | None, start_ms: int, end_ms: int) -> Iterator[str]:
    """The report for people."""
    firings = sorted((firing for rule in done for firing in rule.firings), key=lambda one: (one.fired_at_ms, one.rule))
    for firing in firings:
        yield from _firing(firing, end_ms)
    yield from _rules(done, end_ms - start_ms)
    yield f"{len(firings)} firings of {len(done)} rules from {iso(start_ms)} to {iso(end_ms)}"
    if verdict is not None:
        yield from _verdict(verdict)


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _firing(one: Firing, end_ms: int) -> Iterator[str]:
    lasted = format_duration(((one.resolved_at_ms or end_ms) - one.fired_at_ms) // 1000 * 1000)
    ended = f"for {lasted}, {one.ended}" if one.resolved_at_ms is not None else f"for {lasted}, still on at the end"
    yield f"{iso(one.fired_at_ms)}  {one.rule} {one.labels.without('alertname')}  {ended}"
    if one.words:
        yield "    " + one.words[0].removeprefix("Firing since the last point. ")
        yield from ("    " + sentence for sentence in one.words[1:] if sentence.startswith(_WORDS_SHOWN))
    else:
        yield f"    {one.why}" + ("" if one.value is None else f", with the value {one.value:.4g}")


def _rules(done: Sequence[Rehearsed], span_ms: int) -> Iterator[str]:
    width = max((len(one.rule) for one in done), default=4)
    yield f"{'rule':<{width}}  firings  a week  series"
    for one in done:
        a_week = len(one.firings) * _WEEK_MS / span_ms
        told = [str(one.series) if one.series else "none: its expression had no result"]
        if one.ready is not None and one.ready < one.series:
            told.append(f"{one.ready} of the last evaluation had a baseline")
        if one.history_ms:
            told.append(f"learned from {format_duration(one.history_ms // 3_600_000 * 3_600_000)} before")
        if one.spending:
            told.append(f"budget: {one.spending}")
        yield f"{one.rule:<{width}}  {len(one.firings):>7}  {a_week:>6.3g}  {', '.join(told)}"


def _verdict(verdict: Verdict) -> Iterator[str]:
    for incident in verdict.missed:
        yield f"missed: {iso(incident.start_ms)} to {iso(incident.end_ms)} {incident.labels}"
    delay = "undefined" if verdict.median_delay_ms is None else format_duration(verdict.median_delay_ms)
    yield (f"incidents found: {verdict.found} of {verdict.incidents}; false alarms: {verdict.false_alarms}; "
           f"precision {_share(verdict.precision)}, recall {_share(verdict.recall)}, median delay {delay}")


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
