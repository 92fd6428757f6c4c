"""observe.yml: what it may say, and how it says what is wrong."""

import pytest

from observe import config, settings
from observe.errors import ConfigError
from observe.promql.evaluate import QueryLimits
from observe.show.context import ShowSettings
from observe.store.metric_settings import MetricSettings


def load(tmp_path, text, **overrides):
    path = tmp_path / "observe.yml"
    path.write_text(text)
    return config.load(path, overrides)


def test_without_a_file_the_defaults_watch_this_machine():
    loaded = config.load(None)

    assert ("127.0.0.1:9900", ("host", "jvm"), ("builtin",)) == (loaded.listen, loaded.exporters, loaded.rules)


def test_durations_and_sizes_are_read_as_people_write_them(tmp_path):
    loaded = load(tmp_path, "scrape: {interval: 5s}\nstorage: {logs_size: 2GB, metrics_retention: 30d}\n")

    assert (5_000, 5_000) == (loaded.scrape.interval, loaded.scrape.timeout)
    assert (2_000_000_000, 30 * 86_400_000) == (loaded.storage.logs_size, loaded.storage.metrics_retention)


def test_exporters_are_names_or_names_with_options(tmp_path):
    loaded = load(tmp_path, "exporters: [host, {redis: {url: 'redis://127.0.0.1:1'}}]\n")

    assert {"host": {}, "redis": {"url": "redis://127.0.0.1:1"}} == loaded.exporter_options


def test_the_command_line_wins_over_the_file(tmp_path):
    assert "127.0.0.1:7" == load(tmp_path, "listen: 127.0.0.1:8\n", listen="127.0.0.1:7").listen


def test_paths_count_from_the_file(tmp_path):
    loaded = load(tmp_path, "data: here\nrules: [builtin, mine/*.yml]\n")

    assert (tmp_path / "here", ("builtin", str(tmp_path / "mine/*.yml"))) == (loaded.data, loaded.rules)


def test_all_problems_come_at_once_each_with_its_line(tmp_path):
    text = (
        "listn: 127.0.0.1:1\nscrape:\n  interval: 15\n  targets:\n    - url: ftp://x\n"
        "listen: nowhere\nlisten: 127.0.0.1:1\n"
    )

    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)

    found = {(problem.line, problem.what) for problem in raised.value.problems}
    assert {
        (1, "unknown key `listn`"),
        (3, "`scrape.interval` is not valid"),
        (5, "`scrape.targets.0.job` is missing"),
        (5, "`scrape.targets.0.url` is not valid"),
        (7, "`listen` is given twice"),
    } == found
    assert "15 has no unit: write 15s" in str(raised.value)
    assert "^" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not valid YAML"),
        ("- 1", "must be a mapping"),
        ("storage: {logs_size: big}", "is not a size"),
        ("attach: {alertmanager: {urls: []}}", "urls"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*nothing\.yml"):
        config.load(tmp_path / "nothing.yml")


def test_listening_beyond_this_machine_needs_authentication(tmp_path):
    with pytest.raises(ConfigError, match="without authentication is refused"):
        config.check_exposure(load(tmp_path, "listen: 0.0.0.0:9900\n"))

    config.check_exposure(load(tmp_path, "listen: 0.0.0.0:9900\nauth: {token_file: tokens}\n"))


def test_an_unknown_key_is_told_with_the_one_that_was_meant(tmp_path):
    with pytest.raises(ConfigError) as raised:
        load(
            tmp_path, "scrape: {targets: [{job: a, ulr: 'http://x'}], intervall: 5s}\n"
            "attach: {elasticsearch: {url: x}}\n",
        )

    fixes = {problem.what: problem.fix for problem in raised.value.problems if "unknown" in problem.what}
    assert {
        "unknown key `scrape.targets.0.ulr`": "did you mean `url`?",
        "unknown key `scrape.intervall`": "did you mean `interval`?",
        "unknown key `attach.elasticsearch.url`": "did you mean `urls`?",
    } == fixes


def test_files_of_logs_and_secrets_count_from_the_file_too(tmp_path):
    loaded = load(
        tmp_path, "logs: {files: [{path: app/*.log}, {path: /var/log/x}]}\n"
        "auth: {token_file: tokens, jwt: {key_file: key}}\n"
        "attach: {elasticsearch: {urls: ['http://e'], ca_file: ca.pem}}\n",
    )

    assert [str(tmp_path / "app/*.log"), "/var/log/x"] == [file.path for file in loaded.logs.files]
    assert (tmp_path / "tokens", tmp_path / "key") == (loaded.auth.token_file, loaded.auth.jwt.key_file)
    assert tmp_path / "ca.pem" == loaded.attach.elasticsearch.ca_file


def test_what_storage_says_reaches_the_metric_store(tmp_path):
    loaded = load(tmp_path, "storage: {metrics_retention: 1d, metrics_size: 1GB, series_limit: 7, owner_limit: 6, "
                            "late_window: 1m, metrics_cache: 5MB, samples_at_once: 4}\n")

    assert settings.metric_settings(loaded) == MetricSettings(
        retention_ms=86_400_000, retention_bytes=10**9, series_limit=7, owner_limit=6, late_window_ms=60_000,
        cache_bytes=5_000_000, samples_at_once=4,
    )


def test_the_limits_of_a_query_are_those_of_the_stages_unless_said_otherwise(tmp_path):
    shown = settings.show_settings(config.load(None))

    assert QueryLimits() == settings.query_limits(config.load(None))
    assert ShowSettings(external_url=shown.external_url) == shown


def test_every_limit_of_a_query_can_be_set(tmp_path):
    loaded = load(tmp_path, """
query: {lookback: 1m, timeout: 5s, max_samples: 1000, max_series: 10, max_steps: 100, default_step: 30s, threads: 2,
        queue: 7}
""")

    assert QueryLimits(60_000, 1000, 10, 100, 5.0, 30_000) == settings.query_limits(loaded)
    shown = settings.show_settings(loaded)
    assert (2, 7, 5.0, 100, 60_000) == (
        shown.query_threads, shown.query_queue, shown.query_timeout_s, shown.max_points, shown.lookback_ms)


@pytest.mark.parametrize(("text", "why"), [
    ("scrape: {targets: [{job: 7, url: 'http://x/metrics'}]}\n", "a text is wanted; put it in quotes"),
    ("scrape: {targets: 7}\n", "a list is wanted; start each item with `- `"),
    ("scrape: 7\n", "keys with values are wanted"),
    ("query: {max_series: many}\n", "a whole number is wanted"),
    ("listen: '127.0.0.1:{port}'\n", "{port}"),
    ("scrape:\n\ttargets: []\n", "indent with spaces: YAML takes no tabs"),
    ("scrape: [1,\n", "look at the indentation, the quotes and the brackets, here and on the lines before"),
])
def test_what_is_wanted_is_said_in_plain_words(tmp_path, text, why):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)

    assert why in str(raised.value)
    assert "Input should" not in str(raised.value)


def test_options_of_exporters_are_taken_as_they_would_be_typed(tmp_path):
    text = "exporters: [{redis: {timeout: 3, url: 'redis://h'}}, {gpu: {dcgm-names: true, window: 5.5}}, {host: }]\n"

    loaded = load(tmp_path, text)

    assert {"redis": {"timeout": "3", "url": "redis://h"}, "gpu": {"dcgm-names": "true", "window": "5.5"},
            "host": {}} == loaded.exporter_options


def test_files_of_exporters_count_from_the_folder_of_the_file(tmp_path):
    loaded = load(tmp_path, "exporters: [{business: {config: b.yml}}, {redis: {password-file: /etc/pw}}]\n")

    assert {"business": {"config": str(tmp_path / "b.yml")}, "redis": {"password-file": "/etc/pw"}} == (
        loaded.exporter_options)


@pytest.mark.parametrize(("text", "words"), [
    ("exporters: [redis, {redis: {timeout: 3}}]\n", "`redis` is there twice"),
    ("exporters: [{redis: 5}]\n", "the options of redis are keys with values"),
    ("exporters: [{redis: {timeot: 3}}]\n", "exporter redis has no option 'timeot'"),
    ("attach: {elasticsearch: {urls: []}}\n", "at least one is wanted"),
])
def test_what_is_wrong_with_exporters_and_lists_is_said_once_in_plain_words(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words) as refused:
        load(tmp_path, text)

    assert 1 == len(refused.value.problems)


def test_a_list_is_not_called_too_short_for_its_wrong_items(tmp_path):
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, "attach: {alertmanager: {urls: ['127.0.0.1:9093']}}\n")

    (problem,) = refused.value.problems
    assert "is not an address" in problem.why
