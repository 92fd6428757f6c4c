"""`observe logs` and `observe trace` against an HTTP server that answers from a real store."""

import json
import threading
import urllib.parse
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from observe.cli import main
from observe.clock import SystemClock
from observe.errors import QueryError
from observe.protocols import LogQuery
from observe.store.logs import SignalIndex, SignalSettings
from observe.telemetry import Telemetry
from observe.trace.lookup import trace_view
from observe.trace.wire import page_json, trace_json
from tests.store.signals import scenario


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    store = SignalIndex(tmp_path_factory.mktemp("store"), SignalSettings(), SystemClock(), Telemetry())
    scenario.fill(store)
    store.append([scenario.line(90, "evil \x1b[31m escape")], [])
    assert store.wait_indexed()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = urllib.parse.urlsplit(self.path)
            given = dict(urllib.parse.parse_qsl(asked.query))
            status = 200
            try:
                if asked.path == "/api/logs/search":
                    query = LogQuery(0, 2**62, given.get("query", ""), limit=int(given["limit"]))
                    query = replace(query, service=given.get("service"), level=given.get("level"))
                    told = page_json(store.search(query))
                elif asked.path == "/api/services":
                    told = {"services": store.services(0, 2**62)}
                elif given.get("token") or self.headers.get("Authorization") == "Bearer wrong":
                    status, told = 401, {"error": "token not known"}
                else:
                    told = trace_json(trace_view(asked.path.rsplit("/", 1)[1], store))
            except QueryError as error:
                status, told = 400, {"status": "error", "error": str(error)}
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
    store.close()


def test_lines_are_printed_oldest_first(url, capsys):
    assert main(["logs", "failed", "--url", url]) == 0

    out = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 3)[1:3] for line in out] == [["ERROR", "gateway"], ["ERROR", "gateway"]]
    assert "status=503 ms=12.0 error=upstream timed out" in out[0]


def test_more_lines_than_shown_are_said(url, capsys):
    assert main(["logs", "--limit", "3", "--url", url]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 of 15 lines; --limit shows more"


@pytest.mark.parametrize(("words", "said"), [
    (["nowhere"], "no line matches"),
    (["--level", "eror"], "no line matches: 'eror' is no level; did you mean `error`?"),
    (["--level", "loud"], "no line matches: 'loud' is no level; there are: trace, debug, info, warn, error, fatal"),
    (["--service", "gatway"],
     "no line matches: no service 'gatway' sent anything in that time; did you mean `gateway`?"),
])
def test_no_line_says_which_name_was_probably_a_slip(url, capsys, words, said):
    assert main(["logs", *words, "--url", url]) == 0
    assert capsys.readouterr().out == f"{said}\n"


def test_terminal_escapes_are_made_visible(url, capsys):
    assert main(["logs", "evil", "--url", url]) == 0
    assert "evil \\x1b[31m escape" in capsys.readouterr().out


def test_json_is_json_alone(url, capsys):
    assert main(["logs", "failed", "--json", "--url", url]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 2


def test_a_wrong_query_points_at_its_character(url, capsys):
    assert main(["logs", "a (b", "--url", url]) == 2
    assert capsys.readouterr().err.splitlines()[2].rstrip().endswith("^")


def test_a_trace_is_drawn(url, capsys):
    assert main(["trace", scenario.trace_id(1), "--url", url]) == 0

    out = capsys.readouterr().out.splitlines()
    assert out[0] == "POST /generate took 2.64 s; 2.2 s of it in decode on worker"
    assert ["POST" in line for line in out[1:5]] == [True, False, False, False]
    assert "decode took long on worker-2" in out[6]


@pytest.mark.parametrize(("words", "code", "said"), [
    (["trace", "xyz"], 2, "is not a trace id"),
    (["logs", "a", "--url", "ftp://x"], 2, "not the address of a server"),
    (["logs", "a", "--url", "http://127.0.0.1:1"], 1, "is `observe up` running there?"),
    (["logs", "--since", "soon", "--url", "http://127.0.0.1:1"], 2, "--since soon"),
    (["logs", "--since", "1h", "--start", "5"], 2, "give one of them"),
])
def test_wrong_use_says_what_to_do(words, code, said, capsys):
    assert main(words) == code
    assert said in capsys.readouterr().err


def test_a_refused_token_is_told(url, capsys, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "wrong")

    assert main(["trace", scenario.trace_id(1), "--url", url, "--token-env", "MY_TOKEN"]) == 1
    assert "put a token with the right role" in capsys.readouterr().err
