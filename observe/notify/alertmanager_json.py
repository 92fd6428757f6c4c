"""Silences as Alertmanager's API v2 writes them, in and out."""

from collections.abc import Mapping
from typing import Any

from observe.model import Matcher, MatchOp
from observe.moment import parse_moment_ms, rfc3339
from observe.protocols import Silence


def silence_out(silence: Silence) -> dict[str, Any]:
    """What who makes a silence says of it."""
    return {
        "matchers": [
            {"name": one.name, "value": one.value, "isRegex": one.op in {"=~", "!~"}, "isEqual": one.op in {"=", "=~"}}
            for one in silence.matchers
        ],
        "startsAt": rfc3339(silence.starts_at_ms), "endsAt": rfc3339(silence.ends_at_ms),
        "createdBy": silence.created_by, "comment": silence.comment,
    }


def silence_in(told: Mapping[str, Any]) -> Silence:
    """A silence that an Alertmanager has. Raises KeyError, TypeError or ValueError where it is none."""
    return Silence(
        told["id"], tuple(Matcher(one["name"], operator(one), one["value"]) for one in told["matchers"]),
        parse_moment_ms(told["startsAt"]), parse_moment_ms(told["endsAt"]), told.get("createdBy", ""),
        told.get("comment", ""), parse_moment_ms(told["updatedAt"]),
    )


def operator(matcher: Mapping[str, Any]) -> MatchOp:
    """The operator of a matcher, as its two flags say."""
    if matcher.get("isRegex"):
        return "=~" if matcher.get("isEqual", True) else "!~"
    return "=" if matcher.get("isEqual", True) else "!="
