"""Where an expression is wrong: carets for the grammar's errors, which name no place.

The grammar's reader says only that a text is not PromQL. The first token that no continuation could make right is found
by asking it: a beginning of the text is still fine if some short ending completes it.
"""

import re
from collections.abc import Callable
from typing import Final

import promql_parser as grammar

from observe.errors import Problem, QueryError
from observe.nearest import meant
from observe.promql.ast import NO_SPAN, Span
from observe.promql.lexer import AGGREGATIONS, Token, plain_numbers, seconds, unquoted

_OPENERS = {"(": ")", "{": "}", "[": "]"}
_ENDINGS: Final = {
    ")": ("", "x", "(x)", "1", "x)", "1, x", "x[5m]", " x", " (x)", ", x", ", 1", ', "a"', ', "a", "a", "a"', "a",
          "[5m]"),
    "}": ("", 'a="b"', '="b"', '"b"', 'a"="b"', ',a="b"', " b"),
    "]": ("5m", "", ":", "m", ":5m"),
    "": ("", " x", " 1", "(x)", " (x)", "{}", "[5m:]", " by (a) (x)", "5m", " (a) x", " x)", " start()", "(a) (x)",
         "()", "(x[5m])", "(1, x)", '("a", x)', "(1)"),
}
_SUSPECTS: Final[tuple[tuple[str, Callable[[Token], bool]], ...]] = (
    ("duration must be greater", lambda token: token.kind in {"number", "duration"} and seconds(token) == 0),
    ("non-empty matcher", lambda token: token.text == "{"),
    ("vector matching only", lambda token: token.text.lower() in {"on", "ignoring"}),
    ("BOOL modifier", lambda token: token.text in {"==", "!=", "<", ">", "<=", ">="}),
    ("bool modifier", lambda token: token.text.lower() == "bool"),
    ("aggregate expression", lambda token: token.text.lower() in AGGREGATIONS),
    ("aggregation expression", lambda token: token.text.lower() in AGGREGATIONS),
    ("offset may not", lambda token: token.text.lower() == "offset"),
)
_TYPE = re.compile(r"\b(type|got) (vector|matrix)\b")
_NAMED = re.compile(r"'([A-Za-z_]\w*)'")


def point_at(text: str, span: Span, what: str, why: str = "", fix: str = "") -> Problem:
    """A problem with the caret under `span` of `text`; without a place where `span` is `NO_SPAN`."""
    if span == NO_SPAN:
        return Problem(what, where="expr", source="".join(text.strip().splitlines()[:1]), why=why, fix=fix)
    begin = text.rfind("\n", 0, span[0]) + 1
    end = text.find("\n", span[0])
    row = text[begin : end if end >= 0 else len(text)]
    return Problem(
        what, where="expr", line=text.count("\n", 0, span[0]) + 1, column=span[0] - begin + 1,
        width=max(1, min(span[1], begin + len(row)) - span[0]), source=row, why=why, fix=fix,
    )


def place(text: str, span: Span) -> str:
    """``line:column`` of the begin of `span`, counting from 1."""
    begin = text.rfind("\n", 0, span[0]) + 1
    return f"{text.count(chr(10), 0, span[0]) + 1}:{span[0] - begin + 1}"


def syntax_error(text: str, found: list[Token], message: str) -> QueryError:
    """The grammar's `message` about `text`, with its place."""
    message = _TYPE.sub(_type_in_words, message.strip()) or "the expression cannot be read"
    for token in found:
        if token.kind == "bad":
            what = "unterminated quoted string" if token.text in "\"'`" else f"unexpected character: {token.text!r}"
            return QueryError(point_at(text, token.span, what))
    named = _NAMED.search(message)
    if named and (hits := [token for token in found if token.kind == "name" and token.text == named[1]]):
        return QueryError(point_at(text, hits[0].span, message, fix=_other_function(message, named[1])))
    if "invalid promql query" not in message and "unexpected" not in message:
        return QueryError(point_at(text, _suspect(found, message), message))
    wrong = _first_wrong(plain_numbers(text, found), found)
    if wrong is None:
        end = found[-1].span[1]
        return QueryError(point_at(text, (end, end + 1), "unexpected end of input", why="more is expected here"))
    return QueryError(point_at(text, wrong.span, f"unexpected {wrong.text}", why=_reason(wrong)))


def _other_function(message: str, name: str) -> str:
    if not message.startswith("unknown function"):
        return ""
    from observe.promql.functions import FUNCTIONS  # they are built on what reads expressions

    return meant(name, [*FUNCTIONS, *AGGREGATIONS])


def _type_in_words(match: re.Match[str]) -> str:
    return f"{match[1]} {'instant' if match[2] == 'vector' else 'range'} vector"


def _suspect(found: list[Token], message: str) -> Span:
    """The token that a message without a place is most likely about."""
    if "unclosed" in message:
        return _unclosed(found)
    for part, looks_wrong in _SUSPECTS:
        if part in message:
            return next((token.span for token in found if looks_wrong(token)), NO_SPAN)
    if message.startswith("illegal regex for "):
        pattern = message.removeprefix("illegal regex for ")
        strings = (token for token in found if token.kind == "string")
        return next((token.span for token in strings if unquoted(token.text) == pattern), NO_SPAN)
    return NO_SPAN


def _unclosed(found: list[Token]) -> Span:
    open_: list[Token] = []
    for token in found:
        if token.kind == "mark" and token.text in _OPENERS:
            open_.append(token)
        elif token.kind == "mark" and token.text in _OPENERS.values() and open_:
            open_.pop()
    return open_[-1].span if open_ else NO_SPAN


def _reason(token: Token) -> str:
    if token.text.lower() in {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "atan2"}:
        return "this word has a meaning of its own and cannot stand here"
    return ""


def _first_wrong(text: str, found: list[Token]) -> Token | None:
    """The first token that no ending makes right, or None if only something is missing."""
    low, high = 0, len(found)  # found[:low] can be completed, found[:high + 1] cannot or is all
    while low < high:
        middle = (low + high) // 2
        if _can_go_on(text, found[: middle + 1]):
            low = middle + 1
        else:
            high = middle
    return found[low] if low < len(found) else None


def _can_go_on(text: str, prefix: list[Token]) -> bool:
    open_: list[str] = []
    for token in prefix:
        if token.kind == "mark" and token.text in _OPENERS:
            open_.append(_OPENERS[token.text])
        elif token.kind == "mark" and token.text in {")", "}", "]"} and (not open_ or open_.pop() != token.text):
            return False
    head = text[: prefix[-1].span[1]]
    for ending in _ENDINGS[open_[-1] if open_ else ""]:
        closed = "".join(reversed(open_))
        for whole in (head + ending + closed, head + ending + closed + "(x)") if closed else (head + ending,):
            try:
                grammar.parse(whole)
            except ValueError as error:
                if "invalid promql query" in str(error) or "unexpected" in str(error):
                    continue
            except BaseException:  # a Rust panic: it was read far enough
                return True
            return True
    return False
