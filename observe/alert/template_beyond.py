"""What Prometheus' templates can and ours leave alone: loops, queries, functions for its web pages."""

import re
from typing import Final

from observe.errors import InvalidInput

ACTION: Final = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
"""``{{ … }}``, with the marks that trim blanks."""
BLOCKS: Final = frozenset({"range", "define", "template", "block", "break", "continue"})
OF_QUERIES: Final = frozenset({"query", "first", "value", "label", "strvalue", "sortByLabel"})
OF_PAGES: Final = frozenset({
    "args", "tableLink", "graphLink", "pathPrefix", "safeHtml", "toTime", "urlquery", "html", "js", "println", "slice",
    "call", "nil",
})
"""Most of it makes links and HTML for its web pages."""


class NotRendered(InvalidInput):
    """A text that Prometheus would render and we do not."""


def without_actions(text: str) -> str:
    """`text` with three dots where something would be rendered.

    >>> without_actions("{{ with query `up` }}{{ . | first | value }}{{ end }} of {{ $value }} are up")
    '… of … are up'
    """
    return re.sub(r"…(\s*…)*", "…", ACTION.sub("…", text))
