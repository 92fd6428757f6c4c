"""Matchers as people and amtool write them: ``severity="critical"``, ``code=~"5.."``, or several in braces."""

import re

from observe.errors import InvalidInput, Problem
from observe.model import Matcher, MatchOp
from observe.notify.matching import check_matcher

_MATCHER = re.compile(
    r'\s*(?P<name>[a-zA-Z_][a-zA-Z0-9_.]*|"(?:\\.|[^"\\])+")\s*(?P<op>=~|!~|!=|=)'
    r'\s*(?P<value>"(?:\\.|[^"\\])*"|[^,{}"]*)\s*',
)


def parse_matchers(text: str) -> list[Matcher]:
    """``a="b"``, ``a=~b|c``, or several in braces.

    >>> parse_matchers('{job="api", code=~"5.."}')
    [Matcher(name='job', op='=', value='api'), Matcher(name='code', op='=~', value='5..')]
    >>> parse_matchers('"disk used"=full')
    [Matcher(name='disk used', op='=', value='full')]
    """
    inner = text.strip()
    if inner.startswith("{") is not inner.endswith("}"):
        raise InvalidInput(Problem("one of the brackets is missing", source=inner, fix='write it as {name="value"}'))
    inner = inner.removeprefix("{").removesuffix("}")
    found: list[Matcher] = []
    position = 0
    while position < len(inner):
        match = _MATCHER.match(inner, position)
        if match is None or (match.end() < len(inner) and inner[match.end()] != ","):
            raise InvalidInput(Problem(
                "this is not a matcher", line=1, column=position + 1, source=inner, fix='write it as name="value"'))
        op: MatchOp = match["op"]  # type: ignore[assignment]
        matcher = Matcher(_plain(match["name"]), op, _plain(match["value"]))
        check_matcher(matcher)
        found.append(matcher)
        position = match.end() + 1
    return found


def _plain(text: str) -> str:
    """What quotes hold, or the word itself."""
    if not text.startswith('"'):
        return text.strip()
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text[1:-1])
