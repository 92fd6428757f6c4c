"""A real Elasticsearch 8.19 for tests: the reduced distribution that Elastic publishes through Maven.

It has the core, security and the network layer; it lacks lifecycle management, ingest, painless and most analyzers, so
what needs those is not exercised here (docs/elasticsearch.md lists it). `make setup-real` fetches it into `.cache/`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Self

from tests.real.process import RealProcess, free_port, http_get, missing

VERSION = "8.19.0"
CACHE = Path(__file__).parents[2] / ".cache" / "elasticsearch"
HOME = CACHE / f"elasticsearch-{VERSION}"
FETCH_S = 1200
"""Behind a network that swallows what is sent, maven would wait without end, and `make test` with it."""
_ARTIFACT = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"


def provision() -> str:
    """Fetch and unpack it once; returns what is missing, or an empty string."""
    if (HOME / "bin" / "elasticsearch").exists():
        return ""
    for program in ("mvn", "java"):
        if shutil.which(program) is None:
            return f"elasticsearch {VERSION} (no {program} to get it with)"
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        fetched = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={CACHE}"],
            check=False, cwd=CACHE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=FETCH_S)
    except subprocess.TimeoutExpired:
        return f"elasticsearch {VERSION} (maven had not fetched it after {FETCH_S} s)"
    archives = list(CACHE.glob("elasticsearch-*.zip"))
    if fetched.returncode or not archives:
        return f"elasticsearch {VERSION} (maven: {fetched.stdout.strip()[-300:] or fetched.returncode})"
    beside = CACHE / f".unpacking-{os.getpid()}"
    with zipfile.ZipFile(archives[0]) as archive:
        archive.extractall(beside)
    for program in (beside / HOME.name / "bin").iterdir():
        program.chmod(0o755)
    (beside / HOME.name).replace(HOME)
    shutil.rmtree(beside)
    archives[0].unlink()
    return ""


def _required() -> Path:
    lacking = "" if (HOME / "bin" / "elasticsearch").exists() else f"elasticsearch {VERSION} (run `make setup-real`)"
    if not lacking and shutil.which("java") is None:
        lacking = "java"
    if lacking:
        missing(lacking)
    return _reachable(HOME)


def _reachable(home: Path) -> Path:
    """Elasticsearch refuses root, and another user may not enter a checkout under /root: then it runs from a copy."""
    if os.geteuid() != 0 or all(place.stat().st_mode & 0o001 for place in home.parents):
        return home
    copy = Path(tempfile.gettempdir()) / f"observe-{home.name}"
    if not copy.exists():
        beside = copy.with_name(f"{copy.name}-{os.getpid()}")
        shutil.copytree(home, beside)
        beside.chmod(0o755)
        try:
            beside.replace(copy)
        except OSError:  # another test run was quicker
            shutil.rmtree(beside)
    return copy


def _java_home() -> str:
    return str(Path(shutil.which("java") or "/usr/bin/java").resolve().parents[1])


class ElasticNode:
    """One node on loopback. `kill` and `start` again keep its data and its port."""

    def __init__(self, extra: str = "xpack.security.enabled: false\n", scheme: str = "http") -> None:
        home = _required()
        # Not in pytest's folder: every test run on the machine closes that to other users again.
        folder = self.folder = Path(tempfile.mkdtemp(prefix="observe-elasticsearch-"))
        self.port, self._transport = free_port(), free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        for name in ("data", "logs", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        config = folder / "config"
        shutil.copytree(home / "config", config)
        options = config / "jvm.options"
        text = options.read_text()
        for old, new in (
            ("file=logs/gc.log", f"file={folder}/logs/gc.log"), ("ErrorFile=logs/", f"ErrorFile={folder}/logs/"),
            ("HeapDumpPath=data", f"HeapDumpPath={folder}/data"),
        ):
            text = text.replace(old, new)
        options.write_text(text)
        (config / "elasticsearch.yml").write_text(
            f"cluster.name: test\nnode.name: n1\nnetwork.host: 127.0.0.1\nhttp.port: {self.port}\n"
            f"transport.port: {self._transport}\npath.data: {folder}/data\npath.logs: {folder}/logs\n"
            f"discovery.type: single-node\ncluster.routing.allocation.disk.threshold_enabled: false\n{extra}")
        self._process: RealProcess | None = None

    def run_tool(self, name: str, *words: str) -> None:
        """One of the programs in bin/, with this node's configuration."""
        subprocess.run(
            [str(_required() / "bin" / name), *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "ES_PATH_CONF": str(self.folder / "config"), "ES_JAVA_HOME": _java_home()})

    def start(self, *, wait: bool = True) -> Self:
        home = _required()
        self._process = RealProcess(
            "elasticsearch", [str(home / "bin" / "elasticsearch")], self.folder, user="nobody",
            env={"ES_PATH_CONF": str(self.folder / "config"), "ES_TMPDIR": str(self.folder / "tmp"),
                 "ES_JAVA_HOME": _java_home(), "ES_JAVA_OPTS": "-Xms384m -Xmx384m -XX:TieredStopAtLevel=1"})
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        assert self._process is not None
        self._process.wait_healthy(self._healthy, 120)

    def _healthy(self) -> bool:
        if self.url.startswith("https"):
            return "] started {" in self._process.output() if self._process else False
        return bool(json.loads(http_get(f"{self.url}/_cluster/health"))["status"] in {"green", "yellow"})

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method: str, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


if __name__ == "__main__":
    said = provision()
    print(f"MISSING: {said}" if said else f"elasticsearch {VERSION} is in {HOME}")
    sys.exit(1 if said and os.environ.get("CI") else 0)
