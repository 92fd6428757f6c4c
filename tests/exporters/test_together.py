"""Several exporters in one process: a page for each, one for all, and a file that says which."""

import threading
import time

import pytest

from observe.errors import ConfigError
from observe.exporters import together
from observe.exporters.collectors import Collector, Exporter, NoData
from observe.exporters.queue_metrics import DEPTH
from observe.exporters.serve import ExporterServer
from observe.exporters.together import Together
from tests.real.process import http_get, wait_until


def _deep(system: str, depth: int) -> Exporter:
    return Exporter(system, [
        Collector(system, (DEPTH,), lambda page: page.add(DEPTH, depth, system, "/", "jobs")),
    ])


def _values(page: bytes) -> list[str]:
    return [line for line in page.decode().splitlines() if not line.startswith(("#", "exporter_duration"))]


def test_each_has_its_page_and_metrics_that_they_share_stand_once_on_the_page_of_all():
    both = Together({"rabbitmq": _deep("rabbitmq", 3), "redis": _deep("redis", 5)})
    pages = {path: answer() for path, answer in both.pages().items()}

    rabbitmq, redis = (f'queue_depth{{system="{name}",namespace="/",queue="jobs"}} {depth}'
                       for name, depth in (("rabbitmq", 3), ("redis", 5)))
    success = [f'exporter_success{{collector="{name}"}} 1' for name in ("rabbitmq", "redis")]
    assert {path: _values(page) for path, page in pages.items()} == {
        "/metrics": [rabbitmq, redis, *success],
        "/metrics/rabbitmq": [rabbitmq, success[0]],
        "/metrics/redis": [redis, success[1]],
    }
    assert pages["/metrics"].count(b"# TYPE queue_depth") == 1


def test_one_that_fails_or_hangs_takes_nothing_from_the_others():
    hang = threading.Event()

    def fails(_page):
        raise NoData("gone")

    def hangs(_page):
        hang.wait(300)

    stuck = Exporter("stuck", [Collector("stuck", (), hangs, every_s=1.0)])
    several = Together({
        "good": _deep("good", 1), "gone": Exporter("gone", [Collector("gone", (), fails)]), "stuck": stuck,
    })
    server = ExporterServer(several, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    url = f"http://127.0.0.1:{server.address[1]}"
    try:
        with several:
            stuck._wait_until = time.monotonic() + 300
            good = _values(http_get(f"{url}/metrics/good"))  # at once: the stuck one is on another page
            stuck._wait_until = 0.0
            everything = _values(http_get(f"{url}/metrics"))
            hang.set()
    finally:
        server.stop()
        thread.join()

    mine = 'queue_depth{system="good",namespace="/",queue="jobs"} 1'
    assert good == [mine, 'exporter_success{collector="good"} 1']
    assert everything == [mine, *(f'exporter_success{{collector="{name}"}} {ok}'
                                  for name, ok in (("good", 1), ("gone", 0), ("stuck", 0)))]
    assert several.problems() == {"gone": "gone"}


def test_a_file_names_exporters_as_observe_yml_does(tmp_path):
    file = tmp_path / "exporters.yml"
    file.write_text("exporters:\n  - python_runtime\n"
                    "  - host: {without: 'network,tcp', node-names: true}\n"
                    "  - redis: {url: 'redis://127.0.0.1:1/0', interval: 60, timeout: 0.5}\n", encoding="utf-8")
    with together.load(file) as several:
        pages = several.pages()
        wait_until(lambda: "redis" in several.problems(), "redis was asked")

        assert list(pages) == ["/metrics", "/metrics/python_runtime", "/metrics/host", "/metrics/redis"]
        host = pages["/metrics/host"]()
        assert (b"node_memory_MemTotal_bytes " in host, b"host_network_" in host) == (True, False)


@pytest.mark.parametrize(("text", "told"), [
    ("", [(1, "a list `exporters` is expected")]),
    ("exporters: host", [(1, "a list `exporters` is expected")]),
    ("exporters: []", [(1, "a list `exporters` is expected")]),
    ("exporters:\n  - host: {rot: /}\n  - hots\n  - 5\nport: 1\n", [
        (5, "unknown key `port`"), (2, "exporter host has no option 'rot'"), (3, "there is no exporter 'hots'"),
        (4, "this names no exporter"),
    ]),
    ("exporters:\n  - host\n  - host: {root: /}\n", [(3, "`host` is there twice")]),
    ("exporters:\n  - redis: fast\n", [(2, "the options of `redis` are a mapping")]),
    ("exporters:\n  - business: {config: /nonexistent}\n", [(None, "cannot be read")]),
], ids=["empty", "no list", "nothing in it", "several mistakes", "twice", "no options", "a file of an option"])
def test_what_is_wrong_in_the_file_is_told_at_once_with_its_line(tmp_path, text, told):
    file = tmp_path / "exporters.yml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as refused:
        together.load(file)

    found = [(problem.line, problem.what) for problem in refused.value.problems]
    assert [(line, what.startswith(words)) for (line, what), (_, words) in zip(found, told, strict=True)] == [
        (line, True) for line, _ in told
    ], found


def test_files_that_options_name_count_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "counts.yml").write_text(
        "sources:\n- name: a\n  log: {path: /nothing/*}\n  metrics:\n"
        "  - {name: business_a_total, type: counter, help: A., contains: a}\n", encoding="utf-8")
    (tmp_path / "exporters.yml").write_text("exporters: [{business: {config: counts.yml}}]\n", encoding="utf-8")

    with together.load(tmp_path / "exporters.yml") as exporters:
        assert "business" == exporters.name
