"""The scrape loop against real exporters: what is stored, what is said of it, and who is not disturbed."""

import asyncio
import base64
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uvloop

from observe.clock import SystemClock
from observe.collect.scrape import Scraper, ScrapeSettings
from observe.collect.target import Credentials, Tls, local_target, static_target
from observe.errors import StorageError
from observe.model import Labels, MetricMetadata
from observe.protocols import Appended
from observe.telemetry import Telemetry
from observe.testing import FakeTarget
from tests.collect.sinks import KeptSamples

INTERVAL_MS = 40
TIMEOUT_MS = 60_000
"""However busy the machine: what answers at all is not late."""


class Bench:
    """A scraper on its own loop and data thread, and ways to wait for what it does."""

    def __init__(self, sink=None, settings=None):
        self.sink = sink or KeptSamples()
        self.telemetry = Telemetry()
        self.data = ThreadPoolExecutor(1)
        self.scraper = Scraper(settings or ScrapeSettings(), self.sink, self.data, SystemClock(), self.telemetry)
        self.stop = asyncio.Event()

    async def until(self, condition, seconds=120.0):
        """Wait until `condition()` holds; fail with what is there when it does not."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, (self.scraper.health(), self.sink.names())
            await asyncio.sleep(0.005)

    async def scraped(self, job, times=1):
        """Wait for this many more scrapes of a job."""
        seen = set()

        def enough():
            seen.update(one.last_scrape_ms for one in self.scraper.health() if one.job == job)
            return len(seen - {None}) > times

        await self.until(enough)

    def health(self, job):
        (found,) = [one for one in self.scraper.health() if one.job == job]
        return found

    def outcome(self, name):
        return self.telemetry.registry.get_sample_value("observe_scrapes_total", {"outcome": name}) or 0

    def dropped(self, reason):
        return self.telemetry.registry.get_sample_value(
            "observe_dropped_total", {"stage": "scrape", "reason": reason}) or 0


@asynccontextmanager
async def scraping(*targets, sink=None, settings=None):
    bench = Bench(sink, settings)
    bench.scraper.set_targets(targets)
    running = asyncio.create_task(bench.scraper.run(bench.stop))
    try:
        yield bench
    finally:
        bench.stop.set()
        await running
        bench.data.shutdown()


def target_of(exporter, job="demo", **changes):
    target = static_target(job, exporter.address, interval_ms=INTERVAL_MS)
    return replace(target, **{"timeout_ms": TIMEOUT_MS, **changes})


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a story on each kind of event loop: their transports differ."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def go(story):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(story())

    return go


def test_the_sink_learns_what_a_metric_is_and_whose_series_they_are(run):
    async def story():
        with FakeTarget("# HELP a How much.\n# TYPE a gauge\na 7\n") as exporter:
            async with scraping(target_of(exporter)) as bench:
                await bench.scraped("demo", 2)
            assert {"a": MetricMetadata("gauge", "How much.", "")} == bench.sink.metadata
            assert {f"demo {target_of(exporter).url}"} == bench.sink.owners

    run(story)


@pytest.mark.parametrize("how", ["length", "chunked", "gzip", "close"])
def test_a_page_becomes_samples_with_the_targets_labels_and_a_report(run, how):
    async def story():
        with FakeTarget('# TYPE a gauge\na{x="y"} 7\nb 2\n' + "c 3\n" * 2, how=how) as exporter:
            async with scraping(target_of(exporter)) as bench:
                await bench.scraped("demo", 3)
            health = bench.health("demo")
            assert (True, "", 4) == (health.up, health.last_error, health.samples)
            assert {7.0} == {value for _, value in bench.sink.of(__name__="a", x="y", job="demo",
                                                                 instance=exporter.address)}
            assert {1.0} == {value for _, value in bench.sink.of(__name__="up", job="demo")}
            assert {4.0} == {value for _, value in bench.sink.of(__name__="scrape_samples_scraped")}
            assert {3.0} == {value for _, value in bench.sink.of(__name__="scrape_samples_post_metric_relabeling")}
            assert [3.0, 0.0, 0.0] == [value for _, value in bench.sink.of(__name__="scrape_series_added")][:3]
            assert all(0 <= value < 60 for _, value in bench.sink.of(__name__="scrape_duration_seconds"))
            assert bench.dropped("duplicate series") >= 3

    run(story)


def test_the_connection_is_kept_and_times_are_aligned(run):
    async def story():
        with FakeTarget() as exporter:
            # However busy the machine: a late scrape still has its time.
            settings = ScrapeSettings(align_tolerance_ms=10_000)
            async with scraping(target_of(exporter), settings=settings) as bench:
                await bench.scraped("demo", 6)
            assert 1 == exporter.connections
            times = [time_ms for time_ms, _ in bench.sink.of(__name__="up")]
            assert {0} == {(later - times[0]) % INTERVAL_MS for later in times}
            path, headers = exporter.requests[0]
            assert ("/metrics", exporter.address, "60") == (
                path, headers["host"], headers["x-prometheus-scrape-timeout-seconds"])
            assert headers["accept"].startswith("application/openmetrics-text")

    run(story)


def test_a_connection_that_ends_between_scrapes_is_opened_again_without_a_failure(run):
    async def story():
        with FakeTarget(hang_up_after=1) as exporter:
            async with scraping(target_of(exporter)) as bench:
                await bench.scraped("demo", 5)
            assert exporter.connections >= 5
            assert {1.0} == {value for _, value in bench.sink.of(__name__="up")}

    run(story)


@contextmanager
def unreachable():
    """An address of this machine where nobody listens, and nobody else can begin to meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    ("exporter", "changes", "outcome", "words"),
    [
        ({"page": "a 1\nb zwei\n"}, {}, "malformed", "line 2: `zwei` is not a number (in `b zwei`)"),
        ({"status": 503}, {}, "status", "answered 503"),
        ({"how": "stall"}, {"timeout_ms": 60}, "timeout", "no answer within 0.06 s"),
        ({"how": "cut"}, {}, "closed", "before the page was complete"),
        ({"how": "junk"}, {}, "protocol", "not HTTP"),
        *(({"page": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\na 1\n\r\n0\r\n\r\n", "how": "raw"},
           {}, "protocol", "chunk") for size in ("-6", "0x4", "1_0", "", "4" * 70)),
        ({"page": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{'4' * 5_000}", "how": "raw"}, {}, "protocol",
         "chunk"),
        ({"page": "a 1\n" * 100}, {"body_size_limit": 99}, "body_size", "raise body_size_limit"),
        ({"page": "a 1\n" * 100, "how": "gzip"}, {"body_size_limit": 99}, "body_size", "raise body_size_limit"),
        ({"page": "a 1\n" * 100, "how": "chunked"}, {"body_size_limit": 99}, "body_size", "raise body_size_limit"),
        ({"page": b"no gzip", "headers": {"Content-Encoding": "gzip"}}, {}, "gzip", "not valid gzip"),
        ({"headers": {"Content-Encoding": "br"}}, {}, "protocol", "not asked for"),
        *(({}, {"url": url}, "address", f"{url} is not an address") for url in (
            "http://[::1/metrics", "http://127.0.0.1:99999/metrics", "ftp://127.0.0.1/metrics", "http:///metrics",
        )),
        ({}, {"credentials": Credentials(secret_file=Path("/nowhere/token"))}, "credentials",
         "/nowhere/token: No such file or directory"),
        ({}, {"wrong": "the label __scrape_interval__ says never"}, "labels", "__scrape_interval__ says never"),
        ({}, {"tls": Tls(ca_file=Path("/nowhere/ca.pem")), "url": "https://127.0.0.1:9/metrics"}, "connect",
         "cannot connect to 127.0.0.1:9: No such file or directory"),
        ({"page": "a 1\nb 2\n"}, {"sample_limit": 1}, "sample_limit", "2 samples, 1 are allowed"),
        ({"page": 'a{b="c"} 1\n'}, {"label_limit": 3}, "label_limit", "a has 4 labels"),
        ({"page": 'a{bcdefghijk="c"} 1\n'}, {"label_name_length_limit": 9}, "label_name_length_limit", "longer than 9"),
        ({"page": 'a{b="0123456789012345678901234567"} 1\n'}, {"label_value_length_limit": 25},
         "label_value_length_limit", "the value of label b of a"),
        ({"content_type": "application/openmetrics-text"}, {}, "no_eof", "without `# EOF`"),
        ({"status": 302, "headers": {"Location": "/metrics"}}, {}, "status", "redirect 11 of at most 10"),
        *(({"status": 302, "headers": {"Location": there}}, {}, "status", "where no page is") for there in (
            "file:///etc/passwd", "http://[::1/metrics", "http://127.0.0.1:99999/metrics", "http://127.0.0.1:0/metrics",
        )),
    ],
)
def test_a_target_that_fails_is_down_with_the_reason_and_its_neighbour_is_not(run, exporter, changes, outcome, words):
    async def story():
        with FakeTarget(**exporter) as bad, FakeTarget() as good:
            async with scraping(target_of(bad, "bad", **changes), target_of(good, "good")) as bench:
                await bench.scraped("bad", 2)
                await bench.scraped("good", 2)
            assert False is bench.health("bad").up
            assert words in bench.health("bad").last_error
            assert bench.outcome(outcome) >= 2
            assert {0.0} == {value for _, value in bench.sink.of(__name__="up", job="bad")}
            assert {1.0} == {value for _, value in bench.sink.of(__name__="up", job="good")}
            assert [] == [name for name in bench.sink.names() if name.startswith(("a{", "b{")) and 'job="bad"' in name]

    run(story)


def test_nobody_listening_is_said_with_the_address(run):
    async def story():
        with unreachable() as address:
            target = replace(static_target("bad", address, interval_ms=INTERVAL_MS), timeout_ms=TIMEOUT_MS)
            async with scraping(target) as bench:
                await bench.scraped("bad", 1)
        assert f"cannot connect to {address}: Connection refused" in bench.health("bad").last_error
        assert bench.outcome("connect") >= 1

    run(story)


def test_series_end_with_the_marker_when_they_vanish_fail_or_their_target_goes(run):
    async def story():
        with FakeTarget("a 1\nb 2\n") as exporter:
            async with scraping(target_of(exporter)) as bench:
                await bench.scraped("demo", 2)
                exporter.page = "a 1\n"
                await bench.until(lambda: bench.sink.of(__name__="b")[-1][1] == "stale")
                assert 1.0 == bench.sink.of(__name__="a")[-1][1]
                exporter.status = 500
                await bench.until(lambda: bench.sink.of(__name__="a")[-1][1] == "stale")
                assert 1 == [value for _, value in bench.sink.of(__name__="b")].count("stale"), "once is enough"
                exporter.status = 200
                await bench.until(lambda: bench.sink.of(__name__="a")[-1][1] == 1.0)
                assert 1.0 == bench.sink.of(__name__="up")[-1][1]
                bench.scraper.set_targets([])
                await bench.until(lambda: bench.sink.of(__name__="up")[-1][1] == "stale")
                assert "stale" == bench.sink.of(__name__="a")[-1][1]
                for labels in bench.sink.ids:
                    times = [time_ms for time_ms, _ in bench.sink.of(**dict(labels))]
                    assert sorted(set(times)) == times, str(labels)

    run(story)


def test_an_exemplar_that_is_too_long_costs_itself_alone(run):
    page = (f'a_total{{x="1"}} 7 # {{trace="{"y" * 200}"}} 1\n'
            'a_total{x="2"} 8 # {trace="z"} 1\n# EOF\n')

    async def story():
        with FakeTarget(page, "application/openmetrics-text; version=1.0.0") as exporter:
            async with scraping(target_of(exporter)) as bench:
                await bench.scraped("demo", 2)
            assert True is bench.health("demo").up
            assert 1 == bench.dropped("exemplar too long")
            assert ["z"] == [one.labels["trace"] for one in bench.sink.exemplars]
            assert {7.0} == {value for _, value in bench.sink.of(__name__="a_total", x="1")}

    run(story)


class Full(KeptSamples):
    """Refuses everything once it is full, as a store does whose disk is."""

    full = False

    def append(self, frame):
        if self.full:
            raise StorageError("the disk is full")
        return super().append(frame)


def test_an_end_that_cannot_be_stored_is_counted_and_told(run, caplog):
    async def story():
        sink = Full()
        with FakeTarget("a 1\n") as exporter:
            async with scraping(target_of(exporter), sink=sink) as bench:
                await bench.scraped("demo", 2)
                sink.full = True
                bench.scraper.set_targets([])
                await bench.until(lambda: bench.dropped("end not stored"))
            assert 6 == bench.dropped("end not stored")
            assert f"the end of 6 series of http://{exporter.address}/metrics could not be stored" in caplog.text

    run(story)


def test_a_page_that_a_full_store_refuses_says_so_once(run):
    async def story():
        sink = Full()
        with FakeTarget("a 1\n") as exporter:
            async with scraping(target_of(exporter), sink=sink) as bench:
                await bench.scraped("demo", 1)
                sink.full = True
                await bench.until(lambda: bench.outcome("store"))
                assert "the disk is full" == bench.health("demo").last_error

    run(story)


def test_an_error_of_ours_is_told_with_its_trace_and_once(run, caplog):
    class Broken(KeptSamples):
        def append(self, frame):
            raise ZeroDivisionError("a slip")

    async def story():
        with FakeTarget("a 1\n") as exporter:
            async with scraping(target_of(exporter), sink=Broken()) as bench:
                await bench.until(lambda: bench.outcome("bug") >= 3)
            assert 1 == caplog.text.count("could not be taken: please report it")
            assert "ZeroDivisionError: a slip" in caplog.text

    run(story)


def test_at_shutdown_nothing_ends(run):
    async def story():
        with FakeTarget() as exporter:
            async with scraping(target_of(exporter)) as bench:
                await bench.scraped("demo", 2)
            assert "stale" not in {value for _, value in bench.sink.of(__name__="a")}
            assert "stale" not in {value for _, value in bench.sink.of(__name__="up")}

    run(story)


def test_a_reload_keeps_what_is_unchanged_and_goes_on_with_what_is_changed(run):
    async def story():
        with FakeTarget("a 1\n") as kept, FakeTarget("b 1\n") as changed, FakeTarget("c 1\n") as added:
            first = target_of(changed, "changed")
            async with scraping(target_of(kept, "kept"), first) as bench:
                await bench.scraped("kept", 2)
                await bench.scraped("changed", 2)
                bench.scraper.set_targets(
                    [target_of(kept, "kept"), replace(first, sample_limit=10), target_of(added, "added")])
                await bench.scraped("added", 2)
                await bench.scraped("changed", 2)
                changed.page = "d 1\n"
                await bench.until(lambda: bench.sink.of(__name__="b")[-1][1] == "stale")
            assert 1 == kept.connections
            assert 1 == [value for _, value in bench.sink.of(__name__="b")].count("stale"), "only when it was gone"
            assert "stale" not in {value for _, value in bench.sink.of(__name__="up", job="changed")}

    run(story)


def test_a_page_made_in_this_process_needs_no_http_and_may_fail_or_hang(run):
    async def story():
        go = threading.Event()
        state = {"fail": False}

        def page():
            if state["fail"]:
                raise RuntimeError("no GPU here")
            return b"a 1\n"

        def hang():
            go.wait(120)
            return b"late 1\n"

        hanging = replace(local_target("hanging", "me", hang, interval_ms=INTERVAL_MS), timeout_ms=30)
        inside = replace(local_target("inside", "me", page, interval_ms=INTERVAL_MS), timeout_ms=TIMEOUT_MS)
        async with scraping(inside, hanging) as bench:
            await bench.scraped("inside", 3)
            await bench.scraped("hanging", 3)
            state["fail"] = True
            await bench.until(lambda: bench.health("inside").up is False)
            go.set()
        assert 1.0 == bench.sink.of(__name__="a", job="inside", instance="me")[0][1]
        assert "RuntimeError: no GPU here" in bench.health("inside").last_error
        assert "still being made" in bench.health("hanging").last_error
        assert bench.outcome("timeout") >= 2
        assert not any(name.startswith("late") for name in bench.sink.names())

    run(story)


def test_timestamps_of_the_page_are_kept_or_not_as_configured(run):
    async def story():
        with FakeTarget("a 1\nb 2 1700000000000\nc 3 1700000000000\nd 4 1700000000007\n") as exporter:
            ignoring = target_of(exporter, "ignoring", honor_timestamps=False)
            async with scraping(target_of(exporter, "honoring"), ignoring) as bench:
                await bench.scraped("honoring", 2)
                await bench.scraped("ignoring", 2)
            at = bench.sink.of(__name__="up", job="honoring")[0][0]
            assert (at, 1.0) == bench.sink.of(__name__="a", job="honoring")[0]
            for name, sample in [("b", (1_700_000_000_000, 2.0)), ("c", (1_700_000_000_000, 3.0)),
                                 ("d", (1_700_000_000_007, 4.0))]:
                assert {sample} == set(bench.sink.of(__name__=name, job="honoring"))
            assert at - 60_000 < bench.sink.of(__name__="b", job="ignoring")[0][0]

    run(story)


@pytest.mark.parametrize(
    ("honor", "expected"),
    [
        (False, ['a{exported_instance="mine", exported_job="theirs", instance="I", job="demo"}']),
        (True, ['a{instance="mine", job="theirs"}']),
    ],
)
def test_honor_labels_says_who_wins(run, honor, expected):
    async def story():
        with FakeTarget('a{job="theirs",instance="mine"} 1\n') as exporter:
            labels = Labels({"job": "demo", "instance": "I"})
            async with scraping(target_of(exporter, labels=labels, honor_labels=honor)) as bench:
                await bench.scraped("demo", 1)
            assert expected == [name for name in bench.sink.names() if name.startswith("a{")]

    run(story)


def test_an_exported_label_that_is_taken_moves_further(run):
    async def story():
        with FakeTarget('a{job="x",exported_job="y"} 1\n') as exporter:
            async with scraping(target_of(exporter, labels=Labels({"job": "demo"}))) as bench:
                await bench.scraped("demo", 1)
            (name,) = [name for name in bench.sink.names() if name.startswith("a{")]
            assert 'a{exported_exported_job="x", exported_job="y", job="demo"}' == name

    run(story)


def test_secrets_are_sent_to_the_target_and_not_to_where_it_redirects(run, tmp_path):
    async def story():
        secret = tmp_path / "token"
        secret.write_text("s3cret\n")
        with FakeTarget("a 1\n") as there, FakeTarget(status=301) as here:
            here.headers = {"Location": f"http://{there.address}/elsewhere?x=1"}
            basic = target_of(there, "basic", credentials=Credentials("Basic", "pass", user="me"))
            bearer = target_of(here, "bearer", credentials=Credentials(secret_file=secret),
                               headers=(("X-Api-Key", "k3y"),))
            async with scraping(basic, bearer) as bench:
                await bench.scraped("basic", 1)
                await bench.scraped("bearer", 2)
            first = here.requests[0][1]
            assert ("Bearer s3cret", "k3y") == (first["authorization"], first["x-api-key"])
            by_path = {path: (headers.get("authorization"), headers.get("x-api-key"))
                       for path, headers in there.requests}
            assert {"/metrics": ("Basic bWU6cGFzcw==", None), "/elsewhere?x=1": (None, None)} == by_path
            assert "pass" not in repr(basic)

    run(story)


def test_user_and_password_are_read_from_their_files_each_time(run, tmp_path):
    user, secret = tmp_path / "user", tmp_path / "secret"
    user.write_text("me\n")
    secret.write_text("old\n")

    async def story():
        with FakeTarget("a 1\n") as exporter:
            credentials = Credentials("Basic", secret_file=secret, user_file=user)
            async with scraping(target_of(exporter, credentials=credentials)) as bench:
                await bench.scraped("demo", 1)
                secret.write_text("new\n")
                await bench.scraped("demo", 4)
            said = [base64.b64decode(headers["authorization"].split()[1]).decode() for _, headers in exporter.requests]
            assert ("me:old", "me:new") == (said[0], said[-1])
            assert 1 == exporter.connections

    run(story)


def test_a_secret_whose_file_hangs_holds_up_no_loop_and_no_neighbour(run, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # whoever opens it to read waits for a writer

    async def story():
        with FakeTarget("a 1\n") as slow, FakeTarget("a 1\n") as good:
            hanging = target_of(slow, "slow", credentials=Credentials(secret_file=pipe), timeout_ms=60)
            async with scraping(hanging, target_of(good, "good")) as bench:
                await bench.scraped("slow", 2)
                await bench.scraped("good", 2)
                assert "no answer within 0.06 s" in bench.health("slow").last_error
                assert True is bench.health("good").up
                assert ["secret-slow"] == [one.name for one in threading.enumerate() if "secret" in one.name]
                writer = os.open(pipe, os.O_WRONLY)
                pipe.unlink()
                pipe.write_text("s3cret\n")  # what is read from now on
                os.write(writer, b"s3cret\n")
                os.close(writer)
                await bench.until(lambda: len(slow.requests) > 1)
            assert {"Bearer s3cret"} == {headers["authorization"] for _, headers in slow.requests}

    run(story)


class Forgetful(KeptSamples):
    """Gives ids that are good for one time only, as a store does for series that fall silent for long."""

    def __init__(self):
        super().__init__()
        self.good = set()
        self.now = 0

    def series_ids(self, labels, owner=""):
        ids = super().series_ids(labels, owner)
        self.good.update(ids.tolist())
        return ids

    def append(self, frame):
        if frame.timestamps[-1] != self.now:
            self.now = int(frame.timestamps[-1])
            if self.frames:
                self.good.clear()
        known = np.isin(frame.ids, list(self.good))
        if not known.all():
            return Appended(unknown=int((~known).sum()))
        return super().append(frame)


def test_ids_that_the_store_forgot_are_asked_for_again_in_the_same_scrape(run):
    async def story():
        with FakeTarget("a 1\nb 2\n") as exporter:
            async with scraping(target_of(exporter), sink=Forgetful()) as bench:
                await bench.scraped("demo", 5)
                exporter.status = 500
                await bench.until(lambda: [0.0, 0.0] == [value for _, value in bench.sink.of(__name__="up")][-2:])
                exporter.status = 200
                await bench.scraped("demo", 2)
        times = [time_ms for time_ms, _ in bench.sink.of(__name__="up")]
        assert len(times) >= 9
        assert times == [time_ms for time_ms, _ in bench.sink.of(__name__="scrape_series_added")]
        up = [time_ms for time_ms, value in bench.sink.of(__name__="up") if value == 1.0]
        for name in ("a", "b"):
            assert up == [time_ms for time_ms, value in bench.sink.of(__name__=name) if value != "stale"]

    run(story)


def test_what_the_store_refuses_leaves_the_rest_and_is_counted(run):
    async def story():
        with FakeTarget("a 1\nb 1\nc 1\n") as exporter:
            async with scraping(target_of(exporter), sink=KeptSamples(limit=6)) as bench:
                await bench.scraped("demo", 2)
            assert 1.0 == bench.sink.of(__name__="a")[0][1]
            assert bench.dropped("series limit") >= 4
            assert True is bench.health("demo").up

    run(story)
