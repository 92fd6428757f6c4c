"""``observe logs QUERY``: search the log lines of a running server."""

import argparse
import json
from typing import Any

SUMMARY = "search log lines"
EXAMPLE = "observe logs 'level:error -health latency:>2s' --since 30m"

_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from observe.client import add_server_arguments

    parser.add_argument("query", nargs="?", default="", metavar="QUERY",
                        help='words, "phrases", -not, OR, field:value, status:5*, latency:>500 (docs/logs.md)')
    parser.add_argument("--since", metavar="DURATION", default="", help="such as 15m or 2d (default: 1h)")
    parser.add_argument("--start", metavar="TIME", default="", help="Unix seconds or RFC 3339, instead of --since")
    parser.add_argument("--end", metavar="TIME", default="", help="Unix seconds or RFC 3339 (default: now)")
    parser.add_argument("--service", default="", help="only this service")
    parser.add_argument("--level", default="", help="only this level")
    parser.add_argument("--trace-id", default="", metavar="ID", help="only lines of this trace")
    parser.add_argument("--limit", type=int, default=100, help="most lines (default: 100)")
    parser.add_argument("--json", action="store_true", help="print the server's JSON and nothing else")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from observe.client import Client
    from observe.clock import SystemClock
    from observe.duration import parse_duration_ms
    from observe.errors import UsageError

    start = args.start
    if args.since:
        if start:
            raise UsageError("--since and --start both say where to begin; give one of them")
        try:
            start = str((SystemClock().now_ms() - parse_duration_ms(args.since)) / 1000)
        except ValueError as error:
            raise UsageError(f"--since {args.since}: {error}") from error
    found = Client.of(args).get("/api/logs/search", {
        "query": args.query, "start": start, "end": args.end, "service": args.service, "level": args.level,
        "trace_id": args.trace_id, "limit": args.limit,
    })
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    for line in reversed(found["lines"]):
        print(told(line))
    shown, total = len(found["lines"]), found["total"]
    if not total:
        print("no line matches" + _why_nothing(args))
    elif shown < total:
        more = "" if found.get("total_is_exact", True) else "more than "
        print(f"{shown} of {more}{total} lines; --limit shows more")
    return 0


def _why_nothing(args: argparse.Namespace) -> str:
    """A name that is probably a slip; else nothing."""
    from observe.client import Client
    from observe.nearest import meant

    if args.level and args.level.lower() not in _LEVELS:
        return f": {args.level!r} is no level; {meant(args.level, _LEVELS) or 'there are: ' + ', '.join(_LEVELS)}"
    if args.service:
        there = Client.of(args).get("/api/services", {"start": args.start, "end": args.end})["services"]
        if args.service not in there:
            hint = meant(args.service, there) or (f"there are: {', '.join(there[:20])}" if there else "none did")
            return f": no service {args.service!r} sent anything in that time; {hint}"
    return ""


def told(line: dict[str, Any]) -> str:
    """One line for a terminal."""
    from observe.client import printable

    level, service = (line.get("level") or "-").upper(), line.get("service") or "-"
    moment = f"{line['timestamp'][:23]}Z"  # to the millisecond: what people compare; the JSON has it all
    parts = [moment, level.ljust(5), service, line["message"]]
    for name, shown in (("status", "status"), ("latency_ms", "ms"), ("error_msg", "error"), ("trace_id", "trace")):
        if line.get(name) is not None:
            parts.append(f"{shown}={line[name]}")
    return printable(" ".join(str(part) for part in parts))
