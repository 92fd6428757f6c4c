"""`/api/v1/targets/metadata`: TYPE, HELP and UNIT by target, as Prometheus gives them."""

from collections.abc import Collection

from observe.model import METRIC_NAME, Matcher
from observe.protocols import TargetHealth
from observe.show.api_endpoint import success
from observe.show.context import ShowContext
from observe.show.expressions import parse_selector
from observe.show.params import Params, first, whole
from observe.store.exemplars import matches

_LOOK_BACK_MS = 300_000
_PARTS = ("", "_total", "_bucket", "_sum", "_count", "_info")
"""How the names of a family's series end; metadata is kept by the family's name, or by that of its series."""


def target_metadata(context: ShowContext, params: Params) -> bytes:
    """The body of the answer; metadata is kept by metric, and a target has that of the metrics it has series of."""
    wanted, limit = first(params, "metric"), whole(params, "limit", -1)
    chosen = parse_selector(first(params, "match_target")) if first(params, "match_target") else ()
    known = context.source.metadata()
    names = ([wanted] if wanted in known else []) if wanted else sorted(known)
    out: list[dict[str, object]] = []
    for target in context.targets():
        if not names or not matches(target.labels, chosen):
            continue
        present = _names_of(context, target)
        for name in names:
            if 0 <= limit <= len(out):
                break
            if any(name + part in present for part in _PARTS):
                about = known[name]
                out.append({
                    "target": dict(target.labels.pairs), **({} if wanted else {"metric": name}),
                    "type": about.type, "help": about.help, "unit": about.unit,
                })
    return success(out)


def _names_of(context: ShowContext, target: TargetHealth) -> Collection[str]:
    now_ms = context.clock.now_ms()
    own = [Matcher(name, "=", target.labels.get(name, "")) for name in ("job", "instance")]
    return set(context.source.label_values(METRIC_NAME, own, now_ms - _LOOK_BACK_MS, now_ms))
