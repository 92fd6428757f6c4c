"""One entry of `scrape_configs` as Prometheus writes it: read, checked, and what of it is not done is told."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from observe.collect.config_values import ConfigValues
from observe.collect.relabel import Relabel, read_relabel
from observe.collect.scrape_job import FileDiscovery, ScrapeJob, StaticGroup
from observe.collect.target import Credentials, Tls
from observe.yaml_file import Location, YamlFile

_LIMITS: Final = ("sample_limit", "label_limit", "label_name_length_limit", "label_value_length_limit", "target_limit")
_JOB: Final = {"job_name", "scrape_interval", "scrape_timeout", "metrics_path", "honor_labels", "honor_timestamps",
               "scheme", "params", "basic_auth", "authorization", "bearer_token", "bearer_token_file", "tls_config",
               "static_configs", "file_sd_configs", "relabel_configs", "metric_relabel_configs", "body_size_limit",
               "scrape_protocols", "follow_redirects", "http_headers", "metric_name_validation_scheme", *_LIMITS}
_IGNORED: Final = {"enable_http2", "enable_compression", "keep_dropped_targets", "fallback_scrape_protocol",
                   "metric_name_escaping_scheme", "scrape_failure_log_file"}
"""They change nothing that is stored here."""
_WAYS: Final[Mapping[str, frozenset[str]]] = {
    "basic_auth": frozenset({"username", "username_file", "password", "password_file"}),
    "authorization": frozenset({"type", "credentials", "credentials_file"}),
}
"""What may stand in each way to log in."""
_FROM_A_MANAGER: Final = frozenset({"username_ref", "password_ref", "credentials_ref"})
_UNSUPPORTED_JOB: Final = {
    "oauth2": "targets are asked without a token", "proxy_url": "targets are asked directly", "no_proxy": "",
    "proxy_from_environment": "targets are asked directly", "proxy_connect_header": "",
    "track_timestamps_staleness": "series with timestamps of their own do not end by absence",
    "scrape_classic_histograms": "", "always_scrape_classic_histograms": "", "scrape_native_histograms": "",
    "convert_classic_histograms_to_nhcb": "", "native_histogram_bucket_limit": "",
    "native_histogram_min_bucket_factor": "", "extra_scrape_metrics": "",
}


class JobReader(ConfigValues):
    """Reads the jobs of one file. Its relative paths count from `folder`; what a job does not say `defaults` do."""

    def __init__(self, source: YamlFile, folder: Path) -> None:
        super().__init__(source)
        self.folder = folder
        self.defaults: Mapping[str, Any] = {}
        """The section `global`."""
        self.interval_ms, self.timeout_ms = 60_000, 10_000
        """Of jobs that do not say."""

    def job(self, raw: Mapping[str, Any], at: Location) -> ScrapeJob:
        for key in raw:
            if key.endswith("_sd_configs") and key != "file_sd_configs":
                self.note((*at, key), f"service discovery by `{key}`", "its targets are not scraped; list them in "
                           "`static_configs` or write them to a file of `file_sd_configs`")
            elif key in _UNSUPPORTED_JOB:
                if raw[key] not in {False, ""} if isinstance(raw[key], bool | int | str) else True:
                    self.note((*at, key), f"`{key}`", _UNSUPPORTED_JOB[key])
            elif key not in _JOB and key not in _IGNORED:
                self.wrong((*at, key), f"unknown key `{key}` of a scrape job", key=True)
        self.check_scheme(raw, at)
        name = raw.get("job_name")
        if not isinstance(name, str) or not name:
            self.wrong(at, "a scrape job has no `job_name`", fix="add `job_name: NAME`")
            name = ""
        interval_ms = self.duration(raw, "scrape_interval", at, self.interval_ms)
        timeout_ms = self.duration(raw, "scrape_timeout", at, 0)
        if timeout_ms > interval_ms:
            self.wrong((*at, "scrape_timeout"), "`scrape_timeout` is longer than `scrape_interval`",
                        why="the next scrape would start before this one may end")
        timeout_ms = timeout_ms or min(self.timeout_ms, interval_ms)
        scheme = str(raw.get("scheme", "http"))
        if scheme not in {"http", "https"}:
            self.wrong((*at, "scheme"), f"scheme `{scheme}` is not known", fix="use http or https")
        protocols = raw.get("scrape_protocols", self.defaults.get("scrape_protocols", ["OpenMetricsText"]))
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
            body_size_limit=self.size({**self.defaults, **raw}, "body_size_limit", at),
            limits={name: self.count({**self.defaults, **raw}, name, at) for name in _LIMITS},
        )

    def check_scheme(self, raw: Mapping[str, Any], at: Location) -> None:
        """`metric_name_validation_scheme`, of the whole file or a job."""
        said = raw.get("metric_name_validation_scheme", "")
        if said == "legacy":
            self.note((*at, "metric_name_validation_scheme"), "`metric_name_validation_scheme: legacy`",
                      "names of any characters are taken, as by default")
        elif said not in {"", "utf8"}:
            self.wrong((*at, "metric_name_validation_scheme"), f"`{said}` is no scheme of names",
                       fix="write utf8 or legacy")

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
            labels = self.labels(group.get("labels"), (*here, "labels"))
            groups.append(StaticGroup(tuple(targets), labels))
        return groups

    def _file_discovery(self, raw: Any, at: Location) -> list[FileDiscovery]:
        found = []
        for number, item in enumerate(self.items(raw, at)):
            here = (*at, number)
            one = self.mapping(item, here)
            for key in one:
                if key not in {"files", "refresh_interval"}:
                    self.wrong((*here, key), f"unknown key `{key}` of `file_sd_configs`", key=True)
            if not one.get("files"):
                self.wrong(here, "`file_sd_configs` names no file", fix="add `files: [targets/*.json]`")
            for place, name in enumerate(self.items(one.get("files"), (*here, "files"))):
                if not str(name).endswith((".json", ".yml", ".yaml")):
                    self.wrong((*here, "files", place), f"`{name}` is not .json, .yml or .yaml")
            patterns = tuple(str(self.folder / str(name)) for name in self.items(one.get("files"), (*here, "files")))
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
        given = [key for key in ways if raw.get(key) is not None]
        if len(given) > 1:
            self._both(given, at)
        if "basic_auth" in given:
            said = self._way(raw, "basic_auth", at)
            self._one_of(said, "username", (*at, "basic_auth"))
            self._one_of(said, "password", (*at, "basic_auth"))
            return Credentials("Basic", str(said.get("password", "")), self._file(said.get("password_file")),
                               str(said.get("username", "")), self._file(said.get("username_file")))
        if "authorization" in given:
            said = self._way(raw, "authorization", at)
            self._one_of(said, "credentials", (*at, "authorization"))
            scheme = str(said.get("type") or "Bearer").strip()
            if scheme.lower() == "basic":
                self.wrong((*at, "authorization", "type"), "`authorization` cannot be of type Basic",
                           fix="use `basic_auth`, which takes user and password")
            return Credentials(scheme, str(said.get("credentials", "")), self._file(said.get("credentials_file")))
        if "bearer_token" in given or "bearer_token_file" in given:
            return Credentials("Bearer", str(raw.get("bearer_token", "")), self._file(raw.get("bearer_token_file")))
        return None

    def _way(self, raw: Mapping[str, Any], way: str, at: Location) -> Mapping[str, Any]:
        said = self.mapping(raw[way], (*at, way))
        for key in said:
            if key in _FROM_A_MANAGER:
                self.note((*at, way, key), f"`{way}.{key}`", "there is no secrets manager; name a file")
            elif key not in _WAYS[way]:
                self.wrong((*at, way, key), f"unknown key `{key}` of `{way}`", key=True)
        return said

    def _one_of(self, said: Mapping[str, Any], key: str, at: Location) -> None:
        if said.get(key) and said.get(f"{key}_file"):
            self._both([key, f"{key}_file"], at)

    def _both(self, given: Sequence[str], at: Location) -> None:
        self.wrong((*at, given[1]), f"`{given[0]}` and `{given[1]}` are both given", fix="keep one of the two")

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
            for key in one:
                if key == "files":
                    self.note((*at, name, key), f"`http_headers.{name}.files`", "the header is sent without them")
                elif key not in {"values", "secrets"}:
                    self.wrong((*at, name, key), f"unknown key `{key}` of a header", key=True)
            for kind in ("values", "secrets"):
                headers.extend((name, str(value)) for value in self.items(one.get(kind), (*at, name, kind)))
        return tuple(headers)

    def _params(self, raw: Any, at: Location) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(str(value) for value in self.items(values, (*at, name)))
            for name, values in self.mapping(raw, at).items()
        }

    def labels(self, raw: Any, at: Location) -> dict[str, str]:
        labels = self.mapping(raw, at)
        for name, value in labels.items():
            if isinstance(value, Mapping | list):
                self.wrong((*at, name), f"label `{name}` must be text")
        return {name: str(value) for name, value in labels.items()}

    def _file(self, name: Any) -> Path | None:
        return None if name is None else self.folder / str(name)
