"""``observe trace ID``: one trace with its log lines, from a running server."""

import argparse
import json
from typing import Any

SUMMARY = "show a trace and its log lines"
EXAMPLE = "observe trace 4bf92f3577b34da6a3ce929d0e0e4736"

_BAR = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from observe.client import add_server_arguments

    parser.add_argument("trace_id", metavar="ID", help="32 hexadecimal digits")
    parser.add_argument("--json", action="store_true", help="print the server's JSON and nothing else")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from observe.client import Client, printable
    from observe.commands.logs import told
    from observe.errors import UsageError
    from observe.model import valid_trace_id

    wanted = valid_trace_id(args.trace_id)
    if wanted is None:
        raise UsageError(f"{args.trace_id!r} is not a trace id; one has 32 hexadecimal digits that are not all zero")
    found = Client.of(args).get(f"/api/traces/{wanted}")
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    if found.get("headline"):
        print(printable(found["headline"]))
    rows = flat(found["spans"])
    whole_ms = max((row.get("offset_ms", 0.0) + row["duration_ms"] for _, row in rows), default=0.0) or 1.0
    for depth, row in rows:
        begin = int(row.get("offset_ms", 0.0) / whole_ms * _BAR)
        length = max(1, round(row["duration_ms"] / whole_ms * _BAR))
        bar = (" " * begin + "█" * length)[:_BAR].ljust(_BAR)
        name = printable("  " * min(depth, 20) + row["name"])
        mark = "!" if row["status"] == "error" else " "
        print(f"{bar} {row['duration_ms']:>10.1f} ms {mark} {name}  {printable(row['service'])}")
    for note in found.get("notes", ()):
        print(f"note: {printable(note)}")
    for line in found["logs"]:
        print(told({**line, "trace_id": None}))
    for alert in found["alerts"]:
        print(f"alert: {printable(alert['labels'].get('alertname', ''))} {_when(alert)}")
    return 0


def _when(alert: dict[str, Any]) -> str:
    begin = f"{alert['starts_at'][:19]}Z"
    if alert["ends_at"] is not None:
        return f"fired from {begin} to {alert['ends_at'][:19]}Z"
    return f"is {alert['state']} since {begin}"


def flat(spans: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """The tree of spans depth first, with each one's depth."""
    rows = []
    stack = [(0, span) for span in reversed(spans)]
    while stack:
        depth, span = stack.pop()
        rows.append((depth, span))
        stack.extend((depth + 1, child) for child in reversed(span["children"]))
    return rows
