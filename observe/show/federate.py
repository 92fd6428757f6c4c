"""`/federate`: the newest sample of chosen series as text, for a Prometheus above us. Bands are among them."""

from observe.errors import QueryError
from observe.model import METRIC_NAME, is_stale
from observe.promql.render import go_float
from observe.show.context import ShowContext
from observe.show.expressions import parse_selector
from observe.show.params import Params

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def federate(context: ShowContext, params: Params) -> bytes:
    """Exposition text of what `match[]` selects, newest samples within the look-back, sorted by name."""
    if not params.get("match[]"):
        raise QueryError('no match[] parameter: give at least one selector, such as match[]={job="demo"}')
    now_ms = context.clock.now_ms()
    newest: dict[tuple[tuple[str, str], ...], tuple[str, int, float]] = {}
    for text in params["match[]"]:
        samples = context.source.select(parse_selector(text), now_ms - context.settings.lookback_ms + 1, now_ms)
        stale = is_stale(samples.values)
        for index, labels in enumerate(samples.labels):
            end = int(samples.offsets[index + 1]) - 1
            if end >= int(samples.offsets[index]) and not stale[end]:
                newest[labels.pairs] = labels.name, int(samples.timestamps[end]), float(samples.values[end])
    # As Prometheus does it: an own label wins; an empty `instance` keeps who scrapes this from adding its own.
    outside = sorted({"instance": "", **context.external_labels()}.items())
    lines, before = [], None
    for pairs, (name, time_ms, value) in sorted(newest.items(), key=lambda item: (item[1][0], item[0])):
        if name != before:
            lines.append(f"# TYPE {name} untyped")
            before = name
        own = dict(pairs)
        told = [*pairs, *((label, value) for label, value in outside if label not in own)]
        inner = ",".join(f'{label}="{_escaped(v)}"' for label, v in told if label != METRIC_NAME)
        lines.append(f"{name}{{{inner}}} {go_float(value)} {time_ms}")
    return "".join(line + "\n" for line in lines).encode()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
