"""An existing prometheus.yml: its scrape jobs and rule files, as they are.

`read_prometheus_config` reports every problem at once, with its line, and lists what the file asks for that `observe`
does not do. Unknown keys are errors as in Prometheus; known ones without support are `unsupported`, and the rest runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from observe import yaml_file
from observe.collect.config_values import ConfigValues
from observe.collect.relabel import Relabel, read_relabel
from observe.collect.scrape_job import FileDiscovery, ScrapeJob, StaticGroup
from observe.collect.target import Credentials, Tls
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
    "scrape_config_files": "put the jobs into this file",
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
_LIMITS: Final = ("sample_limit", "label_limit", "label_name_length_limit", "label_value_length_limit", "target_limit")
_JOB: Final = {"job_name", "scrape_interval", "scrape_timeout", "metrics_path", "honor_labels", "honor_timestamps",
               "scheme", "params", "basic_auth", "authorization", "bearer_token", "bearer_token_file", "tls_config",
               "static_configs", "file_sd_configs", "relabel_configs", "metric_relabel_configs", "body_size_limit",
               "scrape_protocols", "follow_redirects", "http_headers", *_LIMITS}
_IGNORED: Final = {"enable_http2", "enable_compression", "keep_dropped_targets", "fallback_scrape_protocol",
                   "metric_name_validation_scheme", "metric_name_escaping_scheme", "scrape_failure_log_file"}
"""They change nothing that is stored here."""
_UNSUPPORTED_JOB: Final = {
    "oauth2": "targets are asked without a token", "proxy_url": "targets are asked directly", "no_proxy": "",
    "proxy_from_environment": "targets are asked directly", "proxy_connect_header": "",
    "track_timestamps_staleness": "series with timestamps of their own do not end by absence",
    "scrape_classic_histograms": "", "always_scrape_classic_histograms": "", "scrape_native_histograms": "",
    "convert_classic_histograms_to_nhcb": "", "native_histogram_bucket_limit": "",
    "native_histogram_min_bucket_factor": "", "extra_scrape_metrics": "",
}


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """What of a prometheus.yml is run."""

    path: str
    jobs: tuple[ScrapeJob, ...]
    rule_files: tuple[str, ...]
    """Paths and globs, absolute."""
    evaluation_interval_ms: int
    external_labels: Mapping[str, str]
    unsupported: tuple[Problem, ...]


def read_prometheus_config(path: Path) -> PrometheusConfig:
    """Read and check the file. Raises `ConfigError` with every problem."""
    try:
        source = yaml_file.read(path)
    except InvalidInput as error:
        raise ConfigError(error.problems) from error
    return _Reader(source, path.resolve().parent).read()


class _Reader(ConfigValues):
    """Reads the sections one after the other."""

    def __init__(self, source: YamlFile, folder: Path) -> None:
        super().__init__(source)
        self._folder = folder
        self._global: Mapping[str, Any] = {}
        self._interval_ms = self._timeout_ms = 0

    def read(self) -> PrometheusConfig:
        data = self.mapping(self.source.data, ())
        for key in data:
            if key in _SECTIONS:
                self.note((key,), f"`{key}`", _SECTIONS[key])
            elif key not in {"global", "rule_files", "scrape_configs"}:
                self.wrong((key,), f"unknown key `{key}`", fix="see Prometheus' configuration reference", key=True)
        self._global = self.mapping(data.get("global"), ("global",))
        for key in self._global:
            if key not in _GLOBAL:
                self.wrong(("global", key), f"unknown key `{key}` under `global`", key=True)
            elif key in _UNSUPPORTED_GLOBAL and self._global[key] not in {False, ""}:
                self.note(("global", key), f"`{key}`", _UNSUPPORTED_GLOBAL[key])
        self._interval_ms = self.duration(self._global, "scrape_interval", ("global",), 60_000)
        self._timeout_ms = self.duration(self._global, "scrape_timeout", ("global",), 10_000)
        jobs: list[ScrapeJob] = []
        for number, raw in enumerate(self.items(data.get("scrape_configs"), ("scrape_configs",))):
            job = self._job(self.mapping(raw, ("scrape_configs", number)), ("scrape_configs", number))
            if job.name in {other.name for other in jobs}:
                self.wrong(("scrape_configs", number, "job_name"), f"two jobs are called `{job.name}`",
                            why="their series could not be told apart", fix="give one of them another name")
            jobs.append(job)
        rules = tuple(str(self._folder / str(name)) for name in self.items(data.get("rule_files"), ("rule_files",)))
        evaluation_ms = self.duration(self._global, "evaluation_interval", ("global",), 60_000)
        external = self._labels(self._global.get("external_labels"), ("global", "external_labels"))
        if self.problems:
            raise ConfigError(self.problems)
        return PrometheusConfig(self.source.name, tuple(jobs), rules, evaluation_ms, external,
                                tuple(self.unsupported))

    def _job(self, raw: Mapping[str, Any], at: Location) -> ScrapeJob:
        for key in raw:
            if key.endswith("_sd_configs") and key != "file_sd_configs":
                self.note((*at, key), f"service discovery by `{key}`", "its targets are not scraped; list them in "
                           "`static_configs` or write them to a file of `file_sd_configs`")
            elif key in _UNSUPPORTED_JOB:
                if raw[key] not in {False, ""} if isinstance(raw[key], bool | int | str) else True:
                    self.note((*at, key), f"`{key}`", _UNSUPPORTED_JOB[key])
            elif key not in _JOB and key not in _IGNORED:
                self.wrong((*at, key), f"unknown key `{key}` of a scrape job", key=True)
        name = raw.get("job_name")
        if not isinstance(name, str) or not name:
            self.wrong(at, "a scrape job has no `job_name`", fix="add `job_name: NAME`")
            name = ""
        interval_ms = self.duration(raw, "scrape_interval", at, self._interval_ms)
        timeout_ms = self.duration(raw, "scrape_timeout", at, 0)
        if timeout_ms > interval_ms:
            self.wrong((*at, "scrape_timeout"), "`scrape_timeout` is longer than `scrape_interval`",
                        why="the next scrape would start before this one may end")
        timeout_ms = timeout_ms or min(self._timeout_ms, interval_ms)
        scheme = str(raw.get("scheme", "http"))
        if scheme not in {"http", "https"}:
            self.wrong((*at, "scheme"), f"scheme `{scheme}` is not known", fix="use http or https")
        protocols = raw.get("scrape_protocols", self._global.get("scrape_protocols", ["OpenMetricsText"]))
        return ScrapeJob(
            name, interval_ms, timeout_ms, str(raw.get("metrics_path", "/metrics")), scheme,
            self._params(raw.get("params"), (*at, "params")), self.flag(raw, "honor_labels", at, default=False),
            self.flag(raw, "honor_timestamps", at, default=True),
            tuple(self._groups(raw.get("static_configs"), (*at, "static_configs"))),
            tuple(self._file_discovery(raw.get("file_sd_configs"), (*at, "file_sd_configs"))),
            self._relabel(raw.get("relabel_configs"), (*at, "relabel_configs")),
            self._relabel(raw.get("metric_relabel_configs"), (*at, "metric_relabel_configs")),
            self._credentials(raw, at), self._tls(raw.get("tls_config"), (*at, "tls_config")),
            self._headers(raw.get("http_headers"), (*at, "http_headers")),
            openmetrics=any(str(protocol).startswith("OpenMetrics") for protocol in self.items(
                protocols, (*at, "scrape_protocols"))),
            follow_redirects=self.flag(raw, "follow_redirects", at, default=True),
            body_size_limit=self.size({**self._global, **raw}, "body_size_limit", at),
            limits={name: self.count({**self._global, **raw}, name, at) for name in _LIMITS},
        )

    # ------------------------------------------------------------ parts

    def _groups(self, raw: Any, at: Location) -> list[StaticGroup]:
        groups = []
        for number, item in enumerate(self.items(raw, at)):
            here = (*at, number)
            group = self.mapping(item, here)
            for key in group:
                if key not in {"targets", "labels"}:
                    self.wrong((*here, key), f"unknown key `{key}` of a target group", key=True)
            targets = []
            for place, target in enumerate(self.items(group.get("targets"), (*here, "targets"))):
                if not isinstance(target, str) or "/" in target:
                    self.wrong((*here, "targets", place), f"target `{target}` is not host:port",
                                fix="put scheme and path into `scheme` and `metrics_path`")
                targets.append(str(target))
            labels = self._labels(group.get("labels"), (*here, "labels"))
            groups.append(StaticGroup(tuple(targets), labels))
        return groups

    def _file_discovery(self, raw: Any, at: Location) -> list[FileDiscovery]:
        found = []
        for number, item in enumerate(self.items(raw, at)):
            here = (*at, number)
            one = self.mapping(item, here)
            for place, name in enumerate(self.items(one.get("files"), (*here, "files"))):
                if not str(name).endswith((".json", ".yml", ".yaml")):
                    self.wrong((*here, "files", place), f"`{name}` is not .json, .yml or .yaml")
            patterns = tuple(str(self._folder / str(name)) for name in self.items(one.get("files"), (*here, "files")))
            self.duration(one, "refresh_interval", here, 300_000)  # to be told of a wrong one
            found.append(FileDiscovery(patterns))
        return found

    def _relabel(self, raw: Any, at: Location) -> tuple[Relabel, ...]:
        steps = []
        for number, item in enumerate(self.items(raw, at)):
            step, problems = read_relabel(item)
            for key, words in problems:
                self.wrong((*at, number, key) if key else (*at, number), words)
            if step is not None:
                steps.append(step)
        return tuple(steps)

    def _credentials(self, raw: Mapping[str, Any], at: Location) -> Credentials | None:
        ways = ("basic_auth", "authorization", "bearer_token", "bearer_token_file", "oauth2")
        given = [key for key in ways if key in raw]
        if len(given) > 1:
            self.wrong((*at, given[1]), f"`{given[0]}` and `{given[1]}` are both given", fix="keep one of the two")
        if "basic_auth" in raw:
            basic = self.mapping(raw["basic_auth"], (*at, "basic_auth"))
            return Credentials("Basic", str(basic.get("password", "")), self._file(basic.get("password_file")),
                               str(basic.get("username", "")))
        if "authorization" in raw:
            said = self.mapping(raw["authorization"], (*at, "authorization"))
            return Credentials(str(said.get("type", "Bearer")), str(said.get("credentials", "")),
                               self._file(said.get("credentials_file")))
        if "bearer_token" in raw or "bearer_token_file" in raw:
            return Credentials("Bearer", str(raw.get("bearer_token", "")), self._file(raw.get("bearer_token_file")))
        return None

    def _tls(self, raw: Any, at: Location) -> Tls | None:
        if raw is None:
            return None
        said = self.mapping(raw, at)
        for key in said:
            if key in {"ca", "cert", "key", "min_version", "max_version"}:
                self.note((*at, key), f"`tls_config.{key}`", "use files; the TLS version is the system's choice")
            elif key not in {"ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify"}:
                self.wrong((*at, key), f"unknown key `{key}` of `tls_config`", key=True)
        insecure = self.flag(said, "insecure_skip_verify", at, default=False)
        return Tls(self._file(said.get("ca_file")), self._file(said.get("cert_file")), self._file(said.get("key_file")),
                   str(said.get("server_name", "")), verify=not insecure)

    def _headers(self, raw: Any, at: Location) -> tuple[tuple[str, str], ...]:
        headers: list[tuple[str, str]] = []
        for name, said in self.mapping(raw, at).items():
            one = self.mapping(said, (*at, name))
            for kind in ("values", "secrets"):
                headers.extend((name, str(value)) for value in self.items(one.get(kind), (*at, name, kind)))
        return tuple(headers)

    def _params(self, raw: Any, at: Location) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(str(value) for value in self.items(values, (*at, name)))
            for name, values in self.mapping(raw, at).items()
        }

    def _labels(self, raw: Any, at: Location) -> dict[str, str]:
        labels = self.mapping(raw, at)
        for name, value in labels.items():
            if isinstance(value, Mapping | list):
                self.wrong((*at, name), f"label `{name}` must be text")
        return {name: str(value) for name, value in labels.items()}

    def _file(self, name: Any) -> Path | None:
        return None if name is None else self._folder / str(name)
