"""The text of alerts: the part of Prometheus' Go templates that rules really use, rendered safely.

``{{ $labels.job }}``, ``{{ $value | humanize }}``, ``{{ printf "%.2f" $value }}``, ``{{ if gt $value 5.0 }}…{{ else }}…
{{ end }}``, ``{{ with $labels.cluster }} on {{ . }}{{ end }}``. No loops and no queries: text cannot fail slowly, nor
read anything but its own alert. What cannot be rendered is an error when the rule is loaded, with its position.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from observe.alert.template_beyond import ACTION, BLOCKS, OF_PAGES, OF_QUERIES, NotRendered
from observe.alert.template_functions import FUNCTIONS, Scope, Value, show, truth
from observe.errors import InvalidInput, Problem

__all__ = ["BAND_NAMES", "Scope", "Template"]

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"""
    r"""|(?P<name>\$?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*|\$?(?:\.[A-Za-z_][A-Za-z0-9_]*)+)"""
    r"""|(?P<dot>\.(?![A-Za-z_]))|(?P<mark>[()|]))"""
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}

BAND_NAMES = frozenset({"lower", "upper", "baseline", "score"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


_Eval = Callable[[Scope], Value]
_Node = Callable[[Scope], str]


class Template:
    """A text with actions in it, parsed once.

    >>> Template("{{ $labels.job }} is at {{ $value | humanizePercentage }}").render(Scope({"job": "api"}, 0.123))
    'api is at 12.3%'
    """

    def __init__(self, text: str, band_names: frozenset[str] = frozenset()) -> None:
        self.text = text
        self._band_names = band_names
        if "{{" not in text:
            self._nodes: Sequence[_Node] = [lambda _, text=text: text]  # type: ignore[misc]
            return
        pieces = _split(text)
        try:
            self._nodes, end = self._block(pieces, 0, top=True)
        except RecursionError:
            raise self._error(pieces[0].at, 1, "parentheses or conditions are nested too deeply") from None
        assert end == len(pieces)

    def render(self, scope: Scope) -> str:
        """The text for one alert. Raises `InvalidInput` where a value does not fit (a word where a number is due)."""
        try:
            return "".join(node(scope) for node in self._nodes)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise InvalidInput(Problem(f"cannot render {self.text!r}", why=str(error))) from error

    def _block(self, pieces: list["_Piece"], start: int, *, top: bool) -> tuple[list[_Node], int]:
        """The nodes until the `end` or `else` that closes this block; the index of that piece."""
        nodes: list[_Node] = []
        index = start
        while index < len(pieces):
            piece = pieces[index]
            if not piece.action:
                nodes.append(lambda _, text=piece.text: text)  # type: ignore[misc]
                index += 1
                continue
            tokens = self._tokens(piece)
            word = tokens[0].text if tokens else ""
            if word in {"end", "else"}:
                if top:
                    raise self._error(tokens[0].at, len(word), f"`{word}` without an `if`")
                return nodes, index
            if word in {"if", "with"}:
                node, index = self._if(pieces, index, tokens)
                nodes.append(node)
                continue
            if word in BLOCKS:
                raise NotRendered(self._error(
                    tokens[0].at, len(word), f"`{word}` is not supported in alert texts",
                    "loops and queries in texts can be slow or fail while paging; the page carries its evidence itself",
                    "use $labels, $value, if/else and the humanize functions",
                ).problems)
            if not piece.text.strip().startswith("/*"):
                value = self._pipeline(tokens, piece)
                nodes.append(lambda scope, value=value: show(value(scope)))  # type: ignore[misc]
            index += 1
        if not top:
            raise self._error(len(self.text), 1, "`if` without its `end`", fix="add {{ end }}")
        return nodes, index

    def _if(self, pieces: list["_Piece"], index: int, tokens: list[_Token]) -> tuple[_Node, int]:
        within = tokens[0].text == "with"
        condition = self._pipeline(tokens[1:], pieces[index])
        then, index = self._block(pieces, index + 1, top=False)
        otherwise: list[_Node] = []
        closing = self._tokens(pieces[index])
        if closing[0].text == "else":
            if len(closing) > 1 and closing[1].text == "if":
                node, after = self._if(pieces, index, closing[1:])
                otherwise = [node]
                return _choose(condition, then, otherwise, within=within), after
            otherwise, index = self._block(pieces, index + 1, top=False)
            if self._tokens(pieces[index])[0].text == "else":
                raise self._error(pieces[index].at, 4, "a second `else`")
        return _choose(condition, then, otherwise, within=within), index + 1

    def _tokens(self, piece: "_Piece") -> list[_Token]:
        tokens: list[_Token] = []
        if piece.text.strip().startswith("/*"):
            return tokens
        position = 0
        while position < len(piece.text.rstrip()):
            match = _TOKEN.match(piece.text, position)
            if match is None or match.lastgroup is None:
                rest = len(piece.text) - len(piece.text[position:].lstrip())
                error = self._error(piece.at + rest, 1, f"unexpected {piece.text[rest:rest + 1]!r}",
                                    fix='inside {{ }} stand names, numbers, "texts", ( ) and |')
                raise NotRendered(error.problems) if piece.text[rest:rest + 2] == ":=" or (
                    tokens and tokens[0].text == "range") else error
            tokens.append(_Token(match.lastgroup, match[match.lastgroup], piece.at + match.start(match.lastgroup)))
            position = match.end()
        return tokens

    def _pipeline(self, tokens: list[_Token], piece: "_Piece") -> _Eval:
        if not tokens:
            raise self._error(piece.at, max(1, len(piece.text)), "nothing stands between {{ and }}")
        reader = _Reader(tokens)
        value = self._command(reader, None)
        while (bar := reader.peek()) is not None and bar.text == "|":
            reader.take()
            value = self._command(reader, value)
        if (rest := reader.peek()) is not None:
            raise self._error(rest.at, len(rest.text), f"unexpected `{rest.text}`")
        return value

    def _command(self, reader: "_Reader", piped: _Eval | None) -> _Eval:
        token = reader.peek()
        if token is None:
            raise self._error(reader.end, 1, "something is missing here")
        if token.kind == "name" and token.text in FUNCTIONS:
            reader.take()
            operands: list[_Eval] = []
            while (ahead := reader.peek()) is not None and ahead.text not in {"|", ")"}:
                operands.append(self._operand(reader))
            if piped is not None:
                operands.append(piped)
            least, most, function = FUNCTIONS[token.text]
            if not least <= len(operands) <= most:
                wanted = str(least) if least == most else f"at least {least}"
                raise self._error(token.at, len(token.text),
                                  f"`{token.text}` takes {wanted} value(s), not {len(operands)}")
            return lambda scope: function([operand(scope) for operand in operands], scope)
        if piped is not None:
            error = self._error(token.at, len(token.text), f"`{token.text}` is not a function",
                                fix="use one of: " + ", ".join(sorted(FUNCTIONS)))
            raise NotRendered(error.problems) if token.text in OF_QUERIES | OF_PAGES else error
        return self._operand(reader)

    def _operand(self, reader: "_Reader") -> _Eval:
        token = reader.take()
        if token.kind == "mark":
            if token.text != "(":
                raise self._error(token.at, 1, f"unexpected `{token.text}`")
            inner = self._command(reader, None)
            while (ahead := reader.peek()) is not None and ahead.text == "|":
                reader.take()
                inner = self._command(reader, inner)
            closing = reader.peek()
            if closing is None or closing.text != ")":
                raise self._error(token.at, 1, "this parenthesis is never closed")
            reader.take()
            return inner
        if token.kind == "string":
            text = _unquote(token.text)
            return lambda _: text
        if token.kind == "number":
            number = float(token.text)
            return lambda _: number
        if token.kind == "dot":
            return lambda scope: scope.dot
        return self._name(token)

    def _name(self, token: _Token) -> _Eval:
        root, _, path = token.text.removeprefix("$").removeprefix(".").partition(".")
        known = token.text.startswith(("$", "."))
        if known and root in {"labels", "Labels"}:
            if not path:
                return lambda scope: scope.labels
            return lambda scope: scope.labels.get(path, "")
        if known and root in {"externalLabels", "ExternalLabels"} and path:
            return lambda scope: scope.external_labels.get(path, "")
        if not path:
            if known and root in {"value", "Value"}:
                return lambda scope: scope.value
            if known and root in {"externalURL", "ExternalURL"}:
                return lambda scope: scope.external_url
            if token.text.startswith("$") and root in self._band_names:
                return lambda scope: scope.band.get(root, math.nan)
            if token.text in {"true", "false"}:
                is_true = token.text == "true"
                return lambda _: is_true
        if token.text.startswith("$") and root in BAND_NAMES:
            raise self._error(token.at, len(token.text), f"`{token.text}` is there only in a rule with `band:`",
                              fix="use $value, or add a band")
        if token.text.startswith(("$", ".")):
            raise self._error(token.at, len(token.text), f"unknown `{token.text}`",
                              fix="use $labels.NAME, $value, $externalLabels.NAME or $externalURL")
        why = "texts may not run queries" if root in OF_QUERIES else ""
        error = self._error(token.at, len(token.text), f"unknown function `{token.text}`", why,
                            "use one of: " + ", ".join(sorted(FUNCTIONS)))
        raise NotRendered(error.problems) if root in OF_QUERIES | OF_PAGES else error

    def _error(self, at: int, width: int, what: str, why: str = "", fix: str = "") -> InvalidInput:
        line = self.text.count("\n", 0, at)
        start = self.text.rfind("\n", 0, at) + 1
        shown = self.text.splitlines()[line] if line < len(self.text.splitlines()) else ""
        return InvalidInput(Problem(
            f"template: {what}", line=line + 1, column=at - start + 1, width=width, source=shown, why=why, fix=fix,
        ))


@dataclass(frozen=True, slots=True)
class _Piece:
    action: bool
    text: str
    at: int


class _Reader:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self.end = tokens[-1].at + len(tokens[-1].text)

    def peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token


def _split(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    position = 0
    trim = False
    for match in ACTION.finditer(text):
        before = text[position:match.start()]
        if trim:
            before = before.lstrip()
        if match[1]:
            before = before.rstrip()
        pieces.extend(([_Piece(False, before, position)] if before else []) + [_Piece(True, match[2], match.start(2))])
        position, trim = match.end(), bool(match[3])
    rest = text[position:]
    if "{{" in rest:
        at = position + rest.index("{{")
        line = text.count("\n", 0, at)
        raise InvalidInput(Problem(
            "template: `{{` is never closed", line=line + 1, column=at - (text.rfind("\n", 0, at) + 1) + 1, width=2,
            source=text.splitlines()[line], fix="add }}",
        ))
    if trim:
        rest = rest.lstrip()
    return pieces + ([_Piece(False, rest, position)] if rest else [])


def _choose(condition: _Eval, then: Sequence[_Node], otherwise: Sequence[_Node], *, within: bool) -> _Node:
    """`if`; or `with`, `within` which a dot is what was found to be true."""

    def chosen(scope: Scope) -> str:
        found = condition(scope)
        if not truth(found):
            return "".join(node(scope) for node in otherwise)
        inner = replace(scope, dot=found) if within else scope
        return "".join(node(inner) for node in then)

    return chosen


def _unquote(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])
