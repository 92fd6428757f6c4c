"""The real Prometheus and the real VictoriaMetrics with samples of our choice, at once: no scraping, no waiting."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from observe.model import Labels
from tests.real.process import RealProcess, free_port, http_get, http_ok, require, wait_until

Points = Mapping[Labels, Sequence[tuple[int, float]]]
"""series -> (ms, value)."""


def exposition(points: Points, *, milliseconds: bool) -> str:
    lines = []
    for labels in sorted(points, key=lambda one: one.pairs):
        name = f"{labels.name}{{{','.join(f'{k}={_quote(v)}' for k, v in labels.pairs if k != '__name__')}}}"
        lines += [f"{name} {value!r} {at if milliseconds else at / 1000}" for at, value in points[labels]]
    return "\n".join(lines) + "\n"


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def prometheus(
    folder: Path, points: Points | None = None, *extra: str, config: str = "", receiver: bool = True,
    ready: Callable[[str], object] | None = None,
) -> tuple[RealProcess, str]:
    """A running Prometheus that holds `points`, and its address. `ready` asks it instead of us where it refuses us."""
    binary, promtool = require("prometheus"), require("promtool")
    data = folder / "tsdb"
    if points:
        source = folder / "points.om"
        source.write_text(exposition(points, milliseconds=False) + "# EOF\n")
        subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", source, data], check=True,
                       capture_output=True, timeout=300)
    (folder / "prometheus.yml").write_text(config or "global: {scrape_interval: 1s}\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = RealProcess("prometheus", [
        binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle",
        *(["--web.enable-remote-write-receiver"] if receiver else []),
        "--storage.tsdb.retention.time=30d", "--storage.remote.flush-deadline=1s", *extra,
    ], folder)
    return server.wait_healthy(lambda: ready(url) if ready else http_ok(f"{url}/-/ready")), url


def victoria_metrics(folder: Path, points: Points | None = None) -> tuple[RealProcess, str]:
    """A running VictoriaMetrics that holds `points`, and its address."""
    binary = require("victoria-metrics")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = RealProcess("victoria-metrics", [
        binary, f"-storageDataPath={folder / 'vm'}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=30d",
        "-search.latencyOffset=0s", "-memory.allowedBytes=128MiB",
    ], folder)
    server.wait_healthy(lambda: http_ok(f"{url}/health"))
    if points:
        request = urllib.request.Request(
            f"{url}/api/v1/import/prometheus", exposition(points, milliseconds=True).encode(), method="POST")
        urllib.request.urlopen(request, timeout=60).close()
        http_get(f"{url}/internal/force_flush")
        everything = f"{url}/api/v1/export?match[]=" + urllib.parse.quote('{__name__!=""}')
        wanted = sum(len(values) for values in points.values())
        wait_until(lambda: sum(len(json.loads(line)["values"]) for line in http_get(everything).splitlines()) == wanted,
                   "VictoriaMetrics shows what it was given", 60)
    return server, url
