"""Alertmanager's API v2 as its clients see it: over HTTP, and through the real amtool."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from fastapi import FastAPI

from observe.cli import main
from observe.clock import SystemClock
from observe.commands.silence import matcher_text
from observe.model import Matcher
from observe.notify.matcher_text import parse_matchers
from observe.notify.settings import Route
from observe.show.alertmanager_api import alertmanager_routes
from observe.show.notify_api import notify_routes
from tests.notify.desk import Office, Phone, firing, quick
from tests.real.process import require
from tests.real.served import served


@contextmanager
def client(office: Office) -> Iterator[httpx.Client]:
    app = FastAPI()
    app.include_router(alertmanager_routes(office.notifier, office.clock))
    app.include_router(notify_routes(office.notifier, office.clock))
    transport = httpx.ASGITransport(app)

    class Asking(httpx.Client):
        def request(self, method, url, **named):
            async def ask() -> httpx.Response:
                async with httpx.AsyncClient(transport=transport, base_url="http://observe.example") as inner:
                    return await inner.request(method, url, **named)

            return asyncio.run(ask())

    with Asking() as asking:
        yield asking


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def http(office: Office) -> Iterator[httpx.Client]:
    with client(office) as asking:
        yield asking


def test_alerts_are_listed_with_their_evidence_and_receivers(office, http):
    a = firing(office.clock)
    office.accept(a)
    (told,) = http.get("/api/v2/alerts").json()
    assert told["labels"] == dict(a.labels)
    assert (told["annotations"]["value"], told["annotations"]["expected"]) == ("2.5", "0.5 – 1.5")
    assert (told["fingerprint"], told["receivers"]) == (a.fingerprint, [{"name": "phone"}])
    assert told["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []}


@pytest.mark.parametrize(("query", "expected"), [
    ("", ["a", "b"]), ('filter=instance="a"', ["a"]), ("filter=instance=~a|b", ["a", "b"]),
    ('filter={instance!="a",severity="critical"}', ["b"]), ("silenced=false", ["b"]), ("active=false", ["a"]),
    ("receiver=phone", ["a", "b"]), ("receiver=pho", []),
])
def test_alerts_are_filtered(office, http, query, expected):
    office.accept(firing(office.clock, "a"), firing(office.clock, "b"))
    http.post("/api/v2/silences", json=silence(office))
    told = http.get("/api/v2/alerts?" + query).json()
    assert sorted(one["labels"]["instance"] for one in told) == expected


def silence(office: Office, **changes) -> dict:
    from observe.moment import rfc3339

    now = office.clock.now_ms()
    return {"matchers": [{"name": "instance", "value": "a", "isRegex": False}], "startsAt": rfc3339(now),
            "endsAt": rfc3339(now + 3_600_000), "createdBy": "carl", "comment": "works on it", **changes}


def test_a_silence_is_made_read_changed_and_ended(office, http):
    made = http.post("/api/v2/silences", json=silence(office)).json()["silenceID"]
    assert http.get(f"/api/v2/silence/{made}").json()["status"] == {"state": "active"}
    longer = silence(office, id=made, comment="takes longer")
    assert http.post("/api/v2/silences", json=longer).json() == {"silenceID": made}
    assert http.delete(f"/api/v2/silence/{made}").status_code == 200
    assert http.delete(f"/api/v2/silence/{made}").status_code == 200, "as Alertmanager: what is over stays over"
    (told,) = http.get("/api/v2/silences").json()
    assert (told["id"], told["status"], told["comment"]) == (made, {"state": "expired"}, "takes longer")


def test_changing_what_a_silence_matches_makes_another_one(office, http):
    made = http.post("/api/v2/silences", json=silence(office)).json()["silenceID"]
    other = silence(office, id=made, matchers=[{"name": "instance", "value": "b", "isRegex": False}])
    new = http.post("/api/v2/silences", json=other).json()["silenceID"]
    states = {one["id"]: one["status"]["state"] for one in http.get("/api/v2/silences").json()}
    assert new != made
    assert states == {made: "expired", new: "active"}


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), [
    ("POST", "/api/v2/silences", {"matchers": []}, 400, "needs startsAt and endsAt"),
    ("POST", "/api/v2/silences", {"id": "no"}, 404, "silence no does not exist"),
    ("DELETE", "/api/v2/silence/no", None, 404, "silence no does not exist"),
    ("GET", "/api/v2/silence/no", None, 404, "silence no does not exist"),
    ("GET", "/api/v2/alerts?filter=%3D%3D", None, 400, "this is not a matcher"),
    ("GET", "/api/v2/alerts?filter=a%3D~%22(%22", None, 400, "not a regular expression"),
    ("GET", "/api/v2/alerts?receiver=(", None, 400, "not a regular expression"),
    ("POST", "/api/v2/alerts", [{"labels": {}}], 400, "an alert needs labels"),
    ("POST", "/api/v2/alerts", [{"labels": {"": "c"}}], 400, "`` cannot be the name of a label"),
    ("POST", "/api/v2/alerts", [{"labels": {"a": ""}}], 400, "an alert needs labels that are not empty"),
    ("GET", "/api/v2/alerts/groups?filter=%7B", None, 400, "one of the brackets is missing"),
    ("POST", "/api/v2/alerts", [{"labels": {"a": "c"}, "startsAt": "noon"}], 400, "startsAt is not a time"),
    ("POST", "/api/notify/test?receiver=nobody", None, 503, "no receiver `nobody` is configured"),
])
def test_wrong_requests_say_what_is_wrong(http, method, path, body, status, message):
    answer = http.request(method, path, json=body)
    assert (answer.status_code, message in answer.json()) == (status, True)


def test_labels_of_any_name_are_taken_found_and_silenced(office, http):
    """Prometheus 3 and Alertmanager since 0.27 allow them; OpenTelemetry's names have dots."""
    labels = {"alertname": "Full", "disk.used": "/data", "a b": 'x"y'}
    assert 200 == http.post("/api/v2/alerts", json=[{"labels": labels}]).status_code
    (shown,) = http.get("/api/v2/alerts", params={"filter": ['disk.used="/data"', '"a b"="x\\"y"']}).json()
    assert labels == shown["labels"]
    wanted = silence(office, matchers=[{"name": "a b", "value": 'x"y', "isRegex": False}])
    made = http.post("/api/v2/silences", json=wanted).json()["silenceID"]
    (held,) = http.get("/api/v2/alerts").json()
    assert [made] == held["status"]["silencedBy"]
    assert '"a b"="x\\"y"' == matcher_text(http.get(f"/api/v2/silence/{made}").json()["matchers"][0])


def test_good_alerts_of_a_request_are_taken_although_others_are_bad(office, http):
    answer = http.post("/api/v2/alerts", json=[{"labels": {"alertname": "X"}}, {"labels": {}}])
    assert answer.status_code == 400
    assert [one.name for one in office.notifier.open_alerts()] == ["X"]


def test_groups(office, http):
    office.accept(firing(office.clock, "a"), firing(office.clock, "b", labels={"service": "other"}))
    told = http.get("/api/v2/alerts/groups").json()
    assert [(one["labels"]["service"], one["receiver"]["name"], len(one["alerts"])) for one in told] == [
        ("gateway", "phone", 1), ("other", "phone", 1)]


def test_alerts_that_go_to_nobody_are_listed_and_grouped_under_that_name(tmp_path):
    """As the configuration that amtool and Grafana read has it: a receiver `nobody`, and not no receiver at all."""
    office = Office(tmp_path, settings=quick())
    office.accept(firing(office.clock, "a"))
    with client(office) as http:
        (alert,) = http.get("/api/v2/alerts").json()
        (group,) = http.get("/api/v2/alerts/groups").json()
        filtered = http.get("/api/v2/alerts/groups?receiver=nobody").json()
        config = yaml.safe_load(http.get("/api/v2/status").json()["config"]["original"])

        assert [{"name": "nobody"}] == http.get("/api/v2/receivers").json() == alert["receivers"]
        assert ({"name": "nobody"}, [alert]) == (group["receiver"], group["alerts"])
    assert [group] == filtered
    assert "nobody" == config["route"]["receiver"]


def test_the_command_line_says_what_a_silence_holds_back(office, capsys):
    office.accept(firing(office.clock, "a"), firing(office.clock, "b"))
    with serving(office) as url:
        assert 0 == main(["silence", "add", "instance=a", "--url", url])
        one = capsys.readouterr()
        assert 0 == main(["silence", "add", "instance=~a|b", "--url", url])
        both = capsys.readouterr()
        assert 0 == main(["silence", "add", "instance=slip", "--url", url, "--json"])
        none = capsys.readouterr()
        assert 0 == main(["silence", "list", "instance=a", "--url", url])
        listed = capsys.readouterr().out
        assert 2 == main(["silence", "add", "instance=a", "--for", "0s", "--url", url])
        assert 2 == main(["silence", "list", "instance", "--url", url])
        wrong = capsys.readouterr().err

    assert "holds back 1 alert that is on (Down)" in one.err
    assert "holds back 2 alerts that are on (Down)" in both.err
    assert "no alert that is on now matches; those that come are held back" in none.err
    assert {"id"} == set(json.loads(none.out))
    assert 'instance="a"' in listed
    assert one.out.strip() in listed
    assert "'instance' is not a matcher: write name=value" in wrong


def test_a_test_page_says_that_it_is_one(office, http):
    told = http.post("/api/notify/test").json()
    assert told == {"deliveries": [{"receiver": "phone", "ok": True, "detail": "200"}]}
    assert office.phone.got[0].test


def test_matchers_are_read_as_amtool_writes_them():
    written = ['a="b"', "a=b", 'a=~"b|c"', '{a="b, c", d!="e\\"f"}']
    assert [[str(one) for one in parse_matchers(text)] for text in written] == [
        ['a="b"'], ['a="b"'], ['a=~"b|c"'], ['a="b, c"', 'd!="e\\"f"']]


# ------------------------------------------------------------ the real amtool


@contextmanager
def serving(office: Office) -> Iterator[str]:
    app = FastAPI()
    app.include_router(alertmanager_routes(office.notifier, office.clock))
    app.include_router(notify_routes(office.notifier, office.clock))
    with served(app) as url:
        yield url


@pytest.mark.real
def test_amtool_queries_alerts_and_makes_lists_and_expires_silences(tmp_path):
    amtool = require("amtool")
    office = Office(tmp_path, Phone(), clock=SystemClock())
    office.accept(firing(office.clock, "a"), firing(office.clock, "b"))

    with serving(office) as url:
        def run(*words: str) -> str:
            done = subprocess.run([amtool, f"--alertmanager.url={url}", *words], capture_output=True, text=True,
                                  timeout=120, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        told = json.loads(run("alert", "query", "-o", "json", 'instance="a"'))
        assert [one["labels"]["instance"] for one in told] == ["a"]
        run("alert", "add", "alertname=Pushed", "service=x", "--annotation=summary=hello")
        assert "Pushed" in run("alert", "query", "alertname=Pushed")

        made = run("silence", "add", "instance=a", "--comment=works on it", "--duration=1h", "--author=carl").strip()
        assert made in run("silence", "query", "instance=a")
        held = json.loads(run("alert", "query", "-o", "json", "--silenced"))
        assert [one["labels"].get("instance") for one in held] == ["a"]
        run("silence", "update", "--comment=longer", "--duration=2h", made)
        run("silence", "expire", made)
        assert made not in run("silence", "query")
        assert made in run("silence", "query", "--expired")
        assert "disabled" in run("cluster", "show")
        run("config", "show")


@pytest.mark.real
def test_amtool_tries_the_routes_of_observe(tmp_path):
    """What `/api/v2/status` says of routes is what happens, judged by Alertmanager's own walk over them."""
    amtool = require("amtool")
    team, log, rest = Phone("team"), Phone("log"), Phone("rest")
    route = Route(receivers=("rest",), routes=(
        Route(receivers=("log",), matchers=(Matcher("severity", "=~", "critical|warning"),), continue_=True),
        Route(receivers=("team", "log"), matchers=(Matcher("service", "=", "gateway"),), group_by=("...",),
              group_wait_ms=1000),
    ))
    office = Office(tmp_path, team, log, rest, settings=quick(team, log, rest, route=route), clock=SystemClock())
    with serving(office) as url:
        def routed(*labels: str) -> str:
            done = subprocess.run([amtool, f"--alertmanager.url={url}", "config", "routes", "test", *labels],
                                  capture_output=True, text=True, timeout=120, check=False,
                                  env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        assert ["log,team + log", "rest", "nobody"] == [
            routed("severity=critical", "service=gateway"), routed("severity=info"), routed("alertname=Watchdog")]
