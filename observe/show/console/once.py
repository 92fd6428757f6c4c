"""Asked once a page: a page with twenty alerts looks up their rules twenty times, but the book is read once."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from observe.model import Alert
from observe.protocols import AlertBook, ExplainedBand, OddSeries, RuleStatus

R = TypeVar("R")

_ANSWERS: ContextVar[dict[str, Any] | None] = ContextVar("observe_show_answers", default=None)


def one_page(build: Callable[[], R]) -> R:
    """Call `build`; what it asks a `BookOfOnePage` is answered once."""
    token = _ANSWERS.set({})
    try:
        return build()
    finally:
        _ANSWERS.reset(token)


class BookOfOnePage:
    """An `AlertBook` that remembers its answers while one page is built."""

    def __init__(self, book: AlertBook) -> None:
        self._book = book

    def rules(self) -> list[RuleStatus]:
        return _once("rules", self._book.rules)

    def active(self) -> list[Alert]:
        return _once("active", self._book.active)

    def odd(self) -> list[OddSeries]:
        return self._book.odd()

    def explain(self, rule: str, labels: Mapping[str, str], limit: int = 5) -> list[ExplainedBand]:
        return self._book.explain(rule, labels, limit)

    def explain_alert(self, alert: Alert, say: Callable[[float], str] | None = None) -> tuple[str, ...]:
        return self._book.explain_alert(alert, say)

    def history(self, since_ms: int, fingerprint: str | None = None, limit: int = 200) -> list[Alert]:
        return self._book.history(since_ms, fingerprint, limit)


def _once(name: str, ask: Callable[[], R]) -> R:
    answers = _ANSWERS.get()
    if answers is None:
        return ask()
    if name not in answers:
        answers[name] = ask()
    answer: R = answers[name]
    return answer
