"""The same questions to our API and to the real Prometheus', both scraping one target by one configuration.

Ours must have every field that Prometheus' answer has, of the same type, and the same status; it may have more.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from observe.testing import FakeTarget
from tests.real import metrics_servers
from tests.real.process import RealProcess, free_port, http_get, wait_until

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
PAGE = """# HELP depth Entries that wait.
# TYPE depth gauge
depth{queue="in"} 3
depth{queue="out"} 0
# HELP asked_total Requests.
# TYPE asked_total counter
asked_total 7
"""
RULES = {"groups": [{"name": "all", "interval": "1s", "rules": [
    {"alert": "Deep", "expr": "depth > 2", "labels": {"severity": "page"}, "annotations": {"summary": "{{ $value }}"}},
    {"alert": "DeepLong", "expr": "depth > 2", "for": "1h"},
    {"alert": "Never", "expr": "depth < -1"},
    {"record": "job:depth:sum", "expr": "sum by (job) (depth)"},
]}]}
BOTH = ("GET", "POST")
NOT_COUNTED = {"data.memoryInBytesByLabelName"}
"""Lists that we leave empty: nothing of ours takes memory by the name of a label."""
SPAN = {"start": "NOW-5", "end": "NOW", "step": "1"}
CALLS = [
    ("query", {"query": "depth"}, BOTH), ("query", {"query": "depth", "time": "NOW"}, BOTH),
    ("query", {"query": "depth[1m]"}, BOTH), ("query", {"query": '"words"'}, BOTH), ("query", {"query": "1"}, BOTH),
    ("query", {"query": ""}, BOTH), ("query", {}, BOTH), ("query", {"query": "depth", "time": "soon"}, BOTH),
    ("query", {"query": "depth", "timeout": "long"}, BOTH), ("query", {"query": "sum("}, BOTH),
    ("query", {"query": "nothing_of_that_name"}, BOTH), ("query", {"query": "sum(depth[5m])"}, BOTH),
    ("query", {"query": "depth * on (job) depth"}, BOTH), ("query", {"query": '{queue=~".*"}'}, BOTH),
    ("query_range", {"query": "depth", **SPAN}, BOTH), ("query_range", {"query": "time()", **SPAN}, BOTH),
    ("query_range", {"query": "depth[5m]", **SPAN}, BOTH), ("query_range", {"query": "depth", "start": "NOW"}, BOTH),
    ("query_range", {"query": "depth", **SPAN, "step": "0"}, BOTH),
    ("query_range", {"query": "depth", "start": "0", "end": "NOW", "step": "1"}, BOTH),
    ("query_range", {"query": "depth", "start": "NOW", "end": "NOW-5", "step": "1"}, BOTH),
    ("series", {"match[]": ["depth", "asked_total"]}, BOTH), ("series", {}, BOTH), ("series", {"match[]": "{"}, BOTH),
    ("labels", {}, BOTH), ("labels", {"match[]": "depth"}, BOTH), ("labels", {"match[]": "{"}, BOTH),
    ("label/queue/values", {}, ("GET",)), ("label/queue/values", {"match[]": "depth"}, ("GET",)),
    ("label/__name__/values", {}, ("GET",)),
    ("metadata", {}, ("GET",)), ("metadata", {"metric": "depth"}, ("GET",)),
    ("metadata", {"limit": "-1"}, ("GET",)), ("metadata", {"limit": "0"}, ("GET",)),
    ("metadata", {"limit_per_metric": "0"}, ("GET",)), ("metadata", {"limit": "few"}, ("GET",)),
    ("query", {"query": "depth", "stats": "all"}, BOTH),
    ("query_range", {"query": "depth", "stats": "all", **SPAN}, BOTH),
    ("targets/metadata", {"limit": "-1"}, ("GET",)), ("scrape_pools", {}, ("GET",)), ("status/walreplay", {}, ("GET",)),
    ("targets/metadata", {}, ("GET",)), ("targets/metadata", {"metric": "depth", "limit": "1"}, ("GET",)),
    ("targets/metadata", {"match_target": '{job="sim"}'}, ("GET",)),
    ("targets/metadata", {"match_target": '{job="none"}'}, ("GET",)),
    ("targets/metadata", {"match_target": "{"}, ("GET",)), ("targets/metadata", {"metric": "none"}, ("GET",)),
    ("targets", {}, ("GET",)), ("targets", {"state": "active"}, ("GET",)), ("targets", {"state": "dropped"}, ("GET",)),
    ("rules", {}, ("GET",)), ("rules", {"type": "alert"}, ("GET",)), ("rules", {"type": "record"}, ("GET",)),
    ("rules", {"type": "none"}, ("GET",)), ("alerts", {}, ("GET",)), ("alertmanagers", {}, ("GET",)),
    ("status/config", {}, ("GET",)), ("status/runtimeinfo", {}, ("GET",)), ("status/buildinfo", {}, ("GET",)),
    ("status/tsdb", {}, ("GET",)), ("format_query", {"query": "sum(depth) by(job)"}, BOTH),
    ("format_query", {"query": "sum("}, BOTH), ("query_exemplars", {"query": "depth", **SPAN}, BOTH),
    ("query_exemplars", {"query": "depth("}, BOTH),
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Addresses of ours and of Prometheus, once both have scraped, recorded and fired."""
    folder = tmp_path_factory.mktemp("beside")
    with FakeTarget(PAGE) as target:
        (folder / "rules.yml").write_text(json.dumps(RULES))
        config = json.dumps({
            "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "1s",
                       "external_labels": {"region": "eu", "job": "never seen"}},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [{
                "job_name": "sim", "static_configs": [{"targets": [target.address, "127.0.0.1:1"]}],
                "relabel_configs": [
                    {"source_labels": ["__address__"], "regex": "127.0.0.1:1", "action": "drop"}],
            }, {"job_name": "dropped", "static_configs": [{"targets": ["127.0.0.1:2"]}],
                "relabel_configs": [{"source_labels": ["__address__"], "regex": ".*", "action": "drop"}]}],
        })
        (folder / "ours.yml").write_text(config)
        peer, peer_url = metrics_servers.prometheus(folder, config=config)
        port = free_port()
        ours = RealProcess("observe", [
            sys.executable, "-m", "observe", "serve-metrics", "--listen", f"127.0.0.1:{port}", "--data",
            str(folder / "ours"), "--prometheus-config", str(folder / "ours.yml"),
        ], folder, env={"PYTHONPATH": str(ROOT)})
        with peer, ours:
            urls = (f"http://127.0.0.1:{port}", peer_url)
            for url in urls:
                wait_until(lambda url=url: b"Deep" in http_get(f"{url}/api/v1/query?query=ALERTS")
                           and b"sim" in http_get(f"{url}/api/v1/query?query=job:depth:sum"), f"{url} judges", 40)
            yield urls


def ask(url, path, method, params, now):
    """Status and body."""
    filled = {name: value.replace("NOW-5", str(now - 5)).replace("NOW", str(now)) if isinstance(value, str) else value
              for name, value in params.items()}
    words = urllib.parse.urlencode(filled, doseq=True)
    request = (urllib.request.Request(f"{url}{path}?{words}") if method == "GET"
               else urllib.request.Request(url + path, words.encode()))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def lacking(theirs, ours, at="data"):
    """What Prometheus' answer has and ours has not, by place."""
    if isinstance(theirs, dict):
        if not isinstance(ours, dict):
            return [f"{at}: {type(ours).__name__}, not an object"]
        return [found for key, value in theirs.items() for found in
                (lacking(value, ours[key], f"{at}.{key}") if key in ours else [f"{at}.{key} is missing"])]
    if isinstance(theirs, list):
        if not isinstance(ours, list):
            return [f"{at}: {type(ours).__name__}, not a list"]
        # An element of theirs is there if one of ours lacks nothing of it.
        return [f"{at}: nothing like {value}" for value in theirs
                if all(lacking(value, mine, at) for mine in ours) and at not in NOT_COUNTED]
    kinds = [(int, float) if isinstance(one, int | float) and not isinstance(one, bool) else type(one)
             for one in (theirs, ours)]
    return [] if kinds[0] == kinds[1] else [f"{at}: {ours!r}, they say {theirs!r}"]


def same(agree):
    """Both live: where a busy machine made a scrape of one of them come too late, they agree after the next."""
    wait_until(agree, "the answers agree", 10, 0.5)


@pytest.mark.parametrize(("path", "params", "methods"), CALLS, ids=[f"{path} {params}" for path, params, _ in CALLS])
def test_the_api_has_what_prometheus_api_has(servers, path, params, methods):
    def agree(method):
        now = json.loads(ask(servers[1], "/api/v1/query", "GET", {"query": "time()"}, 0)[1])["data"]["result"][0]
        (status, body), (want, theirs) = (ask(url, f"/api/v1/{path}", method, params, now) for url in servers)
        mine, peer = json.loads(body), json.loads(theirs)

        assert (want, peer["status"], peer.get("errorType")) == (status, mine["status"], mine.get("errorType")), mine
        if want == 200:
            assert [] == lacking(peer["data"], mine["data"])
        return True

    for method in methods:
        same(lambda method=method: agree(method))


@pytest.mark.parametrize("selector", [
    "depth", '{__name__=~"depth|asked_total"}', "job:depth:sum", "nothing_of_that_name",
])
def test_federate_gives_the_same_series_and_values(servers, selector):
    def lines(text):
        return [line.rsplit(" ", 1)[0] if line[0] != "#" else line for line in text.splitlines()]

    def agree():
        ours, theirs = (http_get(f"{url}/federate?{urllib.parse.urlencode({'match[]': selector})}").decode()
                        for url in servers)
        assert lines(theirs) == lines(ours)
        return True

    same(agree)
