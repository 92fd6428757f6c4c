"""Silences from the command line, over Alertmanager's API v2 (so an Alertmanager will do as well)."""

import argparse
import getpass
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from observe.errors import InvalidInput, ObserveError, Problem, Unavailable, UsageError

SUMMARY = "hold pages back: add, list or expire silences"
EXAMPLE = "observe silence add alertname=LatencyOutsideBand service=gateway --for 2h --comment 'rolling out'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("add", "list", "expire"))
    parser.add_argument("words", nargs="*", metavar="MATCHER|ID", help="name=value, name=~regex, …; or ids to expire")
    parser.add_argument("--for", dest="duration", default="1h", metavar="DURATION", help="how long (default: 1h)")
    parser.add_argument("--comment", default="", help="why; shown to everybody")
    parser.add_argument("--author", default="", help="who (default: you)")
    parser.add_argument("--expired", action="store_true", help="list those that are over, too")
    server_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON alone")


def server_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the running server is, and how to prove who asks."""
    parser.add_argument("--url", default=os.environ.get("OBSERVE_URL", "http://127.0.0.1:9900"),
                        help="the running observe (default: $OBSERVE_URL, else http://127.0.0.1:9900)")
    parser.add_argument("--token-env", default="OBSERVE_TOKEN", metavar="NAME",
                        help="environment variable with the bearer token (default: OBSERVE_TOKEN)")


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
    now_ms = SystemClock().now_ms()
    body = {
        "matchers": [_matcher(word) for word in args.words],
        "startsAt": _time(now_ms), "endsAt": _time(now_ms + lasts_ms),
        "createdBy": args.author or getpass.getuser(), "comment": args.comment or "from the command line",
    }
    made = ask(args, "POST", "/api/v2/silences", body)["silenceID"]
    print(json.dumps({"id": made}) if args.json else made)
    return 0


def _list(args: argparse.Namespace) -> int:
    query = urllib.parse.urlencode([("filter", word) for word in args.words])
    found = ask(args, "GET", "/api/v2/silences" + (f"?{query}" if query else ""))
    shown = [one for one in found if args.expired or one["status"]["state"] != "expired"]
    if args.json:
        print(json.dumps(shown, indent=2))
        return 0
    for one in shown:
        print(f"{one['id']}  {one['status']['state']:<8} until {one['endsAt']}  {matchers_text(one)}"
              f"  ({one['createdBy']}: {one['comment']})")
    if not shown:
        print("no silences")
    return 0


def _expire(args: argparse.Namespace) -> int:
    if not args.words:
        raise UsageError("which silence? `observe silence list` shows the ids")
    for word in args.words:
        ask(args, "DELETE", "/api/v2/silence/" + urllib.parse.quote(word, safe=""))
    print(json.dumps({"expired": args.words}) if args.json else f"expired: {', '.join(args.words)}")
    return 0


def matchers_text(silence: dict[str, Any]) -> str:
    def sign(one: dict[str, Any]) -> str:
        return ("=~" if one["isRegex"] else "=") if one.get("isEqual", True) else ("!~" if one["isRegex"] else "!=")

    return " ".join(f'{one["name"]}{sign(one)}"{one["value"]}"' for one in silence["matchers"])


def _matcher(word: str) -> dict[str, Any]:
    for sign, regex, equal in (("=~", True, True), ("!~", True, False), ("!=", False, False), ("=", False, True)):
        name, found, value = word.partition(sign)
        if found and name and not name.endswith(("!", "=")):
            return {"name": name, "value": value.strip('"'), "isRegex": regex, "isEqual": equal}
    raise UsageError(f"{word!r} is not a matcher: write name=value, name!=value, name=~regex or name!~regex")


def _time(time_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def ask(args: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    """One request to the running server; its answer as JSON."""
    url = args.url.rstrip("/") + path
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {args.url}: write it as http://HOST:PORT")
    headers = {"Content-Type": "application/json"}
    token = os.environ.get(args.token_env, "")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - http(s) only, checked above
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise _refused(url, error) from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"no observe answers at {args.url} ({reason}); is it running? Give --url") from error
    return json.loads(text) if text.strip() else None


def _refused(url: str, error: urllib.error.HTTPError) -> ObserveError:
    told = error.read().decode("utf-8", "replace").strip()
    try:
        parsed = json.loads(told)
        told = parsed if isinstance(parsed, str) else parsed.get("error") or parsed.get("detail") or told
    except (ValueError, AttributeError):
        pass
    if error.code in {401, 403}:
        return Unavailable(f"{url} refuses ({error.code}): {told}; put a token with the right role into OBSERVE_TOKEN")
    return InvalidInput(Problem(f"{url} answered {error.code}: {told}"))
