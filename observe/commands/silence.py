"""Silences from the command line, over Alertmanager's API v2 (so an Alertmanager will do as well)."""

import argparse
import getpass
import json
import sys
import urllib.parse
from typing import Any

from observe.client import Client, add_server_arguments, printable
from observe.errors import UsageError

SUMMARY = "hold pages back: add, list or expire silences"
EXAMPLE = "observe silence add alertname=LatencyOutsideBand service=gateway --for 2h --comment 'rolling out'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("add", "list", "expire"))
    parser.add_argument("words", nargs="*", default=[], metavar="MATCHER|ID",
                        help="name=value, name=~regex, …; or ids to expire")
    parser.add_argument("--for", dest="duration", default="1h", metavar="DURATION", help="how long (default: 1h)")
    parser.add_argument("--comment", default="", help="why; shown to everybody")
    parser.add_argument("--author", default="", help="who (default: you)")
    parser.add_argument("--expired", action="store_true", help="list those that are over, too")
    add_server_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON alone")


def run(args: argparse.Namespace) -> int:
    if args.action == "add":
        return _add(args)
    if args.action == "expire":
        return _expire(args)
    return _list(args)


def _add(args: argparse.Namespace) -> int:
    from observe.clock import SystemClock
    from observe.duration import parse_duration_ms

    if not args.words:
        raise UsageError("which alerts? Give matchers, such as alertname=HighLatency service=gateway")
    try:
        lasts_ms = parse_duration_ms(args.duration)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from error
    if lasts_ms <= 0:
        raise UsageError(f"--for {args.duration}: a silence lasts some time; write it as 30m, 2h or 3d")
    now_ms = SystemClock().now_ms()
    matchers = [_matcher(word) for word in args.words]
    body = {
        "matchers": matchers,
        "startsAt": _time(now_ms), "endsAt": _time(now_ms + lasts_ms),
        "createdBy": args.author or getpass.getuser(), "comment": args.comment or "from the command line",
    }
    server = Client.of(args)
    made = server.ask("POST", "/api/v2/silences", body)["silenceID"]
    print(json.dumps({"id": made}) if args.json else made, flush=True)
    held = server.get("/api/v2/alerts", {"filter": [matcher_text(one) for one in matchers]})
    print(f"until {_time((now_ms + lasts_ms) // 1000 * 1000)}: {_held(held)}", file=sys.stderr)
    return 0


def _held(alerts: list[dict[str, Any]]) -> str:
    """What a silence does now: a slip in a matcher shows as a silence that holds nothing back."""
    if not alerts:
        return "no alert that is on now matches; those that come are held back"
    names = sorted({printable(one["labels"].get("alertname", "")) for one in alerts})
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    number = "1 alert that is" if len(alerts) == 1 else f"{len(alerts)} alerts that are"
    return f"holds back {number} on ({shown})"


def _list(args: argparse.Namespace) -> int:
    filters = [matcher_text(_matcher(word)) for word in args.words]
    found = Client.of(args).get("/api/v2/silences", {"filter": filters})
    shown = [one for one in found if args.expired or one["status"]["state"] != "expired"]
    if args.json:
        print(json.dumps(shown, indent=2))
        return 0
    for one in shown:
        until = f"{one['endsAt'][:19]}Z" if one["endsAt"].endswith("Z") else one["endsAt"]
        print(f"{one['id']}  {one['status']['state']:<8} until {until}  {matchers_text(one)}"
              f"  ({one['createdBy']}: {one['comment']})")
    if not shown:
        print("no silences")
    return 0


def _expire(args: argparse.Namespace) -> int:
    if not args.words:
        raise UsageError("which silence? `observe silence list` shows the ids")
    for word in args.words:
        Client.of(args).ask("DELETE", "/api/v2/silence/" + urllib.parse.quote(word, safe=""))
    print(json.dumps({"expired": args.words}) if args.json else f"expired: {', '.join(args.words)}")
    return 0


def matchers_text(silence: dict[str, Any]) -> str:
    return " ".join(matcher_text(one) for one in silence["matchers"])


def matcher_text(one: dict[str, Any]) -> str:
    """A matcher as it is written: ``service=~"gate.*"``."""
    from observe.model import Matcher
    from observe.notify.alertmanager_json import operator

    return str(Matcher(one["name"], operator(one), str(one["value"])))


def _matcher(word: str) -> dict[str, Any]:
    for sign, regex, equal in (("=~", True, True), ("!~", True, False), ("!=", False, False), ("=", False, True)):
        name, found, value = word.partition(sign)
        if found and name and not name.endswith(("!", "=")):
            return {"name": name.strip('"'), "value": value.strip('"'), "isRegex": regex, "isEqual": equal}
    raise UsageError(f"{word!r} is not a matcher: write name=value, name!=value, name=~regex or name!~regex")


def _time(time_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
