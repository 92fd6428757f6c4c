"""Functions and aggregations as tables for docs/promql.md: `python -m observe.promql.reference` rewrites them there."""

import sys
from pathlib import Path
from typing import Final

from observe.promql.aggregate import DOCS
from observe.promql.functions import FUNCTIONS, Function

BEGIN, END = "<!-- functions: generated -->", "<!-- /functions -->"
_WORDS: Final = {"vector": "v", "matrix": "v[d]", "scalar": "number", "string": '"text"'}


def signature(function: Function) -> str:
    """``name(v[d], number)``; what may be left out in brackets."""
    words = [_WORDS[kind] for kind in function.args]
    if function.optional < 0:
        words.append("...")
    elif function.optional:
        required = len(words) - function.optional
        words = [*words[:required], *(f"[{word}]" for word in words[required:])]
    return f"{function.name}({', '.join(words)})"


def tables() -> str:
    """Both tables in Markdown."""
    rows = ["| function | gives |", "| --- | --- |"]
    for function in FUNCTIONS.values():
        remark = " (experimental in Prometheus)" if function.experimental else ""
        rows.append(f"| `{signature(function)}` | {function.doc}{remark} |")
    rows += ["", "| aggregation | gives |", "| --- | --- |"]
    rows += [f"| `{name}` | {doc} |" for name, doc in DOCS.items()]
    return "\n".join(rows)


def rewritten(page: str) -> str:
    """`page` with its generated part made anew."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


def main(path: str = "docs/promql.md") -> int:
    page = Path(path)
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
