"""What somebody meant who mistyped a name: one rule for keys, commands, options, functions and labels."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that `word` most resembles, or nothing.

    >>> nearest("detctor", ["detector", "direction"]), nearest("xyz", ["detector"])
    ('detector', '')
    """
    names = list(known)
    folded = {name.casefold(): name for name in reversed(names)}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.65)
    return folded[found[0]] if found else ""


def meant(word: str, known: Iterable[str]) -> str:
    """The question that follows an unknown word, or nothing.

    >>> meant("--demmo", ["--demo", "--data"])
    'did you mean `--demo`?'
    """
    found = nearest(word, known)
    return f"did you mean `{found}`?" if found else ""
