"""Build, check and push the Grafana boards."""

import argparse
import json
import os
import sys
from pathlib import Path

from observe.client import web_address
from observe.errors import UsageError

SUMMARY = "build, check or push the Grafana boards"
EXAMPLE = "observe boards push --grafana http://localhost:3000 --token-file grafana.token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=("build", "check", "list", "push"), help="build writes the JSON, check compares it"
    )
    parser.add_argument(
        "--sources", type=Path, metavar="DIR", help="folder of *.dashboard.py (default: those shipped)"
    )
    parser.add_argument("--grafana", metavar="URL", help="where to push")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="a Grafana token (else GRAFANA_TOKEN)")
    parser.add_argument("--folder", default="observe", help="Grafana folder to push into (default: observe)")
    parser.add_argument("--json", action="store_true", help="print JSON alone")


def run(args: argparse.Namespace) -> int:
    from observe.show import boards, grafana

    sources = args.sources or boards.SOURCES
    match args.action:
        case "build":
            if not sources.is_dir():
                raise UsageError(f"--sources {sources}: there is no such folder")
            done = [str(path) for path in boards.write(sources)]
            return _say(args, done, f"{len(done)} boards written" if done else "every board was fresh")
        case "check":
            problems = boards.check(sources)
            if args.json:
                print(json.dumps([{"where": p.where, "what": p.what, "why": p.why, "fix": p.fix} for p in problems]))
            else:
                for problem in problems:
                    print(problem, file=sys.stderr)
                print(
                    f"boards: {len(problems)} problems" if problems else f"boards: {len(boards.listed(sources))} fine"
                )
            return 1 if problems else 0
        case "list":
            found = boards.listed(sources)
            return _say(
                args, [b.path for b in found], "\n".join(f"{b.title}: {b.panels} panels, {b.path}" for b in found)
            )
        case _:
            if not args.grafana:
                raise UsageError("push needs --grafana URL, such as http://localhost:3000")
            web_address(args.grafana, "--grafana")
            token = (
                args.token_file.read_text("utf-8").strip() if args.token_file else os.environ.get("GRAFANA_TOKEN", "")
            )
            done = grafana.push(args.grafana, token, boards.generated(sources).values(), args.folder)
            return _say(args, done, "\n".join(f"pushed {address}" for address in done))


def _say(args: argparse.Namespace, machine: list[str], person: str) -> int:
    print(json.dumps(machine) if args.json else person)
    return 0
