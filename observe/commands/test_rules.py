"""Run rule tests (promtool's format; rules may have bands)."""

import argparse
import json
import sys
from pathlib import Path

from observe.errors import InvalidInput, UsageError

SUMMARY = "run rule tests: series written by hand, and the alerts that must come of them"
EXAMPLE = "observe test-rules alert_rules/tests/*.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="test file in promtool's format")
    parser.add_argument("--json", action="store_true", help="print JSON alone")


def run(args: argparse.Namespace) -> int:
    from observe.alert.ruletest import Report, run_file, summary
    from observe.detect.staged import create

    missing = [str(path) for path in args.files if not path.is_file()]
    if missing:
        raise UsageError(f"no such file: {', '.join(missing)}")
    reports: list[Report] = []
    for path in args.files:
        try:
            report = run_file(path, create)
        except InvalidInput as error:
            report = Report(path, failures=tuple(str(problem) for problem in error.problems))
        reports.append(report)
        if not args.json:
            print(summary(report))
            for failure in report.failures:
                print(f"  {failure}", file=sys.stderr)
    if args.json:
        print(json.dumps([
            {"file": str(one.path), "tests": one.tests, "checks": one.checks, "failures": list(one.failures)}
            for one in reports
        ], indent=2))
    return 1 if any(one.failures for one in reports) else 0
