"""``observe export NAME``: one exporter alone, on its own port or once on stdout."""

import argparse
import sys
from pathlib import Path

from observe.errors import UsageError

SUMMARY = "run one exporter on its own port, or print its metrics once"
EXAMPLE = "observe export host --once"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from observe.exporters.framework import registrations

    chosen = parser.add_subparsers(dest="exporter", metavar="NAME", required=True)
    for one in registrations():
        sub = chosen.add_parser(
            one.name, help=one.summary, description=one.summary, epilog=f"example: observe export {one.name} --once",
        )
        sub.add_argument("--once", action="store_true", help="print the metrics once and exit 0")
        sub.add_argument("--listen", metavar="HOST:PORT", default="", help=f"default 127.0.0.1:{one.port}")
        sub.add_argument("--serve-token-file", metavar="FILE", default="",
                         help="scrapers must send this file's bearer token")
        sub.add_argument("--without-token", action="store_true", help="allow an open address without a token")
        for option in one.options:
            if option.is_switch:
                sub.add_argument(f"--{option.name}", action="store_const", const="true", default=None, help=option.help)
            else:
                sub.add_argument(
                    f"--{option.name}", metavar="VALUE", default=None,
                    help=f"{option.help} (default: {option.default or 'none'})".replace("%", "%%"),
                )


def run(args: argparse.Namespace) -> int:
    from observe.exporters.framework import create, registration
    from observe.exporters.serve import parse_address, serve

    found = registration(args.exporter)
    given = {
        option.name: value
        for option in found.options
        if (value := getattr(args, option.name.replace("-", "_"))) is not None
    }
    exporter = create(found.name, given)
    if args.once:
        try:
            sys.stdout.buffer.write(exporter.exposition())
            sys.stdout.buffer.flush()
        finally:
            exporter.close()
        for collector, problem in exporter.problems().items():
            print(f"observe export: collector {collector}: {problem}", file=sys.stderr)
        return 0
    host, port = parse_address(args.listen or f"127.0.0.1:{found.port}", found.port)
    serve(
        exporter, host, port, token=_token(args.serve_token_file), without_token=args.without_token,
        on_ready=lambda line: print(line, flush=True),
    )
    return 0


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
