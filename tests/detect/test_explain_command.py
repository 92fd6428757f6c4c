"""`observe explain` asks the running server, and prints its words."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from observe.cli import main


@pytest.fixture
def server():
    """Answers as `/api/v1/explain` does; keeps what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            asks = urlsplit(self.path)
            found = [{"labels": {"service": "web"}, "words": ["Expected is 4."]}]
            if asks.path == "/api/v1/rules":
                data = {"groups": [{"rules": [
                    {"name": "Slow", "query": "latency", "band": {}, "seriesTotal": 1},
                    {"name": "Down", "query": "up == 0"},
                    {"name": "Unseen", "query": "nothing", "band": {}, "seriesTotal": 0},
                ]}]}
            else:
                given = parse_qs(asks.query)
                data = found if given["rule"] == ["Slow"] and given.get("service", ["web"]) == ["web"] else []
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}", asked
        http.shutdown()
        thread.join()


def test_the_words_are_printed_below_the_series(server, capsys):
    url, asked = server

    assert 0 == main(["explain", "Slow", "service=web", "--url", url])

    assert "service=web\n  Expected is 4.\n" == capsys.readouterr().out
    assert {"rule": ["Slow"], "service": ["web"], "limit": ["5"]} == parse_qs(urlsplit(asked[0]).query)


def test_nothing_found_is_exit_code_1(server, capsys):
    assert 1 == main(["explain", "Slow", "service=db", "--url", server[0], "--json"])

    assert [] == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("rule", "why"), [
    ("Slow", "no series of Slow has these labels; some that it has: service=web"),
    ("g/Slow", "no series of g/Slow has these labels"),
    ("Sloww", "there is no alerting rule Sloww; did you mean `Slow`?"),
    ("Other", "there is no alerting rule Other; rules with a band: Slow, Unseen"),
    ("Down", "Down has no band: it fires while `up == 0` has a result"),
    ("Unseen", "Unseen has no series yet: `nothing` has no result"),
])
def test_what_is_not_explained_says_why(server, rule, why, capsys):
    assert 1 == main(["explain", rule, "service=db", "--url", server[0]])

    printed = capsys.readouterr()
    assert "" == printed.out
    assert f"observe explain: {why}" in printed.err


def test_a_word_that_is_no_label_is_wrong_use():
    assert 2 == main(["explain", "Slow", "web"])
