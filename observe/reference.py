"""The reference of the command line, made from the parsers: `python -m observe.reference > docs/commands.md`."""

import argparse
import sys
from collections.abc import Iterator

from observe import cli

_HEAD = """# Commands

Made by `make docs` from the commands themselves. Exit codes: 0 fine, 1 problems found, 2 wrong use.
"""


def reference() -> str:
    """docs/commands.md as it should be."""
    parts = [_HEAD]
    for name in cli.command_names():
        module = cli.load_command(name)
        parser = argparse.ArgumentParser(prog=f"observe {name}")
        module.add_arguments(parser)
        parts.append(f"## `observe {name}`\n\n{_sentence(module.SUMMARY)}\n\n```\n{module.EXAMPLE}\n```\n")
        parts.extend(_tables(parser))
    return "\n".join(parts)


def _tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    rows = [row for action in parser._actions if (row := _row(action)) is not None]  # noqa: SLF001 - no other way
    if rows:
        yield "| option | what it does |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for word, below in action.choices.items():
                summary = next((one.help for one in action._choices_actions if one.dest == word), "") or ""  # noqa: SLF001
                yield f"### `{parser.prog} {word}`\n\n{_sentence(summary)}\n"
                yield from _tables(below)


def _row(action: argparse.Action) -> str | None:
    if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):  # noqa: SLF001
        return None
    value = "" if action.nargs == 0 else str(action.metavar or (action.dest.upper() if action.option_strings else ""))
    names = ", ".join(f"`{flag} {value}`" if value else f"`{flag}`" for flag in action.option_strings)
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%").replace("|", "\\|")
    return f"| {names or f'`{action.metavar or action.dest}`'} | {text} |"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


if __name__ == "__main__":
    sys.stdout.write(reference())
