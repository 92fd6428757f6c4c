"""A parser of command lines whose errors help: what is wrong, what was meant, an example, where the rest stands."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from observe.nearest import meant

_NUMBER = re.compile(r"(\S+): invalid (int|float) value: (.*)")
_KINDS = {"int": "a whole number", "float": "a number"}


class Parser(argparse.ArgumentParser):
    """`argparse` that answers a mistake in a few lines, in place of its whole usage."""

    def parse_known_args(  # type: ignore[override]  # the parent is overloaded for namespaces of one's own
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """As the parent, but words that are left over are refused here, where their command is known."""
        found, left = super().parse_known_args(args, namespace)
        options = [word for word in left if word.startswith("-") and len(word) > 1]
        if options:
            asked = options[0].partition("=")[0]
            self.error(f"there is no option `{asked}`{_asking(asked, self._option_string_actions)}")
        if left:
            self.error(f"`{left[0]}` is one word too many")
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        what = "/".join(action.option_strings)
        wrong = f"{what} cannot be `{value}`" if what else f"there is no {action.dest} `{value}`"
        hint = _asking(str(value), choices)
        raise argparse.ArgumentError(None, f"{wrong}{hint}\n  there are: {', '.join(choices)}")

    def error(self, message: str) -> NoReturn:
        told = _NUMBER.sub(lambda found: f"{found[1]}: {found[3]} is not {_KINDS[found[2]]}", message)
        example = (self.epilog or "").strip()
        lines = [f"{self.prog}: {told.removeprefix('argument ')}", *([f"  {example}"] if example else []),
                 f"  more: {self.prog} --help"]
        print("\n".join(lines), file=sys.stderr)
        raise SystemExit(2)


def _asking(word: str, known: Any) -> str:
    hint = meant(word, known)
    return f"; {hint}" if hint else ""
