"""prometheus.yml: what is read of it, what is wrong with one, and the targets it makes, as a real Prometheus does."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from observe.clock import SystemClock
from observe.collect.discovery import TargetBook, follow
from observe.collect.scrape import Scraper, ScrapeSettings
from observe.collect.scrape_config import read_prometheus_config
from observe.collect.target import Credentials, Tls
from observe.errors import ConfigError
from observe.telemetry import Telemetry
from observe.testing import FakeTarget
from tests.collect.sinks import KeptSamples
from tests.real.process import RealProcess, free_port, http_get, missing, require, wait_until

WHOLE = """
global:
  scrape_interval: 30s
  scrape_timeout: 5s
  evaluation_interval: 20s
  external_labels: {region: eu, shard: 1}
rule_files: ["rules/*.yml", /etc/rules.yml]
scrape_configs:
  - job_name: static
    scrape_interval: 10s
    metrics_path: /stats
    scheme: https
    params: {format: [prometheus], match: [a, b]}
    honor_labels: true
    honor_timestamps: false
    body_size_limit: 10MB
    sample_limit: 100
    label_limit: 20
    basic_auth: {username: me, password_file: secret}
    tls_config: {ca_file: ca.pem, insecure_skip_verify: true, server_name: there}
    static_configs:
      - targets: ["one:1", "two:2"]
        labels: {env: prod, number: 7}
      - targets: ["three"]
    relabel_configs:
      - {source_labels: [__address__], regex: "two.*", action: drop}
      - {source_labels: [__address__], regex: "(\\\\w+):.*", target_label: host}
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "go_.*", action: drop}
  - job_name: files
    authorization: {credentials: s3cret}
    file_sd_configs: [{files: ["sd/*.json", "sd/*.yml"], refresh_interval: 1m}]
"""


def write(tmp_path, text):
    path = tmp_path / "prometheus.yml"
    path.write_text(text)
    return path


def test_everything_that_is_supported_is_read(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").touch()
    config = read_prometheus_config(write(tmp_path, WHOLE))
    static, files = config.jobs

    assert ((str(tmp_path / "rules/*.yml"), "/etc/rules.yml"), 20_000, {"region": "eu", "shard": "1"}, ()) == (
        config.rule_files, config.evaluation_interval_ms, config.external_labels, config.unsupported)
    assert ("static", 10_000, 5_000, "/stats", "https", True, False, 10 * 1024**2) == (
        static.name, static.interval_ms, static.timeout_ms, static.metrics_path, static.scheme, static.honor_labels,
        static.honor_timestamps, static.body_size_limit)
    assert {"format": ("prometheus",), "match": ("a", "b")} == static.params
    assert (100, 20) == (static.limits["sample_limit"], static.limits["label_limit"])
    assert Credentials("Basic", "", tmp_path / "secret", "me") == static.credentials
    assert Tls(tmp_path / "ca.pem", server_name="there", verify=False) == static.tls
    assert ("files", 30_000, Credentials("Bearer", "s3cret")) == (files.name, files.interval_ms, files.credentials)
    (discovery,) = files.files
    assert (str(tmp_path / "sd/*.json"), str(tmp_path / "sd/*.yml")) == discovery.patterns


def test_targets_are_relabelled_and_their_url_says_all(tmp_path):
    book = TargetBook(read_prometheus_config(write(tmp_path, WHOLE)).jobs, Telemetry())
    one, three = book.targets()

    assert "https://one:1/stats?format=prometheus&match=a&match=b" == one.url
    assert {"job": "static", "instance": "one:1", "env": "prod", "number": "7", "host": "one"} == dict(one.labels)
    assert {"job": "static", "instance": "three"} == dict(three.labels)
    assert ("one:1", "prod") == (one.discovered["__address__"], one.discovered["env"])
    assert [("static", "two:2", "prod")] == [
        (job, labels["__address__"], labels["env"]) for job, labels in book.dropped]
    assert (1, 100, 10_000) == (len(book.dropped), one.sample_limit, one.interval_ms)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("scrape_confgs: []", 1, "unknown key `scrape_confgs`"),
        ("global: {scrap_interval: 1s}", 1, "unknown key `scrap_interval` under `global`"),
        ("global:\n  scrape_interval: fast", 2, "not a duration"),
        ("scrape_configs:\n  - scrape_interval: 1s", 2, "has no `job_name`"),
        ("scrape_configs:\n  - job_name: a\n  - job_name: a", 3, "two jobs are called `a`"),
        ("scrape_configs:\n  - job_name: a\n    interval: 1s", 3, "unknown key `interval` of a scrape job"),
        ("scrape_configs:\n  - {job_name: a, scrape_interval: 1s, scrape_timeout: 2s}", 2, "longer than"),
        ("scrape_configs:\n  - {job_name: a, scheme: ftp}", 2, "scheme `ftp`"),
        ("scrape_configs:\n  - job_name: a\n    static_configs:\n      - targets: [http://x/m]", 4, "not host:port"),
        ("scrape_configs:\n  - job_name: a\n    relabel_configs:\n      - {action: nope}", 4, "unknown action `nope`"),
        ("scrape_configs:\n  - job_name: a\n    relabel_configs:\n      - {target_label: x, regex: '('}", 4, "RE2"),
        ("scrape_configs:\n  - {job_name: a, body_size_limit: big}", 2, "`big` is not a size"),
        ("scrape_configs:\n  - {job_name: a, sample_limit: -1}", 2, "a whole number"),
        ("scrape_configs:\n  - {job_name: a, honor_labels: yep}", 2, "true or false"),
        ("scrape_configs:\n  - {job_name: a, bearer_token: x, basic_auth: {}}", 2, "both given"),
        ("scrape_configs:\n  - {job_name: a, file_sd_configs: [{files: [x.txt]}]}", 2, "not .json, .yml or .yaml"),
        ("scrape_configs:\n  - {job_name: a, basic_auth: {user: x}}", 2, "unknown key `user` of `basic_auth`"),
        ("scrape_configs:\n  - {job_name: a, basic_auth: {password: x, password_file: y}}", 2, "both given"),
        ("scrape_configs:\n  - {job_name: a, authorization: {type: basic, credentials: y}}", 2, "type Basic"),
        ("scrape_configs:\n  - {job_name: a, authorization: {token: y}}", 2, "unknown key `token` of `authorization`"),
        ("scrape_configs:\n  - {job_name: a, http_headers: {X: {value: y}}}", 2, "unknown key `value` of a header"),
        ("scrape_configs:\n  - {job_name: a, file_sd_configs: [{file: [x.yml]}]}", 2, "unknown key `file`"),
        ("scrape_configs:\n  - {job_name: a, file_sd_configs: [{}]}", 2, "names no file"),
        ("global: {metric_name_validation_scheme: utf9}", 1, "no scheme of names"),
        ("scrape_configs: {job_name: a}", 1, "a list is wanted"),
        ("- a", 1, "a mapping is wanted"),
        ("a: [", 1, "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, line, words):
    with pytest.raises(ConfigError) as caught:
        read_prometheus_config(write(tmp_path, text))

    assert any(words in problem.what and line == problem.line for problem in caught.value.problems), str(caught.value)


def test_all_problems_come_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_prometheus_config(write(tmp_path, "nope: 1\nscrape_configs:\n  - {scheme: ftp}\n"))

    assert 3 == len(caught.value.problems)


def test_what_is_not_supported_is_listed_and_the_rest_runs(tmp_path):
    config = read_prometheus_config(write(tmp_path, """
remote_write: [{url: "http://x"}]
global:
  rule_query_offset: 1m
  scrape_native_histograms: false
scrape_configs:
  - job_name: k8s
    kubernetes_sd_configs: [{role: pod}]
    proxy_url: http://proxy
    enable_http2: false
    metric_name_validation_scheme: legacy
    basic_auth: {username: me, password_ref: vault}
    static_configs: [{targets: ["a:1"]}]
"""))

    assert [(2, "`remote_write`"), (4, "`rule_query_offset`"), (8, "service discovery by `kubernetes_sd_configs`"),
            (9, "`proxy_url`"), (11, "`metric_name_validation_scheme: legacy`"), (12, "`basic_auth.password_ref`")] == [
        (one.line, one.what.removesuffix(" is not supported")) for one in config.unsupported]
    assert ["http://a:1/metrics"] == [target.url for target in TargetBook(config.jobs, Telemetry()).targets()]


def files_book(tmp_path, telemetry=None):
    config = read_prometheus_config(write(tmp_path, """
scrape_configs: [{job_name: files, file_sd_configs: [{files: ["sd/*.json", "sd/*.yml"]}]}]
"""))
    (tmp_path / "sd").mkdir(exist_ok=True)
    return TargetBook(config.jobs, telemetry or Telemetry())


def addresses(book):
    return sorted(target.labels["instance"] for target in book.targets())


def test_files_of_targets_come_change_break_and_go(tmp_path):
    telemetry = Telemetry()
    book = files_book(tmp_path, telemetry)
    first, second = tmp_path / "sd" / "a.json", tmp_path / "sd" / "b.yml"

    assert [] == addresses(book)
    first.write_text(json.dumps([{"targets": ["one:1"], "labels": {"env": "x"}}]))
    second.write_text("- targets: ['two:2']\n")
    assert (True, ["one:1", "two:2"]) == (book.refresh(), addresses(book))
    assert False is book.refresh()
    assert str(first) == book.targets()[0].discovered["__meta_filepath"]
    second.write_text("- targets: ['two:2', 'three:3']\n")
    assert (True, ["one:1", "three:3", "two:2"]) == (book.refresh(), addresses(book))
    second.write_text("- targets: ['two:2'\n")
    assert (False, ["one:1", "three:3", "two:2"]) == (book.refresh(), addresses(book)), "a broken file keeps its last"
    assert "not valid YAML" in book.problems[0]
    book.refresh()
    assert 1.0 == telemetry.registry.get_sample_value(
        "observe_dropped_total", {"stage": "discovery", "reason": "unreadable file"})
    second.write_text("- targets: []\n")
    assert (True, ["one:1"], []) == (book.refresh(), addresses(book), book.problems)
    first.unlink()
    assert (True, []) == (book.refresh(), addresses(book))


@pytest.mark.parametrize(("label", "said", "words"), [
    ("__scrape_interval__", "0s", "'0s' is no time to wait"), ("__scrape_interval__", "", "'' is no time to wait"),
    ("__scrape_interval__", "often", "'often' is not a duration"), ("__scrape_timeout__", "5", "'5' is not a duration"),
])
def test_an_interval_that_nobody_can_keep_is_told_of_its_target(tmp_path, label, said, words):
    book = files_book(tmp_path)
    (tmp_path / "sd" / "a.json").write_text(json.dumps([
        {"targets": ["one:1"], "labels": {label: said}},
        {"targets": ["two:2"], "labels": {"__scrape_interval__": "20s", "__scrape_timeout__": "4s"}}]))
    book.refresh()
    one, two = book.targets()

    assert (60_000, 10_000, True) == (one.interval_ms, one.timeout_ms, f"the label {label} wrong: {words}" in one.wrong)
    assert (20_000, 4_000, "") == (two.interval_ms, two.timeout_ms, two.wrong)


def test_jobs_stand_in_files_of_their_own_too(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "a.yml").write_text("""
scrape_configs:
  - job_name: a
    basic_auth: {username_file: user, password_file: secret}
    static_configs: [{targets: ["a:1"]}]
""")
    (tmp_path / "jobs" / "b.yml").write_text("scrape_configs: [{job_name: b, scrape_interval: 5s}]")
    config = read_prometheus_config(write(tmp_path, """
global: {scrape_interval: 20s}
scrape_config_files: [jobs/*.yml, later/*.yml]
scrape_configs: [{job_name: main}]
"""))

    assert [("main", 20_000), ("a", 20_000), ("b", 5_000)] == [(job.name, job.interval_ms) for job in config.jobs]
    jobs = tmp_path / "jobs"
    assert Credentials("Basic", "", jobs / "secret", "", jobs / "user") == config.jobs[1].credentials
    assert [(3, "no file matches `later/*.yml`")] == [(one.line, one.what) for one in config.unsupported]


def test_what_is_wrong_in_a_file_of_jobs_is_said_with_that_files_line(tmp_path):
    (tmp_path / "a.yml").write_text("scrape_configs:\n  - job_name: main\n  - {job_name: x, scheme: ftp}\nglobal: {}\n")
    (tmp_path / "b.yml").write_text("scrape_configs: [")
    with pytest.raises(ConfigError) as caught:
        read_prometheus_config(write(tmp_path, "scrape_config_files: ['*.yml']\nscrape_configs: [{job_name: main}]\n"
                                     .replace("'*.yml'", "a.yml, b.yml")))

    said = {(Path(one.where).name, one.line, one.what) for one in caught.value.problems}
    assert {("a.yml", 2, "two jobs are called `main`"), ("a.yml", 3, "scheme `ftp` is not known"),
            ("a.yml", 4, "unknown key `global`")} < said
    assert {"b.yml"} == {where for where, _, what in said if what == "not valid YAML"}


def test_a_glob_of_rules_may_wait_for_its_first_file_and_a_name_may_not(tmp_path):
    config = read_prometheus_config(write(tmp_path, "rule_files: [rules/*.yml, gone.yml]\n"))

    assert (str(tmp_path / "gone.yml"),) == config.rule_files
    assert ["no file matches `rules/*.yml`"] == [one.what for one in config.unsupported]


def test_external_labels_take_the_variables_of_the_environment_as_in_prometheus_3(tmp_path, monkeypatch):
    monkeypatch.setenv("OBSERVE_TEST_ZONE", "eu-1")
    monkeypatch.delenv("OBSERVE_TEST_NONE", raising=False)
    config = read_prometheus_config(write(tmp_path, """
global:
  external_labels:
    zone: "${OBSERVE_TEST_ZONE}"
    both: "$OBSERVE_TEST_ZONE/a"
    price: "5$$"
    none: $OBSERVE_TEST_NONE
"""))

    assert {"zone": "eu-1", "both": "eu-1/a", "price": "5$"} == config.external_labels
    assert [(7, "the environment has no variable `OBSERVE_TEST_NONE`")] == [
        (one.line, one.what) for one in config.unsupported]


def test_the_file_is_shown_without_what_nobody_should_read(tmp_path):
    config = read_prometheus_config(write(tmp_path, """
remote_write: [{url: "http://me:hidden1@there/write"}]
scrape_configs:
  - job_name: a
    basic_auth: {username: me, password: hidden2}
    http_headers: {X: {values: [seen], secrets: [hidden3]}}
  - {job_name: b, bearer_token: hidden4, params: {key: [seen]}, tls_config: {key: hidden5, key_file: seen.pem}}
  - {job_name: c, authorization: {credentials: hidden6}}
  - {job_name: d, oauth2: {client_id: seen, client_secret: hidden7, token_url: "http://x"}}
"""))

    assert "hidden" not in config.text
    assert 7 == config.text.count("<secret>")
    assert 4 == config.text.count("seen")


async def until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_changed_file_changes_what_is_scraped(tmp_path):
    async def story():
        book = files_book(tmp_path)
        sink, data, stop = KeptSamples(), ThreadPoolExecutor(1), asyncio.Event()
        scraper = Scraper(ScrapeSettings(), sink, data, SystemClock(), Telemetry())
        with FakeTarget("a 1\n") as exporter:
            tasks = [asyncio.create_task(scraper.run(stop)),
                     asyncio.create_task(follow(book, scraper, [], stop, every_s=0.02))]
            labels = {"__scrape_interval__": "1s", "__scrape_timeout__": "1s"}
            text = json.dumps([{"targets": [exporter.address], "labels": labels}])
            (tmp_path / "sd" / "a.json").write_text(text)
            await until(lambda: any(one.up for one in scraper.health()))
            (tmp_path / "sd" / "a.json").write_text("[]")
            await until(lambda: not scraper.health() and sink.of(__name__="a")[-1][1] == "stale")
            stop.set()
            await asyncio.gather(*tasks)
        data.shutdown()

    asyncio.run(story())


def test_metric_relabelling_and_params_reach_the_page(tmp_path):
    async def story():
        with FakeTarget('go_x 1\nkept{path="/a"} 2\n') as exporter:
            config = read_prometheus_config(write(tmp_path, f"""
scrape_configs:
  - job_name: demo
    scrape_interval: 40ms
    params: {{module: [m1]}}
    static_configs: [{{targets: ["{exporter.address}"]}}]
    relabel_configs: [{{target_label: __param_module, replacement: m2}}]
    metric_relabel_configs:
      - {{source_labels: [__name__], regex: "go_.*", action: drop}}
      - {{source_labels: [path], target_label: route}}
      - {{regex: path, action: labeldrop}}
"""))
            sink, data, stop = KeptSamples(), ThreadPoolExecutor(1), asyncio.Event()
            scraper = Scraper(ScrapeSettings(), sink, data, SystemClock(), Telemetry())
            scraper.set_targets(TargetBook(config.jobs, Telemetry()).targets())
            task = asyncio.create_task(scraper.run(stop))
            await until(lambda: any(name.startswith("kept") for name in sink.names()))
            stop.set()
            await task
            data.shutdown()
            assert "/metrics?module=m2" == exporter.requests[0][0]
        named = {name for name in sink.names() if not name.startswith(("up", "scrape_"))}
        assert {f'kept{{instance="{exporter.address}", job="demo", route="/a"}}'} == named

    asyncio.run(story())


HARD = """
scrape_configs:
  - job_name: hard
    metrics_path: /m
    params: {a: ["1", "2"], b: ["x y"]}
    static_configs:
      - targets: ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"]
        labels: {env: prod, team: "Core"}
      - targets: ["127.0.0.1:5"]
        labels: {env: test, __metrics_path__: /other, __param_a: "9", __scheme__: https}
    relabel_configs:
      - {source_labels: [__address__], regex: ".*:2", action: drop}
      - {source_labels: [__address__], modulus: 7, target_label: shard, action: hashmod}
      - {source_labels: [env, team], separator: "-", regex: "(p.*)-(.*)", target_label: both, replacement: "${2}.$1.$$"}
      - {source_labels: [team], target_label: low, action: lowercase}
      - {regex: "te(.*)", replacement: "map_$1", action: labelmap}
      - {regex: "team", action: labeldrop}
      - {source_labels: [__address__], regex: "(.*):3", target_label: instance, replacement: "$1-three"}
      - {source_labels: [__address__], regex: ".*:4", target_label: __address__, replacement: "127.0.0.1:44"}
"""


@pytest.mark.real
def test_a_real_prometheus_makes_the_same_targets(tmp_path):
    binary = require("prometheus")
    path = write(tmp_path, HARD)
    port = free_port()

    def targets():
        found = json.loads(http_get(f"http://127.0.0.1:{port}/api/v1/targets"))["data"]["activeTargets"]
        return found if len(found) == 4 else None

    with RealProcess("prometheus", [
        binary, f"--config.file={path}", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ], tmp_path):
        theirs = wait_until(targets, "its four targets")
    ours = TargetBook(read_prometheus_config(path).jobs, Telemetry()).targets()

    assert sorted((one["scrapeUrl"], sorted(one["labels"].items())) for one in theirs) == sorted(
        (one.url, sorted(one.labels.items())) for one in ours)


@pytest.mark.real
def test_the_file_that_debian_ships_is_read():
    path = Path("/etc/prometheus/prometheus.yml")
    if not path.exists():
        missing(f"{path} of Debian's package")
    config = read_prometheus_config(path)

    assert {"prometheus", "node"} <= {job.name for job in config.jobs}
