"""Rules for others: `observe rules export`."""

import argparse
import sys
from pathlib import Path

from observe.errors import UsageError

SUMMARY = "export rules for a plain Prometheus (bands by the series that observe writes)"
EXAMPLE = "observe rules export --format prometheus --output rules.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("export",))
    parser.add_argument("--format", choices=("prometheus",), default="prometheus")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write here (default: print)")
    parser.add_argument("--target-version", default="2.42", metavar="V", help="Prometheus to write for (default: 2.42)")
    parser.add_argument("--rules", action="append", default=[], metavar="PATH",
                        help="rule file, folder or glob (repeatable; default: those of --config, else builtin)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="observe.yml that names the rules")
    parser.add_argument("--external-url", default="", metavar="URL", help="observe's own address, for links in alerts")


def run(args: argparse.Namespace) -> int:
    from observe.alert.export import parse_version, to_prometheus
    from observe.alert.rule_files import find_files, load_files
    from observe.alert.rules import DEFAULT_INTERVAL_MS
    from observe.durable import is_stream, write_named
    from observe.promql.engine import Engine
    from observe.testing import MemorySource

    try:
        version = parse_version(args.target_version)
    except ValueError as error:
        raise UsageError(f"--target-version: {error}") from error
    patterns, interval_ms, url = list(args.rules), DEFAULT_INTERVAL_MS, args.external_url
    if args.config is not None:
        from observe.config import load

        config = load(args.config)
        patterns = patterns or list(config.rules)
        interval_ms = config.evaluation_interval
        url = url or config.external_url or ""
    groups = load_files(find_files(patterns or ["builtin"]), Engine(MemorySource()).check, interval_ms)
    text = to_prometheus(groups, version, url)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    write_named(args.output, text.encode())
    rules = [rule for group in groups for rule in group.rules]
    bands = sum(1 for rule in rules if rule.band is not None)
    print(f"{args.output}: {len(groups)} groups, {len(rules)} rules, {bands} of them on observe_band_firing",
          file=sys.stderr if is_stream(args.output) else sys.stdout)
    return 0
