"""Pages of docs/ that are made from the code: `python -m observe.reference commands` (or `metrics`) prints one."""

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

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


_METRICS_HEAD = """# What observe says of itself

Made by `make docs` from the code: the series of `/metrics`, also in the store as job `observe`. Histograms
have `_bucket`, `_sum` and `_count`. Rules on them ship (`alert_rules/observe.yml`), and the board `observe` shows them.

| metric | kind | labels | what it says |
| --- | --- | --- | --- |
"""


def metrics_reference() -> str:
    """docs/metrics.md as it should be: every call of `Telemetry` that names a metric."""
    rows: set[str] = set()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            node.targets[0].id: node.value for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                rows.update(_metric_row(node.func.attr, [_behind(one, named) for one in node.args]))
    return _METRICS_HEAD + "\n".join(sorted(rows)) + "\n"


def _behind(argument: ast.expr, named: Mapping[str, ast.expr]) -> ast.expr:
    return named.get(argument.id, argument) if isinstance(argument, ast.Name) else argument


def _metric_row(kind: str, args: list[ast.expr]) -> Iterator[str]:
    if kind not in {"counter", "gauge", "histogram"} or len(args) < 2:
        return
    name, text = (one.value if isinstance(one, ast.Constant) else None for one in args[:2])
    if not (isinstance(name, str) and isinstance(text, str) and name.startswith("observe_") and text):
        return
    labels = ast.literal_eval(args[2]) if len(args) > 2 else ()
    yield f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |"


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
    sys.stdout.write({"commands": reference, "metrics": metrics_reference}[sys.argv[1]]())
