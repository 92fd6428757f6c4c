"""``observe export NAME``: one exporter alone, or several of a file, on a port of their own or once on stdout."""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from observe.errors import UsageError

if TYPE_CHECKING:
    from observe.exporters.collectors import Exporter
    from observe.exporters.registry import Registration
    from observe.exporters.together import Together

SUMMARY = "run one exporter, or several, on a port of their own, or print the metrics once"
EXAMPLE = "observe export host --once"
SEVERAL = "several"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from observe.exporters import together
    from observe.exporters.registry import registrations

    chosen = parser.add_subparsers(dest="exporter", metavar="NAME", required=True)
    for one in registrations():
        sub = _parser(chosen, one.name, one.summary, one.port, _example(one))
        for option in one.options:
            if option.is_switch:
                sub.add_argument(f"--{option.name}", action="store_const", const="true", default=None, help=option.help)
            else:
                sub.add_argument(
                    f"--{option.name}", metavar="VALUE", default=None,
                    help=f"{option.help} (default: {option.default or 'none'})".replace("%", "%%"),
                )
    summary = "several exporters in one process: /metrics is all of them, /metrics/NAME is one"
    sub = _parser(chosen, SEVERAL, summary, together.PORT, "observe export several exporters.yml")
    sub.add_argument("file", type=Path, metavar="FILE", help="names them as observe.yml does, under `exporters:`")


def _example(one: "Registration") -> str:
    """A call that works: with the file, where it is nothing without one."""
    file = " --config business.yml" if any(option.name == "config" for option in one.options) else ""
    return f"observe export {one.name}{file} --once"


def _parser(
    chosen: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, port: int, example: str,
) -> argparse.ArgumentParser:
    sub = chosen.add_parser(name, help=summary, description=summary, epilog=f"example: {example}")
    sub.add_argument("--once", action="store_true", help="print the metrics once and exit 0")
    sub.add_argument("--listen", metavar="HOST:PORT", default="", help=f"default 127.0.0.1:{port}")
    sub.add_argument("--serve-token-file", metavar="FILE", default="",
                     help="scrapers must send this file's bearer token")
    sub.add_argument("--without-token", action="store_true", help="allow an open address without a token")
    return sub


def run(args: argparse.Namespace) -> int:
    from observe.exporters.serve import parse_address, serve

    exporter, port = _chosen(args)
    if args.once:
        log = logging.getLogger("observe.exporters")
        level = log.level
        log.setLevel(logging.ERROR)  # what failed is told below, once for each collector
        try:
            sys.stdout.buffer.write(exporter.exposition())
            sys.stdout.buffer.flush()
        finally:
            exporter.close()
            log.setLevel(level)
        for collector, problem in exporter.problems().items():
            print(f"observe export: collector {collector}: {problem}", file=sys.stderr)
        return 0
    host, port = parse_address(args.listen or f"127.0.0.1:{port}", port)
    serve(
        exporter, host, port, token=_token(args.serve_token_file), without_token=args.without_token,
        on_ready=lambda line: print(line, flush=True),
    )
    return 0


def _chosen(args: argparse.Namespace) -> "tuple[Exporter | Together, int]":
    """What to run, and its usual port."""
    from observe.exporters import together
    from observe.exporters.registry import create, registration

    if args.exporter == SEVERAL:
        return together.load(args.file), together.PORT
    found = registration(args.exporter)
    given = {
        option.name: value
        for option in found.options
        if (value := getattr(args, option.name.replace("-", "_"))) is not None
    }
    return create(found.name, given), found.port


def _token(file: str) -> str:
    if not file:
        return ""
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"--serve-token-file {file}: {error.strerror}; name a file that this user can read") from error
    if not token:
        raise UsageError(f"--serve-token-file {file} is empty; put one long random token into it")
    return token
