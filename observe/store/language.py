"""The language of the search field: text -> a small tree, or an error that points at the character.

::

    timeout gateway              both words, anywhere in the message or the error
    "connection reset"           these words in this order
    time*                        words that begin so
    -health  NOT health          lines without it
    a OR b, (a b) OR c           either; AND binds tighter and may be left out
    status:500  endpoint:"/v1/x" a field is exactly this; also any field of the line's own, such as model:llama
    status:5*  model:*           a field begins so; a field is there
    latency:>500  tokens:<=16    numbers; latency is in ms and takes units: latency:>2s
    level:(warn OR error)        a field with several values
    message:reset error:timeout  words in one of the two texts only

The tree compiles to tantivy (`observe.store.index`), to Elasticsearch (`observe.store.elastic_query`) and is matched in
plain Python (`observe.store.match`); all three answer the same.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from observe.errors import Problem, QueryError
from observe.store.words import words

CompareOp = Literal[">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Everything:
    pass


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in this order, in the message, the error, or (None) either."""

    words: tuple[str, ...]
    text: Literal["message", "error_msg"] | None = None


@dataclass(frozen=True, slots=True)
class WordPrefix:
    """A word that begins so."""

    prefix: str
    text: Literal["message", "error_msg"] | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """A field (a column of `LogRecord`, or ``fields.name``) that is exactly `value`."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """A field that begins with `value`; with an empty one: that is there."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Compare:
    name: str
    op: CompareOp
    number: float


@dataclass(frozen=True, slots=True)
class Not:
    node: "Node"


@dataclass(frozen=True, slots=True)
class And:
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    nodes: tuple["Node", ...]


Node = Everything | Phrase | WordPrefix | Term | Prefix | Compare | Not | And | Or

TEXT_CHARS: Final = 4096
CLAUSES: Final = 128
DEPTH: Final = 32

KEYWORDS: Final = frozenset({"service", "level", "status", "endpoint", "trace_id", "span_id"})
_ALIASES: Final = {
    "latency": "latency_ms", "error": "error_msg", "msg": "message", "trace": "trace_id", "span": "span_id",
}
_TEXTS: Final[dict[str, Literal["message", "error_msg"]]] = {"message": "message", "error_msg": "error_msg"}
_OPS: Final[tuple[CompareOp, ...]] = (">=", "<=", ">", "<")  # the longer first
_LOWERED: Final = frozenset({"level", "trace_id", "span_id"})
_UNITS_MS: Final = {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001, "µs": 0.001, "m": 60_000.0}
_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?)([a-zµ]*)", re.ASCII | re.IGNORECASE)
_FIELD: Final = re.compile(r"[^\W\d][\w.@/-]*:")
_BLANK: Final = re.compile(r"\s+")
_BARE: Final = re.compile(r'[^\s()"]+')


def parse(text: str) -> Node:
    """The tree of a search. Raises `QueryError`, and nothing else, whatever the text."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.clauses = 0

    def parse(self) -> Node:
        if len(self.text) > TEXT_CHARS:
            raise QueryError(Problem(f"the search has {len(self.text)} characters; at most {TEXT_CHARS} are taken"))
        self._blanks()
        if self.at == len(self.text):
            return Everything()
        node = self._either(0)
        if self.at < len(self.text):
            raise self._error("a closing parenthesis without an opening one", fix='remove it, or quote it: ")"')
        return node

    # each level returns with blanks skipped behind it

    def _either(self, depth: int, field: str | None = None) -> Node:
        if depth > DEPTH:
            raise self._error(f"more than {DEPTH} parentheses inside each other")
        nodes = [self._all(depth, field)]
        while self._word("OR"):
            nodes.append(self._all(depth, field))
        return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))

    def _all(self, depth: int, field: str | None) -> Node:
        nodes: list[Node] = []
        while self.at < len(self.text) and self.text[self.at] != ")" and not self._next_is("OR"):
            if self._word("AND") and (not nodes or self._at_end()):
                raise self._error("AND needs something on both sides", fix='quote it to search the word: "and"',
                                  at=self.at)
            nodes.append(self._one(depth, field))
        if not nodes:
            fix = 'OR needs something on both sides; quote it to search the word: "or"'
            if self._at_end() and not self._next_is("OR") and not self.text[:self.at].rstrip().lower().endswith(" or"):
                fix = 'write what to search for between the brackets; quote them to search for one: "("'
            raise self._error("nothing here to search for", fix=fix)
        return nodes[0] if len(nodes) == 1 else And(tuple(nodes))

    def _at_end(self) -> bool:
        return self.at >= len(self.text) or self.text[self.at] == ")" or self._next_is("OR")

    def _one(self, depth: int, field: str | None) -> Node:
        if depth > DEPTH:
            raise self._error(f"more than {DEPTH} levels inside each other")
        if self.text[self.at] == "-" or self._next_is("NOT"):
            begin = self.at
            self.at += 1 if self.text[self.at] == "-" else 3
            self._blanks()
            if self.at >= len(self.text) or self.text[self.at] == ")":
                raise self._error("there is nothing behind this to leave out", at=begin)
            return Not(self._one(depth + 1, field))
        if self.text[self.at] == "(":
            return self._group(depth, field)
        self.clauses += 1
        if self.clauses > CLAUSES:
            raise self._error(f"more than {CLAUSES} conditions")
        found = _FIELD.match(self.text, self.at) if field is None else None
        if found is None:
            return self._value(field)
        begin = self.at
        self.at = found.end()
        name = found[0][:-1]
        if self.at >= len(self.text) or self.text[self.at].isspace() or self.text[self.at] == ")":
            raise self._error(f"`{name}:` has no value", at=begin, width=len(name) + 1,
                              fix=f'write a value right behind the colon, or quote it: "{name}:"')
        if self.text[self.at] == "(":
            return self._group(depth, name)
        return self._value(name)

    def _group(self, depth: int, field: str | None) -> Node:
        begin = self.at
        self.at += 1
        self._blanks()
        if self.at < len(self.text) and self.text[self.at] == ")":
            raise self._error("nothing between these parentheses", at=begin, width=self.at - begin + 1)
        node = self._either(depth + 1, field)
        if self.at >= len(self.text):
            raise self._error("this parenthesis is never closed", at=begin)
        self.at += 1
        self._blanks()
        return node

    def _value(self, field: str | None) -> Node:
        begin = self.at
        if self.text[self.at] == '"':
            value = self._quoted()
            node = self._leaf(field, value, begin, quoted=True)
        else:
            found = _BARE.match(self.text, self.at)
            assert found is not None
            self.at = found.end()
            node = self._leaf(field, found[0], begin, quoted=False)
        self._blanks()
        return node

    def _quoted(self) -> str:
        begin = self.at
        self.at += 1
        kept: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\" and self.text[self.at + 1 : self.at + 2] in {'"', "\\"}:
                kept.append(self.text[self.at + 1])
                self.at += 2
                continue
            self.at += 1
            if char == '"':
                return "".join(kept)
            kept.append(char)
        raise self._error("this quotation is never closed", at=begin)

    def _leaf(self, field: str | None, value: str, begin: int, *, quoted: bool) -> Node:
        width = self.at - begin
        name = _ALIASES.get(field, field) if field is not None else None
        if name is None or name in _TEXTS:
            text = _TEXTS[name] if name is not None else None
            return self._words(text, value, begin, width, quoted=quoted)
        if not quoted and value[0] in "<>":
            return self._compare(name, value, begin, width)
        column = name if name in KEYWORDS or name == "latency_ms" else "fields." + name.removeprefix("fields.")
        if name in _LOWERED:
            value = value.lower()
        if column == "latency_ms":
            if value == "*" and not quoted:
                return Prefix(column, "")
            number = self._number(column, value, begin, width)
            return And((Compare(column, ">=", number), Compare(column, "<=", number)))
        if not quoted and value.endswith("*"):
            return Prefix(column, value[:-1])
        return Term(column, value)

    def _words(
        self, name: Literal["message", "error_msg"] | None, value: str, begin: int, width: int, *, quoted: bool,
    ) -> Node:
        if not quoted and value == "*":
            return Everything() if name is None else Prefix(name, "")
        cut = words(value)
        if not cut:
            raise self._error("no letter or digit to search for", at=begin, width=width,
                              why="only letters and digits of messages are indexed")
        if not quoted and value.endswith("*"):
            last = WordPrefix(cut[-1], name)
            return last if len(cut) == 1 else And((Phrase(tuple(cut[:-1]), name), last))
        return Phrase(tuple(cut), name)

    def _compare(self, name: str, value: str, begin: int, width: int) -> Node:
        op = next(candidate for candidate in _OPS if value.startswith(candidate))
        if name in KEYWORDS and name != "status":
            raise self._error(f"{name} is not a number", at=begin, width=width, fix=f"write {name}:value")
        column = name if name in {"status", "latency_ms"} else "fields." + name.removeprefix("fields.")
        return Compare(column, op, self._number(column, value[len(op):], begin, width))

    def _number(self, name: str, value: str, begin: int, width: int) -> float:
        found = _NUMBER.fullmatch(value)
        unit = _UNITS_MS.get(found[2].lower()) if found is not None else None
        if found is None or unit is None or (found[2] and name != "latency_ms") or len(found[1]) > 40:
            example = "latency:>500 or latency:>2s" if name == "latency_ms" else f"{name}:>500"
            raise self._error("a number is wanted here", at=begin, width=width, fix=f"write for example {example}")
        return float(found[1]) * unit

    # ------------------------------------------------------------ small steps

    def _blanks(self) -> None:
        found = _BLANK.match(self.text, self.at)
        if found is not None:
            self.at = found.end()

    def _next_is(self, word: str) -> bool:
        end = self.at + len(word)
        return self.text.startswith(word, self.at) and (end == len(self.text) or self.text[end] in ' \t\n\r()"')

    def _word(self, word: str) -> bool:
        if not self._next_is(word):
            return False
        self.at += len(word)
        self._blanks()
        return True

    def _error(self, what: str, *, at: int | None = None, width: int = 1, why: str = "", fix: str = "") -> QueryError:
        shown = "".join(char if char.isprintable() else " " for char in self.text)
        column = (self.at if at is None else at) + 1
        return QueryError(Problem(what, column=column, width=width, source=shown, why=why, fix=fix))
