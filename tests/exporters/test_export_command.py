"""``observe export``: served alone, with a token, on a taken port, and stopped."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.real.process import RealProcess, http_get, wait_until

HERE = {"PYTHONPATH": str(Path.cwd())}


def _argv(*words: str) -> list[str]:
    return [sys.executable, "-m", "observe", "export", *words]


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _argv(*words), capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **HERE},
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_serves_and_stops_in_order(tmp_path, how):
    with RealProcess("host", _argv("host", "--listen", "127.0.0.1:0"), tmp_path, env=HERE) as served:
        served.wait_healthy(lambda: "http://" in served.output())
        words = served.output().split()
        page = http_get(words[-1])
        os.kill(served.pid, how)
        wait_until(lambda: not served.is_running, "it stops")

        assert words[:2] == ["exporter", "host:"]
        assert b"host_memory_total_bytes " in page
        assert (served.stop(), len(served.output().splitlines())) == (0, 1)


def test_a_token_of_a_file_guards_an_open_address(tmp_path):
    token = tmp_path / "token"
    token.write_text("long random\n", encoding="utf-8")
    argv = _argv("host", "--listen", "0.0.0.0:0", "--serve-token-file", str(token))
    with RealProcess("host", argv, tmp_path, env=HERE) as served:
        served.wait_healthy(lambda: "http://" in served.output())
        url = served.output().split()[-1].replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(urllib.error.HTTPError) as refused:
            http_get(url)
        refused.value.close()
        request = urllib.request.Request(url, headers={"Authorization": "Bearer long random"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            allowed = answer.status

    assert (refused.value.code, allowed) == (401, 200)


@pytest.mark.parametrize(("words", "code", "why"), [
    (["host", "--listen", "0.0.0.0:9"], 2, "is open to the network: give --serve-token-file"),
    (["host", "--listen", "127.0.0.1:x"], 2, "'x' is not a port"),
    (["host", "--serve-token-file", "/nonexistent"], 2, "No such file or directory; name a file"),
    (["hots"], 2, "there is no exporter `hots`; did you mean `host`?"),
    (["host", "--colour", "red"], 2, "there is no option `--colour`"),
    (["redis", "--url", "http://x"], 2, "is not a Redis URL"),
    (["business", "--once"], 2, "name the YAML file that declares your figures"),
    (["business", "--once", "--config", "/nonexistent.yml"], 1, "/nonexistent.yml: cannot be read"),
    (["gpu", "--once", "--interval", "0"], 2, "is not a positive number of seconds"),
])
def test_wrong_use_is_told_with_what_to_do(words, code, why):
    result = _run(*words)

    assert (result.returncode, why in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("words", "why"), [
    (["redis", "--once", "--url", "redis://127.0.0.1:1/0"], "collector redis: Unavailable: Redis at"),
    (["rabbitmq", "--once", "--url", "http://127.0.0.1:1"], "collector rabbitmq: Unavailable: "),
], ids=["redis", "rabbitmq"])
def test_what_could_not_be_read_once_is_told_once_and_is_no_error(words, why):
    result = _run(*words)

    lines = result.stderr.splitlines()
    assert (0, 1) == (result.returncode, len(lines)), result.stderr
    assert lines[0].startswith(f"observe export: {why}")
    assert f'exporter_success{{collector="{words[0]}"}} 0' in result.stdout


def test_a_taken_port_is_an_error_that_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = _run("host", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")

    assert result.returncode == 1
    assert "choose another address with --listen" in result.stderr
