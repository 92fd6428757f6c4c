"""An existing prometheus.yml: its scrape jobs and rule files, as they are.

`read_prometheus_config` reports every problem at once, with its line, and lists what the file asks for that `observe`
does not do. Unknown keys are errors as in Prometheus; known ones without support are `unsupported`, and the rest runs.
"""

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from observe import yaml_file
from observe.collect.config_secrets import without_secrets
from observe.collect.job_config import JobReader
from observe.collect.scrape_job import ScrapeJob
from observe.errors import ConfigError, InvalidInput, Problem
from observe.yaml_file import Location, YamlFile

_SECTIONS: Final = {
    "remote_write": "samples are not sent on; `attach` in observe.yml sends bands",
    "remote_read": "only what is stored here is read",
    "alerting": "alerts are delivered as observe.yml says (`notify`, `attach`)",
    "storage": "see `storage` in observe.yml",
    "tracing": "observe traces itself",
    "otlp": "OTLP metrics are not received",
    "runtime": "",
}
_GLOBAL: Final = {"scrape_interval", "scrape_timeout", "evaluation_interval", "external_labels", "query_log_file",
                  "rule_query_offset", "scrape_protocols", "body_size_limit", "sample_limit", "label_limit",
                  "label_name_length_limit", "label_value_length_limit", "target_limit", "keep_dropped_targets",
                  "scrape_failure_log_file", "metric_name_validation_scheme", "metric_name_escaping_scheme",
                  "always_scrape_classic_histograms", "convert_classic_histograms_to_nhcb", "scrape_native_histograms",
                  "extra_scrape_metrics"}
_UNSUPPORTED_GLOBAL: Final = {
    "query_log_file": "slow queries are in the server's own log and traces",
    "rule_query_offset": "write `query_offset` into the rule groups", "scrape_native_histograms": "",
    "always_scrape_classic_histograms": "", "convert_classic_histograms_to_nhcb": "", "extra_scrape_metrics": "",
}
_VARIABLE = re.compile(r"\$(?:(\$)|\{([^}]*)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """What of a prometheus.yml is run."""

    path: str
    jobs: tuple[ScrapeJob, ...]
    rule_files: tuple[str, ...]
    """Paths and globs, absolute; a glob has files."""
    evaluation_interval_ms: int
    external_labels: Mapping[str, str]
    unsupported: tuple[Problem, ...]
    """What is asked for and not done, and what may not be meant."""
    text: str = ""
    """The file as YAML, secrets masked."""


def read_prometheus_config(path: Path) -> PrometheusConfig:
    """Read and check the file, and those with more scrape jobs. Raises `ConfigError` with every problem."""
    return _Reader(_yaml(path), path.resolve().parent).read()


def _yaml(path: Path) -> YamlFile:
    try:
        return yaml_file.read(path)
    except InvalidInput as error:
        raise ConfigError(error.problems) from error


class _Reader(JobReader):
    """Reads the sections one after the other."""

    def read(self) -> PrometheusConfig:
        data = self.mapping(self.source.data, ())
        for key in data:
            if key in _SECTIONS:
                self.note((key,), f"`{key}`", _SECTIONS[key])
            elif key not in {"global", "rule_files", "scrape_configs", "scrape_config_files"}:
                self.wrong((key,), f"unknown key `{key}`", fix="see Prometheus' configuration reference", key=True)
        self._read_global(self.mapping(data.get("global"), ("global",)))
        jobs = list(self._jobs(self))
        for reader in self._more_jobs(data.get("scrape_config_files")):
            jobs.extend(self._jobs(reader, jobs))
            self.problems.extend(reader.problems)
            self.unsupported.extend(reader.unsupported)
        rules = tuple(self._rule_files(data.get("rule_files")))
        evaluation_ms = self.duration(self.defaults, "evaluation_interval", ("global",), 60_000)
        external = self._external_labels(self.defaults.get("external_labels"))
        if self.problems:
            raise ConfigError(self.problems)
        shown = yaml.safe_dump(without_secrets(self.source.data), sort_keys=False) if data else ""
        return PrometheusConfig(self.source.name, tuple(jobs), rules, evaluation_ms, external,
                                tuple(self.unsupported), shown)

    def _read_global(self, said: Mapping[str, Any]) -> None:
        for key in said:
            if key not in _GLOBAL:
                self.wrong(("global", key), f"unknown key `{key}` under `global`", key=True)
            elif key in _UNSUPPORTED_GLOBAL and said[key] not in {False, ""}:
                self.note(("global", key), f"`{key}`", _UNSUPPORTED_GLOBAL[key])
        self.check_scheme(said, ("global",))
        self.defaults = said
        self.interval_ms = self.duration(said, "scrape_interval", ("global",), 60_000)
        self.timeout_ms = self.duration(said, "scrape_timeout", ("global",), 10_000)

    def _jobs(self, reader: JobReader, before: Iterable[ScrapeJob] = ()) -> list[ScrapeJob]:
        """The jobs of one file, after those of others."""
        jobs: list[ScrapeJob] = []
        names = {job.name for job in before}
        listed = reader.mapping(reader.source.data, ()).get("scrape_configs")
        for number, raw in enumerate(reader.items(listed, ("scrape_configs",))):
            job = reader.job(reader.mapping(raw, ("scrape_configs", number)), ("scrape_configs", number))
            if job.name in names:
                reader.wrong(("scrape_configs", number, "job_name"), f"two jobs are called `{job.name}`",
                             why="their series could not be told apart", fix="give one of them another name")
            names.add(job.name)
            jobs.append(job)
        return jobs

    def _more_jobs(self, raw: Any) -> list[JobReader]:
        """A reader for each of the `scrape_config_files`."""
        readers = []
        for place, pattern in enumerate(self.items(raw, ("scrape_config_files",))):
            for name in self._found(str(pattern), ("scrape_config_files", place)):
                try:
                    source = yaml_file.read(Path(name))
                except InvalidInput as error:
                    self.problems.extend(error.problems)
                    continue
                reader = JobReader(source, Path(name).resolve().parent)
                reader.defaults, reader.interval_ms, reader.timeout_ms = (
                    self.defaults, self.interval_ms, self.timeout_ms)
                for key in reader.mapping(source.data, ()):
                    if key != "scrape_configs":
                        reader.wrong((key,), f"unknown key `{key}`", fix="only `scrape_configs` stands here", key=True)
                readers.append(reader)
        return readers

    def _rule_files(self, raw: Any) -> list[str]:
        """Those to load. As in Prometheus a glob may wait for its first file; a name that is not there is wrong."""
        patterns = []
        for place, pattern in enumerate(self.items(raw, ("rule_files",))):
            path = str(self.folder / str(pattern))
            if not glob.has_magic(path) or self._found(str(pattern), ("rule_files", place)):
                patterns.append(path)
        return patterns

    def _found(self, pattern: str, at: Location) -> list[str]:
        names = sorted(glob.glob(str(self.folder / pattern)))  # noqa: PTH207 - a pattern may be absolute
        if not names:
            self.remark(at, f"no file matches `{pattern}`", "it is looked for again at the next reload")
        return names

    def _external_labels(self, raw: Any) -> dict[str, str]:
        """With the environment's variables in them, as `$NAME` or `${NAME}`; `$$` is a dollar sign."""
        at = ("global", "external_labels")
        labels = self.labels(raw, at)
        for label, text in labels.items():
            for _, braced, bare in _VARIABLE.findall(text):
                if (braced or bare) and not os.environ.get(braced or bare):
                    self.remark((*at, label), f"the environment has no variable `{braced or bare}`",
                                f"label `{label}` goes without it")
        filled = {
            label: _VARIABLE.sub(lambda one: one[1] or os.environ.get(one[2] or one[3] or "", ""), text)
            for label, text in labels.items()
        }
        return {label: text for label, text in filled.items() if text}
