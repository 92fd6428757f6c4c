"""What every exporter is made of: a metrics table, collectors that fail alone, and one page of text as the answer.

An exporter is a module here with one ``@exporter(...)`` line over a function that builds its collectors from options.
A collector reads one source and writes samples on a `Page`. One that fails loses its own samples and shows
``exporter_success{collector} 0``; the scrape itself never fails. Collectors with `every_s` run in the background once
the exporter is started, so that a slow source does not make a scrape slow.
"""

import importlib
import logging
import math
import pkgutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from observe.errors import ObserveError, UsageError

log = logging.getLogger("observe.exporters")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of a metrics table. `unit` is a Prometheus base unit, or empty for plain counts."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()


SUCCESS: Final = Metric(
    "exporter_success", "gauge", "", "1 if the collector read its source, 0 if not.", ("collector",),
)
DURATION: Final = Metric(
    "exporter_duration_seconds", "gauge", "seconds", "Time that the collector's last reading took.", ("collector",),
)


class NoData(ObserveError):
    """The source is not on this machine, or has nothing to say yet: success 0, and no noise in the log."""


class Page:
    """Samples of one answer, in the order of the metrics tables. A label set that comes twice keeps the last value."""

    def __init__(self) -> None:
        self._rows: dict[Metric, dict[tuple[str, tuple[str, ...]], float]] = {}

    def add(self, metric: Metric, value: float | None, *labels: str) -> None:
        """One sample. `None` is a value that the source does not give: it stays absent."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, but was given {labels}")
        if value is not None:
            if not isinstance(value, int | float):
                raise TypeError(f"{metric.name} was given {value!r}, which is not a number")
            self._rows.setdefault(metric, {})["", labels] = value

    def histogram(
        self, metric: Metric, bounds: Sequence[float], counts: Sequence[int], total: float, *labels: str,
    ) -> None:
        """Buckets of one histogram: `counts` are per bucket, one more than `bounds` (the last is above all)."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, but was given {labels}")
        rows = self._rows.setdefault(metric, {})
        running = 0
        for bound, count in zip((*bounds, math.inf), counts, strict=True):
            running += count
            rows["_bucket", (*labels, _number(bound))] = running
        rows["_sum", labels] = total
        rows["_count", labels] = running

    def cumulative(
        self, metric: Metric, buckets: Mapping[float, float], total: float, count: float, *labels: str,
    ) -> None:
        """A histogram that is known by its cumulative buckets: upper bound -> count."""
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, but was given {labels}")
        rows = self._rows.setdefault(metric, {})
        for bound in sorted(buckets):
            rows["_bucket", (*labels, _number(bound))] = buckets[bound]
        rows["_bucket", (*labels, "+Inf")] = count
        rows["_sum", labels] = total
        rows["_count", labels] = count

    def merge(self, other: "Page") -> None:
        for metric, rows in other._rows.items():  # noqa: SLF001 - of its own class
            self._rows.setdefault(metric, {}).update(rows)

    def samples(self) -> Iterator[tuple[Metric, str, dict[str, str], float]]:
        """(metric, suffix of its name, labels, value) of every sample."""
        for metric, rows in self._rows.items():
            for (suffix, values), value in rows.items():
                names = (*metric.labels, "le") if suffix == "_bucket" else metric.labels
                yield metric, suffix, dict(zip(names, values, strict=True)), value

    def text(self) -> bytes:
        """The page in Prometheus' text format 0.0.4."""
        parts: list[str] = []
        for metric, rows in self._rows.items():
            explained = metric.help.replace("\\", r"\\").replace("\n", r"\n")
            parts.append(f"# HELP {metric.name} {explained}\n# TYPE {metric.name} {metric.kind}\n")
            for (suffix, values), value in rows.items():
                names = (*metric.labels, "le") if suffix == "_bucket" else metric.labels
                inner = ",".join([f'{name}="{_escape(text)}"' for name, text in zip(names, values, strict=True)])
                parts.append(f"{metric.name}{suffix}{{{inner}}} {_number(value)}\n" if inner
                             else f"{metric.name}{suffix} {_number(value)}\n")
        return "".join(parts).encode("utf-8", "replace")


def _escape(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return text


def _number(value: float) -> str:
    """A value as the text format writes it: whole numbers without a point."""
    if isinstance(value, int):
        return str(int(value))  # True is 1 here
    if value != value:  # noqa: PLR0124 - NaN is the number that differs from itself
        return "NaN"
    if value in {math.inf, -math.inf}:
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@dataclass(frozen=True, slots=True)
class Collector:
    """One source: its name in ``exporter_success``, its metrics table, and how to read it once."""

    name: str
    metrics: tuple[Metric, ...]
    collect: Callable[[Page], None]
    every_s: float | None = None
    """None: read on each scrape. Else: read in the background this often, and scrapes show the last reading."""
    close: Callable[[], None] | None = None


@dataclass(slots=True)
class _Reading:
    """What a collector last said."""

    page: Page = field(default_factory=Page)
    succeeded: bool = False
    seconds: float = 0.0
    at: float = -math.inf


class Exporter:
    """The collectors of one exporter behind one `exposition()`. Safe from any thread.

    Without `start`, every collector is read on each call; with it, the slow ones are read in the background. Use as a
    context manager, or call `close`.
    """

    STALE_INTERVALS: Final = 5
    """A background reading older than this many intervals is no longer shown."""
    FIRST_ROUND_S: Final = 3.0
    """From the start on, scrapes wait so long for sources that have not answered at all yet: for all together."""

    CLOSE_S: Final = 2.0
    """`close` waits so long for its readers, all together; one that hangs ends with the process."""

    def __init__(
        self, name: str, collectors: Sequence[Collector], timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.collectors = tuple(collectors)
        self._timer = timer
        self._locks = {collector.name: threading.Lock() for collector in self.collectors}
        self._answered = {collector.name: threading.Event() for collector in self.collectors}
        self._readings: dict[str, _Reading] = {}
        self._complaints = {collector.name: "" for collector in self.collectors}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wait_until = -math.inf

    def start(self) -> Self:
        """Begin to read the slow sources in the background. Calling it again does nothing."""
        if not self._threads:
            self._wait_until = time.monotonic() + self.FIRST_ROUND_S
            for collector in self.collectors:
                if collector.every_s is not None:
                    thread = threading.Thread(
                        target=self._run, args=(collector, collector.every_s), name=f"export {collector.name}",
                        daemon=True,
                    )
                    self._threads.append(thread)
                    thread.start()
        return self

    def close(self) -> None:
        """Stop the background readers and let collectors give back what they hold."""
        self._stop.set()
        until = time.monotonic() + self.CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for collector in self.collectors:
            if collector.close is not None:
                collector.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def exposition(self) -> bytes:
        """The answer to a scrape, in text format 0.0.4."""
        return self.page().text()

    def page(self) -> Page:
        """The samples of all collectors, with ``exporter_success`` and ``exporter_duration_seconds`` at the end."""
        readings = self._current()
        page = Page()
        for reading in readings:
            page.merge(reading.page)
        for collector, reading in zip(self.collectors, readings, strict=True):
            page.add(SUCCESS, int(reading.succeeded), collector.name)
        for collector, reading in zip(self.collectors, readings, strict=True):
            page.add(DURATION, reading.seconds, collector.name)
        return page

    def _current(self) -> list[_Reading]:
        if self._threads:
            return [self._last(one) if one.every_s is not None else self._read(one) for one in self.collectors]
        slow = [one for one in self.collectors if one.every_s is not None]
        if len(slow) < 2:
            return [self._read(one) for one in self.collectors]
        # Not started (--once): slow sources are asked side by side, so that one which hangs costs its own time only.
        with ThreadPoolExecutor(max_workers=min(16, len(slow))) as pool:
            return list(pool.map(self._read, self.collectors))

    def _last(self, collector: Collector) -> _Reading:
        reading = self._readings.get(collector.name)
        limit = self.STALE_INTERVALS * max(1.0, collector.every_s or 0.0)
        if reading is None:  # the first scrape came before the first round ended
            self._answered[collector.name].wait(max(0.0, self._wait_until - time.monotonic()))
            reading = self._readings.get(collector.name, _Reading())
        if self._timer() - reading.at > limit:
            return _Reading(seconds=reading.seconds)  # it hangs: its numbers are no longer true
        return reading

    def _run(self, collector: Collector, every_s: float) -> None:
        while not self._stop.is_set():
            self._read(collector)
            self._stop.wait(every_s)

    def _read(self, collector: Collector) -> _Reading:
        with self._locks[collector.name]:
            page, began = Page(), self._timer()
            problem = ""
            try:
                collector.collect(page)
            except NoData as error:
                log.debug("%s: %s", collector.name, error)
                problem = str(error)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                if isinstance(error, ModuleNotFoundError):
                    problem += "; pip install 'observe-stack[exporters]'"
                if self._complaints.get(collector.name) != problem:  # once for each new cause, not once a scrape
                    log.warning("collector %s failed: %s", collector.name, problem)
            self._complaints[collector.name] = problem
            ended = self._timer()
            reading = _Reading(Page() if problem else page, not problem, ended - began, ended)
            self._readings[collector.name] = reading
            self._answered[collector.name].set()
            return reading

    def problems(self) -> dict[str, str]:
        """Why each failing collector failed last time, by its name."""
        return {name: problem for name, problem in self._complaints.items() if problem}


@dataclass(frozen=True, slots=True)
class Option:
    """One option of an exporter: ``--NAME VALUE`` on the command line, ``NAME: VALUE`` in observe.yml.

    A default of "false" makes it a switch. `check` raises ValueError with the reason for a value that cannot be used.
    """

    name: str
    default: str
    help: str
    check: Callable[[str], object] = str

    @property
    def is_switch(self) -> bool:
        return self.default == "false"


Build = Callable[[Mapping[str, str]], Sequence[Collector]]


@dataclass(frozen=True, slots=True)
class Registration:
    """What ``@exporter`` remembers."""

    name: str
    summary: str
    options: tuple[Option, ...]
    port: int
    build: Build


_registered: dict[str, Registration] = {}


def exporter(name: str, *, summary: str, port: int, options: Sequence[Option] = ()) -> Callable[[Build], Build]:
    """Make the function under it the exporter `name`; it must stand in the module of that name."""

    def register(build: Build) -> Build:
        _registered[name] = Registration(name, summary, tuple(options), port, build)
        return build

    return register


def registrations() -> list[Registration]:
    """Every exporter there is, by name."""
    import observe.exporters as package

    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"observe.exporters.{found.name}")
    return [_registered[name] for name in sorted(_registered)]


def names() -> list[str]:
    """The names that `create` knows."""
    return [one.name for one in registrations()]


def registration(name: str) -> Registration:
    """The exporter `name`. Raises UsageError with the known names."""
    known = {one.name: one for one in registrations()}
    if name not in known:
        raise UsageError(f"there is no exporter {name!r}; known are: {', '.join(known)}")
    return known[name]


def create(
    name: str, options: Mapping[str, str] | None = None, *, timer: Callable[[], float] = time.monotonic,
) -> Exporter:
    """The exporter `name` with `options` (all text, as typed). Nothing runs before `start` or `exposition`.

    Raises UsageError for an unknown name, an unknown option, or a value that cannot be used.
    """
    found = registration(name)
    return Exporter(name, found.build(checked_options(found, options or {})), timer)


def checked_options(found: Registration, given: Mapping[str, str]) -> dict[str, str]:
    """`given` over the defaults. Raises UsageError that names the option and, for an unknown one, the known ones."""
    known = {option.name: option for option in found.options}
    for key in given:
        if key not in known:
            raise UsageError(f"exporter {found.name} has no option {key!r}; known are: {', '.join(known) or 'none'}")
    values = {option.name: given.get(option.name, option.default) for option in found.options}
    for key, value in values.items():
        try:
            known[key].check(value)
        except (ValueError, OSError) as error:
            raise UsageError(f"exporter {found.name}: option {key}: {error}") from error
        if known[key].is_switch and value not in {"true", "false"}:
            raise UsageError(f"exporter {found.name}: option {key} is true or false, not {value!r}")
    return values


def seconds(text: str) -> float:
    """A positive number of seconds, for `Option.check`."""
    value = float(text)
    if not (0 < value < math.inf):
        raise ValueError(f"{text!r} is not a positive number of seconds")
    return value


def listed(text: str) -> list[str]:
    """The words of a comma-separated option."""
    return [word.strip() for word in text.split(",") if word.strip()]


def names_of(metrics: Iterable[Metric]) -> list[str]:
    return [metric.name for metric in metrics]
