"""`observe explain`: why a band is where it is, asked of the running server."""

import argparse
import json

from observe.client import Client, add_server_arguments
from observe.errors import UsageError

SUMMARY = "say why a series' band is where it is: baseline, season, spread, evidence"
EXAMPLE = "observe explain LatencyOutsideBand service=gateway"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rule", metavar="RULE", help="an alerting rule with a band: its name, or group/name")
    parser.add_argument("labels", nargs="*", metavar="NAME=VALUE", help="only series with these labels")
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
    found = Client.of(args).get("/api/v1/explain", {**labels, "rule": args.rule, "limit": args.limit})["data"]
    if args.json:
        print(json.dumps(found, indent=2))
    elif not found:
        print(f"no series of a rule {args.rule} with a band has these labels")
    for one in [] if args.json else found:
        print(", ".join(f"{name}={value}" for name, value in sorted(one["labels"].items())))
        for sentence in one["words"]:
            print(f"  {sentence}")
    return 0 if found else 1
