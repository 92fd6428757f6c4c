"""`observe explain`: why a band is where it is, asked of the running server."""

import argparse
import json
import sys
from typing import Any

from observe.client import Client, add_server_arguments
from observe.errors import UsageError
from observe.nearest import meant

SUMMARY = "say why a series' band is where it is: baseline, season, spread, evidence"
EXAMPLE = "observe explain LatencyOutsideBand service=gateway"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rule", metavar="RULE", help="an alerting rule with a band: its name, or group/name")
    parser.add_argument("labels", nargs="*", default=[], metavar="NAME=VALUE", help="only series with these labels")
    parser.add_argument("--limit", type=int, default=5, help="most series to explain (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    labels = {}
    for word in args.labels:
        name, sign, value = word.partition("=")
        if not sign or name in {"rule", "limit"}:
            raise UsageError(f"`{word}` is no label: write name=value")
        labels[name] = value.strip('"')
    server = Client.of(args)
    found = server.get("/api/v1/explain", {**labels, "rule": args.rule, "limit": args.limit})["data"]
    if args.json:
        print(json.dumps(found, indent=2))
    elif not found:
        print(f"observe explain: {_why_nothing(server, args.rule)}", file=sys.stderr)
    for one in [] if args.json else found:
        print(", ".join(f"{name}={value}" for name, value in sorted(one["labels"].items())))
        for sentence in one["words"]:
            print(f"  {sentence}")
    return 0 if found else 1


def _why_nothing(server: Client, rule: str) -> str:
    """Which of the three it is: no such rule, a rule without a band, or no series with these labels."""
    groups = server.get("/api/v1/rules", {"type": "alert"})["data"]["groups"]
    known: dict[str, dict[str, Any]] = {one["name"]: one for group in groups for one in group["rules"]}
    name = rule.rpartition("/")[2]
    banded = sorted(one for one in known if "band" in known[one])
    if name not in known:
        hint = meant(name, known) or f"rules with a band: {', '.join(banded) or 'none'}"
        return f"there is no alerting rule {rule}; {hint}"
    if "band" not in known[name]:
        return f"{rule} has no band: it fires while `{known[name]['query']}` has a result"
    if not known[name].get("seriesTotal"):
        return f"{rule} has no series yet: `{known[name]['query']}` has no result"
    series = server.get("/api/v1/explain", {"rule": rule, "limit": 5})["data"]
    there = "; ".join(", ".join(f"{n}={v}" for n, v in sorted(one["labels"].items())) or "no labels" for one in series)
    return f"no series of {rule} has these labels; some that it has: {there}"
