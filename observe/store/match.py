"""Does one line match a search? For live tails, where nothing is indexed yet; and the yardstick of both stores."""

import math

from observe.model import LogRecord
from observe.store.language import And, Compare, Everything, Node, Not, Or, Phrase, Prefix, Term, WordPrefix
from observe.store.words import VALUE_CHARS, leaf_text, leaves, number_of, words


def matches(node: Node, record: LogRecord) -> bool:
    match node:
        case Everything():
            return True
        case And(nodes):
            return all(matches(inner, record) for inner in nodes)
        case Or(nodes):
            return any(matches(inner, record) for inner in nodes)
        case Not(inner):
            return not matches(inner, record)
        case Phrase(wanted, text):
            return any(_in_order(wanted, words(found)) for found in _texts(record, text))
        case WordPrefix(prefix, text):
            return any(word.startswith(prefix) for found in _texts(record, text) for word in words(found))
        case Prefix("message" | "error_msg" as text, _):
            return any(words(found) for found in _texts(record, text))
        case Prefix("latency_ms", _):
            return bool(_numbers(record, "latency_ms"))
        case Term(name, value):
            return value in _values(record, name)
        case Prefix(("service" | "level") as name, ""):
            return _values(record, name) != [""]
        case Prefix(name, value):
            return any(found.startswith(value) for found in _values(record, name))
        case Compare(name, op, number):
            return any(_compare(found, op, number) for found in _numbers(record, name))


def _texts(record: LogRecord, text: str | None) -> list[str]:
    both = {"message": record.message, "error_msg": record.error_msg or ""}
    return [both[text]] if text is not None else list(both.values())


def _in_order(wanted: tuple[str, ...], found: list[str]) -> bool:
    return any(tuple(found[at : at + len(wanted)]) == wanted for at in range(len(found) - len(wanted) + 1))


def _values(record: LogRecord, name: str) -> list[str]:
    if not name.startswith("fields."):
        value = getattr(record, name)
        there = name in {"service", "level"} or value
        return [value] if there and len(value) <= VALUE_CHARS else []
    texts = (leaf_text(leaf) for path, leaf in leaves(record.fields) if f"fields.{path}" == name)
    return [text for text in texts if len(text) <= VALUE_CHARS]


def _numbers(record: LogRecord, name: str) -> list[float]:
    if name == "latency_ms":
        numbers = [record.latency_ms if record.latency_ms is not None and math.isfinite(record.latency_ms) else None]
    elif name == "status":
        numbers = [number_of(record.status)]
    else:
        numbers = [number_of(leaf) for path, leaf in leaves(record.fields) if f"fields.{path}" == name]
    return [number for number in numbers if number is not None]


def _compare(found: float, op: str, number: float) -> bool:
    return {">": found > number, ">=": found >= number, "<": found < number, "<=": found <= number}[op]
