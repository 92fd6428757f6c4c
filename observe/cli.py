"""The command line: finds `observe.commands.*`, one module a command, and runs the one asked for.

A command module has `SUMMARY` (one line), `EXAMPLE` (a command line that works), `add_arguments(parser)` and
`run(args) -> int`. Exit codes: 0 fine, 1 problems found, 2 wrong use. Heavy imports stay inside `run`, so
`--help` is fast.
"""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

import observe.commands
from observe._version import __version__
from observe.command_line import Parser
from observe.errors import ObserveError, QueryError, UsageError
from observe.terminal import showing_all

_FILE_TROUBLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What is wrong with a file that a person named: told in a line, for commands that end."""
_SERVERS = frozenset({"up", "serve-metrics", "demo", "export"})
"""They run for months: there such an error is ours, and its traceback is wanted."""


def command_names() -> list[str]:
    """Every command, by the name a person types."""
    return sorted(found.name.replace("_", "-") for found in pkgutil.iter_modules(observe.commands.__path__))


def load_command(name: str) -> ModuleType:
    return importlib.import_module("observe.commands." + name.replace("-", "_"))


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or with the arguments of `only` (the others then load nothing)."""
    parser = Parser(
        prog="observe",
        description="Observability and auto-alerting for teams that serve models.",
        epilog="example: observe up --demo",
    )
    parser.add_argument("--version", action="version", version=f"observe {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in command_names():
        module = load_command(name)
        sub = commands.add_parser(
            name, help=module.SUMMARY, description=module.SUMMARY, epilog=f"example: {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if only in {None, name}:
            module.add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors become one clear message on stderr and an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    showing_all(sys.stdout)
    if not words:
        build_parser("").print_help(sys.stderr)
        return 2
    known = command_names()
    asked = next((word for word in words if not word.startswith("-")), None)
    args = build_parser(asked if asked in known else None).parse_args(words)
    try:
        code = load_command(args.command).run(args)
    except UsageError as error:
        print(f"observe {args.command}: {error}", file=sys.stderr)
        return 2
    except ObserveError as error:
        print(f"observe {args.command}: {error}", file=sys.stderr)
        # What cannot be read was typed wrongly; what can, and fails on the data, is a problem found.
        return 2 if isinstance(error, QueryError) and error.kind == "bad_data" else 1
    except _FILE_TROUBLE as error:
        if error.filename is None or args.command in _SERVERS:
            raise
        print(f"observe {args.command}: {error.filename}: {error.strerror}; name one that is there and that this "
              "user may use", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away (| head): not an error
        return 0
    except KeyboardInterrupt:
        return 130
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
