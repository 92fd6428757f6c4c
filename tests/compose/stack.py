"""The compose file and its configuration files, as they are committed."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "compose"
STACK = yaml.safe_load((FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = STACK["services"]

PORTS = {
    "alertmanager": {9093}, "elasticsearch": {9200}, "grafana": {3000}, "postgres": {5432}, "prometheus": {9090},
    "rabbitmq": {5672, 15672, 15692}, "redis": {6379},
}
"""What images of others listen on unless told otherwise; nothing here tells them."""

CONFIGS = [
    path for name in ("alertmanager", "exporters", "filebeat", "grafana", "observe", "prometheus", "rabbitmq", "redis")
    for path in sorted((FOLDER / name).rglob("*")) if path.is_file()
]


def config(path: str):
    return yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))


def ports_of(service: str) -> set[int]:
    """The ports that a service listens on: of ours as its command says."""
    if service in PORTS:
        return PORTS[service]
    command = " ".join(SERVICES[service].get("command", ()))
    if "--config /etc/observe/observe.yml" in command:
        return {int(config("observe/observe.yml")["listen"].rpartition(":")[2])}
    found = re.search(r"(?:--listen 0\.0\.0\.0:|--host 0\.0\.0\.0 --port )(\d+)", command)
    return {int(found[1])} if found else set()


def mounts(service: str) -> dict[str, Path | str]:
    """Path inside -> the file or folder of the repository, or the name of a volume."""
    found: dict[str, Path | str] = {}
    for entry in SERVICES[service].get("volumes", ()):
        source, target, *_ = entry.split(":")
        found[target] = (FOLDER / source).resolve() if source.startswith((".", "/")) else source
    return found


def inside(service: str, path: str) -> Path | None:
    """The repository's file behind `path` in the service's container."""
    for target, source in mounts(service).items():
        if isinstance(source, Path) and (path == target or path.startswith(target.rstrip("/") + "/")):
            return source / path[len(target):].lstrip("/")
    return None
