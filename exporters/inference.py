"""Inference servers (vLLM, SGLang, Triton, OpenTelemetry's gen_ai) under one naming: one rule, one board for all."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

from observe.errors import MalformedData
from observe.exporters.collectors import Collector, NoData
from observe.exporters.fetch import check_url, get
from observe.exporters.inference_names import (
    ALIASES,
    COPY_LABELS,
    METRICS,
    MODEL_LABELS,
    PREFIXES,
    RANK_LABELS,
    RESPONSES,
    Alias,
)
from observe.exporters.page import Page
from observe.exporters.registry import Option, exporter, listed, seconds
from observe.exporters.secret import read_secret

MAX_SERIES: Final = 2000
"""Label sets of one of our metrics; more than that is not a number of models."""

_ENDING: Final = {"value": "", "sum": "_sum", "count": "_count"}

Rows = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
"""Sample name -> (labels, value) of each of its samples."""


@dataclass(slots=True)
class _Sums:
    """What falls together on one label set of ours."""

    value: float | None = None
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))
    total: float = 0.0
    count: float = 0.0


def parse(text: str) -> Rows:
    """The samples of an exposition by name. Raises MalformedData."""
    from prometheus_client.parser import text_string_to_metric_families

    rows: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                rows[sample.name].append((sample.labels, sample.value))
    except (ValueError, IndexError, KeyError) as error:
        raise MalformedData(f"this is not the text format of metrics: {error}") from error
    return rows


def normalise(rows: Rows, server: str, page: Page) -> int:
    """Write what is known among `rows`; returns how many series it gave."""
    engines = {engine for engine, prefix in PREFIXES.items() if any(name.startswith(prefix) for name in rows)}
    taken: set[tuple[str, ...]] = set()
    for alias in ALIASES:
        if alias.engine in engines:
            # Rows for one metric are alternatives, newest first, for each model; with a label of its own, parts.
            fresh = {
                key: sums for key, sums in _bounded(_gather(alias, rows), page).items()
                if alias.has_extra or (alias.engine, alias.ours.name, *key) not in taken
            }
            taken |= {(alias.engine, alias.ours.name, *key) for key in fresh}
            _write(alias, fresh, server, page)
    return len(taken)


def _gather(alias: Alias, rows: Rows) -> dict[tuple[str, ...], _Sums]:
    """What `alias` finds, by (model, rank) and our extra label."""
    found: dict[tuple[str, ...], _Sums] = defaultdict(_Sums)

    def matching(name: str) -> Sequence[tuple[Mapping[str, str], float]]:
        # The client's parser gives counters the ending that OpenMetrics wants, whatever they are called.
        return _without_copies([
            (labels, value) for labels, value in rows.get(name) or rows.get(f"{name}_total") or ()
            if not math.isnan(value) and all(labels.get(label) == wanted for label, wanted in alias.where.items())
            and (not alias.needs or labels.get(alias.needs))
        ])

    if alias.ours.kind != "histogram":
        for labels, value in matching(alias.theirs + _ENDING[alias.part]):
            sums = found[_key(alias, labels)]
            scaled = value * alias.scale
            if sums.value is None:
                sums.value = scaled
            else:
                sums.value = max(sums.value, scaled) if alias.combine == "max" else sums.value + scaled
    elif alias.count:
        for labels, value in matching(alias.theirs):
            found[_key(alias, labels)].total += value * alias.scale
        for name in alias.count:
            for labels, value in matching(name):
                if _key(alias, labels) in found:
                    found[_key(alias, labels)].count += value
    else:
        for labels, value in matching(alias.theirs + "_bucket"):
            bound = float(labels.get("le", "nan"))
            if math.isfinite(bound):
                found[_key(alias, labels)].buckets[bound * alias.scale] += value
        for labels, value in matching(alias.theirs + "_sum"):
            found[_key(alias, labels)].total += value * alias.scale
        for labels, value in matching(alias.theirs + "_count"):
            found[_key(alias, labels)].count += value
    return found


def _without_copies(
    found: Sequence[tuple[Mapping[str, str], float]],
) -> Sequence[tuple[Mapping[str, str], float]]:
    """Of the ranks that share one engine's requests, the first one's samples, for each model and engine."""
    if not any(label in labels for labels, _ in found for label in COPY_LABELS):
        return found
    first: dict[tuple[str, str], tuple[int, ...]] = {}
    copies = [(_whose(labels), _copy(labels)) for labels, _ in found]
    for whose, copy in copies:
        first[whose] = min(first.get(whose, copy), copy)
    return [sample for sample, (whose, copy) in zip(found, copies, strict=True) if copy == first[whose]]


def _copy(labels: Mapping[str, str]) -> tuple[int, ...]:
    words = [labels.get(label, "") for label in COPY_LABELS]
    return tuple(int(word) if word.isdecimal() else -1 for word in words)


def _bounded(found: dict[tuple[str, ...], _Sums], page: Page) -> dict[tuple[str, ...], _Sums]:
    page.leave_out(len(found) - MAX_SERIES)
    return dict(islice(found.items(), MAX_SERIES))


def _whose(labels: Mapping[str, str]) -> tuple[str, str]:
    """Model and rank."""
    model = next((labels[name] for name in MODEL_LABELS if labels.get(name)), "")
    return model, next((labels[name] for name in RANK_LABELS if labels.get(name)), "0")


def _key(alias: Alias, labels: Mapping[str, str]) -> tuple[str, ...]:
    model, rank = _whose(labels)
    if not alias.has_extra:
        return (model, rank)
    last = labels.get(alias.extra, "").lower() if alias.extra else ""
    if alias.ours is RESPONSES and last[:1].isdigit():
        last = f"{last[0]}xx"
    return (model, rank, last or alias.fixed or "unknown")


def _write(alias: Alias, found: Mapping[tuple[str, ...], _Sums], server: str, page: Page) -> None:
    for (model, rank, *extra), sums in found.items():
        labels = (server, alias.engine, model, rank, *extra)
        if alias.ours.kind == "histogram":
            page.cumulative(alias.ours, sums.buckets, sums.total, sums.count, *labels)
        else:
            page.add(alias.ours, sums.value, *labels)


def collect(name: str, url: str, options: Mapping[str, str], page: Page) -> None:
    """One server, asked once."""
    token = read_secret(options["token-file"], "OBSERVE_INFERENCE_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    rows = parse(get(url, float(options["timeout"]), headers).decode("utf-8", "replace"))
    if not normalise(rows, name, page):
        raise NoData(
            f"{url} answers with {len(rows)} metrics, of which none is an inference server's; "
            "SGLang needs --enable-metrics, Triton its metrics port (8002)",
        )


def targets(text: str) -> list[tuple[str, str]]:
    """Servers as ``NAME=URL,NAME=URL``; a URL alone is named by its host and port; no path means ``/metrics``.

    >>> targets("a=http://h:8000, http://g:8002/metrics")
    [('a', 'http://h:8000/metrics'), ('g:8002', 'http://g:8002/metrics')]
    """
    found = []
    for word in listed(text):
        name, equals, url = word.partition("=")
        if not equals or "://" in name:
            name, url = "", word
        check_url(url)
        host, slash, _ = url.partition("://")[2].partition("/")
        found.append((name.strip() or host.rpartition("@")[2], url if slash else f"{url}/metrics"))
    if not found:
        raise ValueError("no server is named, such as http://127.0.0.1:8000")
    if len({name for name, _ in found}) < len(found):
        raise ValueError("two servers have the same name; write NAME=URL")
    return found


@exporter("inference", port=9206, summary="inference servers under one naming: vLLM, SGLang, Triton, gen_ai", options=(
    Option("targets", "http://127.0.0.1:8000", "servers: NAME=URL,... or URLs; no path means /metrics", targets),
    Option("token-file", "", "file that holds a bearer token; or set OBSERVE_INFERENCE_TOKEN"),
    Option("timeout", "4", "seconds to wait for an answer", seconds),
    Option("interval", "5", "seconds between two readings", seconds),
))
def build(options: Mapping[str, str]) -> Sequence[Collector]:
    every_s = float(options["interval"])
    return [
        Collector(f"inference_{name}", METRICS, partial(collect, name, url, options), every_s)
        for name, url in targets(options["targets"])
    ]
