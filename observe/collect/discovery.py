"""From scrape jobs to targets: static groups and files of groups, relabelled; again whenever a file changes."""

import asyncio
import glob
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from observe import yaml_file
from observe.collect.relabel import relabelled
from observe.collect.scrape import Scraper
from observe.collect.scrape_job import ScrapeJob, StaticGroup
from observe.collect.target import Target
from observe.duration import format_duration, parse_duration_ms
from observe.errors import InvalidInput
from observe.model import Labels
from observe.telemetry import Telemetry

LOOK_EVERY_S: Final = 5.0
_log = logging.getLogger(__name__)


class TargetBook:
    """The targets of some jobs. `refresh` reads the files that changed; a broken one keeps what it said last."""

    def __init__(self, jobs: Sequence[ScrapeJob], telemetry: Telemetry) -> None:
        self._jobs = tuple(jobs)
        self._telemetry = telemetry
        self._files: dict[str, tuple[tuple[int, int, int], tuple[StaticGroup, ...]]] = {}
        self.problems: list[str] = []
        """What is wrong with files now; also counted when they are read."""
        self.dropped: tuple[tuple[str, Labels], ...] = ()
        """Job and discovered labels of what relabelling dropped."""
        self.refresh()

    def refresh(self) -> bool:
        """Read new and changed files. True: the targets may be others now."""
        before = dict(self._files)
        names = {
            name for job in self._jobs for one in job.files for pattern in one.patterns
            for name in glob.glob(pattern)  # noqa: PTH207 - a pattern may be absolute
        }
        self.problems = [problem for problem in self.problems if problem.partition(":")[0] in names]
        for gone in self._files.keys() - names:
            del self._files[gone]
        for name in sorted(names):
            self._read(name)
        return {name: seen[1] for name, seen in before.items()} != {name: seen[1] for name, seen in self._files.items()}

    def targets(self) -> list[Target]:
        """Every target, relabelled; the same one found twice counts once."""
        found: dict[tuple[str, str, Labels], Target] = {}
        dropped: list[tuple[str, Labels]] = []
        for job in self._jobs:
            groups = list(job.static)
            for discovery in job.files:
                for pattern in discovery.patterns:
                    for name in sorted(glob.glob(pattern)):  # noqa: PTH207 - a pattern may be absolute
                        groups.extend(self._files[name][1] if name in self._files else ())
            made = [target for group in groups for target in _targets_of(job, group, dropped)]
            limit = job.limits.get("target_limit", 0)
            if limit and len(made) > limit:
                self._telemetry.dropped("discovery", "target limit", len(made))
                continue
            found.update({target.key: target for target in made})
        self.dropped = tuple(dropped)
        return list(found.values())

    def _read(self, name: str) -> None:
        try:
            status = Path(name).stat()
            seen = status.st_mtime_ns, status.st_ino, status.st_size
            if name in self._files and self._files[name][0] == seen:
                return
            groups = tuple(read_groups(Path(name)))
        except (OSError, ValueError, InvalidInput) as error:
            problem = f"{name}: {error}"
            if problem not in self.problems:
                self.problems = [one for one in self.problems if one.partition(":")[0] != name] + [problem]
                self._telemetry.dropped("discovery", "unreadable file")
                _log.warning("a file of targets cannot be read, those it named before stay: %s", problem)
            return
        self.problems = [one for one in self.problems if one.partition(":")[0] != name]
        self._files[name] = seen, groups


def _targets_of(job: ScrapeJob, group: StaticGroup, dropped: list[tuple[str, Labels]]) -> list[Target]:
    made = []
    for address in group.targets:
        target = make_target(job, address, group)
        if target is None:
            dropped.append((job.name, Labels(_discovered(job, address, group))))
        else:
            made.append(target)
    return made


def read_groups(path: Path) -> list[StaticGroup]:
    """The groups in a file of service discovery, JSON or YAML. Raises ValueError or InvalidInput."""
    if path.suffix == ".json":
        data: Any = json.loads(path.read_bytes())
    else:
        data = yaml_file.read(path).data
    groups = []
    for raw in data or []:
        if not isinstance(raw, Mapping) or raw.keys() - {"targets", "labels"}:
            raise ValueError("a list of {targets: [...], labels: {...}} is wanted")
        targets, labels = raw.get("targets") or [], raw.get("labels") or {}
        if not isinstance(targets, list) or not isinstance(labels, Mapping):
            raise ValueError("`targets` is a list of addresses, `labels` a mapping")  # noqa: TRY004 - of the file
        named = {str(name): str(value) for name, value in labels.items()}
        groups.append(StaticGroup(tuple(map(str, targets)), named, str(path)))
    return groups


def _discovered(job: ScrapeJob, address: str, group: StaticGroup) -> dict[str, str]:
    """Labels before relabelling."""
    return {
        "job": job.name, "__address__": address, "__scheme__": job.scheme, "__metrics_path__": job.metrics_path,
        "__scrape_interval__": format_duration(job.interval_ms), "__scrape_timeout__": format_duration(job.timeout_ms),
        **({"__meta_filepath": group.source} if group.source else {}),
        **group.labels,
        **{f"__param_{name}": values[0] for name, values in job.params.items() if values},
    }


def make_target(job: ScrapeJob, address: str, group: StaticGroup) -> Target | None:
    """One address, relabelled as its job says; None where relabelling drops it."""
    discovered = _discovered(job, address, group)
    labels = relabelled(dict(discovered), job.relabel)
    if labels is None or not labels.get("__address__"):
        return None
    params = {name: list(values) for name, values in job.params.items()}
    for name, value in labels.items():
        if name.startswith("__param_"):
            params[name[8:]] = [value, *params.get(name[8:], [])[1:]]
    query = urlencode(sorted((name, value) for name, values in params.items() for value in values))
    path = labels.get("__metrics_path__", "/")
    url = f"{labels.get('__scheme__', 'http')}://{labels['__address__']}{path if path.startswith('/') else '/' + path}"
    interval_ms, wrong_interval = _span_ms(labels, "__scrape_interval__", job.interval_ms)
    timeout_ms, wrong_timeout = _span_ms(labels, "__scrape_timeout__", job.timeout_ms)
    named = {name: value for name, value in labels.items() if not name.startswith("__")}
    named.setdefault("instance", labels["__address__"])
    limits = job.limits
    return Target(
        job.name, f"{url}?{query}" if query else url, Labels(named), interval_ms=interval_ms,
        timeout_ms=min(timeout_ms, interval_ms), honor_labels=job.honor_labels, honor_timestamps=job.honor_timestamps,
        body_size_limit=job.body_size_limit, sample_limit=limits.get("sample_limit", 0),
        label_limit=limits.get("label_limit", 0), label_name_length_limit=limits.get("label_name_length_limit", 0),
        label_value_length_limit=limits.get("label_value_length_limit", 0), metric_relabel=job.metric_relabel,
        credentials=job.credentials, tls=job.tls, headers=job.headers, openmetrics=job.openmetrics,
        follow_redirects=job.follow_redirects, wrong=wrong_interval or wrong_timeout, discovered=Labels(discovered),
    )


def _span_ms(labels: Mapping[str, str], name: str, otherwise_ms: int) -> tuple[int, str]:
    """What a label says that relabelling may have changed, and what is wrong with it."""
    text = labels.get(name, "")
    try:
        span_ms = parse_duration_ms(text) if text else 0
    except ValueError as error:
        return otherwise_ms, f"relabelling made the label {name} wrong: {error}"
    if span_ms <= 0:
        return otherwise_ms, f"relabelling made the label {name} wrong: {text!r} is no time to wait; write it as 15s"
    return span_ms, ""


async def follow(
    book: TargetBook, scraper: Scraper, others: Sequence[Target], stop: asyncio.Event, every_s: float = LOOK_EVERY_S,
) -> None:
    """Keep the scraper's targets those of the book (and `others`) until `stop`."""
    loop = asyncio.get_running_loop()
    scraper.set_targets([*others, *await loop.run_in_executor(None, book.targets)])
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), every_s)
        except TimeoutError:
            if await loop.run_in_executor(None, book.refresh):
                scraper.set_targets([*others, *await loop.run_in_executor(None, book.targets)])
