"""Boards are pushed to a Grafana over its HTTP API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from observe.cli import main
from observe.errors import ConfigError, Unavailable
from observe.show import boards
from observe.show.grafana import push
from tests.real.process import free_port

BODIES = list(boards.generated().values())


class Grafana(BaseHTTPRequestHandler):
    """As much of a Grafana as takes boards."""

    token = "right"
    boards: ClassVar[dict] = {}
    folders: ClassVar[set] = set()

    def _answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self._answer(200 if self.path.rpartition("/")[2] in self.folders else 404, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self._answer(401, {"message": "Invalid API key"})
        elif self.path == "/api/folders":
            self.folders.add(body["uid"])
            self._answer(200, body)
        else:
            self.boards[body["dashboard"]["uid"]] = body
            self._answer(200, {"url": f"/d/{body['dashboard']['uid']}/x"})

    def log_message(self, *_):
        pass


@pytest.fixture
def grafana():
    Grafana.boards, Grafana.folders = {}, set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Grafana)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_boards_are_pushed_into_their_folder(grafana, monkeypatch, capsys):
    monkeypatch.setenv("GRAFANA_TOKEN", "right")

    code = main(["boards", "push", "--grafana", grafana])

    assert 0 == code
    assert {body["uid"] for body in BODIES} == set(Grafana.boards)
    assert {("observe", True)} == {(sent["folderUid"], sent["overwrite"]) for sent in Grafana.boards.values()}
    assert f"pushed {grafana}/d/observe-gateway/x" in capsys.readouterr().out


def test_a_wrong_token_and_a_grafana_that_is_away_say_what_to_do(grafana):
    with pytest.raises(ConfigError, match="role Editor"):
        push(grafana, "wrong", BODIES)
    with pytest.raises(Unavailable, match="cannot reach Grafana at"):
        push(f"http://127.0.0.1:{free_port()}", "right", BODIES)
