"""The compose file: by its published schema, and by what a careful reader would look for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.compose.stack import FOLDER, ROOT, SERVICES, STACK, mounts, ports_of

EACH = sorted(SERVICES)
UNASKED = {"load": "sends requests", "shop": "places orders"}
"""Services without a health check: they answer nobody. The file says so at each."""
BUILT_HERE = {name for name, service in SERVICES.items() if "build" in service}


def test_it_keeps_to_the_published_schema():
    """check-jsonschema carries the compose specification's own schema; nothing is fetched."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         FOLDER / "docker-compose.yml"], capture_output=True, text=True, check=False)

    assert (0, "ok -- validation done\n") == (checked.returncode, checked.stdout), checked.stdout + checked.stderr


def test_the_schema_would_find_a_mistake(tmp_path):
    wrong = tmp_path / "docker-compose.yml"
    text = (FOLDER / "docker-compose.yml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("  restart: unless-stopped", "  restrat: unless-stopped"))
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", wrong],
        capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert "restrat" in checked.stdout


@pytest.mark.parametrize("name", EACH)
def test_every_image_is_pinned(name):
    image = SERVICES[name]["image"]

    if name in BUILT_HERE:
        assert (image, SERVICES[name]["build"]) == (
            "observe:local", {"context": "..", "dockerfile": "compose/Dockerfile"})
    else:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", image), image


@pytest.mark.parametrize("name", EACH)
def test_every_service_is_bounded_restarted_and_looked_after(name):
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]

    assert {"cpus", "memory", "pids"} == set(limits)
    assert service["restart"] == "unless-stopped"
    assert {"max-size": "10m", "max-file": "3"} == service["logging"]["options"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    if name in UNASKED:
        assert {"disable": True} == service["healthcheck"]
    else:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


@pytest.mark.parametrize("name", sorted(set(EACH) - set(UNASKED)))
def test_a_health_check_asks_the_service_itself(name):
    asked = re.findall(r"127\.0\.0\.1:(\d+)", " ".join(SERVICES[name]["healthcheck"]["test"]))

    assert {int(port) for port in asked} <= ports_of(name)


@pytest.mark.parametrize("name", sorted(BUILT_HERE))
def test_our_own_services_run_with_no_more_than_they_need(name):
    service = SERVICES[name]
    folders = [source for source in mounts(name).values() if isinstance(source, Path)]

    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    assert "user" not in service, "the image's own, which is not root"
    assert all(entry.endswith((":ro", ":ro,rslave")) for entry in service.get("volumes", ())
               if entry.startswith((".", "/"))), folders


def test_only_loopback_is_published():
    published = {port for service in SERVICES.values() for port in service.get("ports", ())}

    assert {port for port in published if not re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)} == set()
    assert {"127.0.0.1:9900:9900", "127.0.0.1:3000:3000"} <= published


@pytest.mark.parametrize("name", [name for name in EACH if SERVICES[name].get("ports")])
def test_what_is_published_is_served(name):
    assert {int(port.rpartition(":")[2]) for port in SERVICES[name]["ports"]} <= ports_of(name)


@pytest.mark.parametrize("name", EACH)
def test_what_is_mounted_is_there_and_read_only(name):
    for target, source in mounts(name).items():
        if isinstance(source, Path):
            assert source.exists(), f"{name}: {target}"
            assert source == Path("/") or source.is_relative_to(ROOT)
    writable = [entry for entry in SERVICES[name].get("volumes", ())
                if entry.startswith((".", "/")) and ":ro" not in entry]
    assert writable == []


def test_volumes_and_secrets_are_declared_and_used():
    volumes = {source for name in EACH for source in mounts(name).values() if isinstance(source, str)}
    secrets = {secret for service in SERVICES.values() for secret in service.get("secrets", ())}

    assert volumes == set(STACK["volumes"])
    assert secrets == set(STACK["secrets"])


@pytest.mark.parametrize("name", EACH)
def test_a_secret_that_is_read_is_given(name):
    """Of the command, the environment and the mounted files: what they read below /run/secrets."""
    service = SERVICES[name]
    texts = [yaml.safe_dump({key: service[key] for key in ("command", "environment") if key in service})]
    for source in mounts(name).values():
        if isinstance(source, Path) and source.is_relative_to(FOLDER):
            files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
            texts += [path.read_text(encoding="utf-8") for path in files]
    read = set(re.findall(r"/run/secrets/([a-z_]+)", "\n".join(texts)))
    if name == "shop":
        read |= {"postgres_password", "rabbitmq_password", "redis_password"}  # observe.demo.shop --secrets

    assert read == set(service.get("secrets", ()))


def test_one_waits_only_for_what_can_say_that_it_is_healthy():
    awaited = {(name, other, how["condition"]) for name in EACH
               for other, how in SERVICES[name].get("depends_on", {}).items()}

    assert {other for _, other, _ in awaited} <= set(EACH) - set(UNASKED)
    assert {condition for *_, condition in awaited} == {"service_healthy"}


def test_no_secret_is_committed_and_each_has_a_name_in_the_example(tmp_path):
    text = (FOLDER / "docker-compose.yml").read_text(encoding="utf-8")
    example = (FOLDER / ".env.example").read_text(encoding="utf-8")
    names = set(re.findall(r"(?m)^([A-Z_]+)=", example))
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | {one["environment"] for one in STACK["secrets"].values()}

    assert used == names
    assert re.findall(r"(?m)^[A-Z_]+=.+$", example) == []
    ignored = subprocess.run(["git", "check-ignore", "compose/.env"], cwd=ROOT, capture_output=True, check=False)
    assert ignored.returncode == 0


def test_secrets_are_made_once_at_random_and_for_their_owner_alone(tmp_path):
    for name in ("secrets.sh", ".env.example"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())

    def made():
        subprocess.run(["sh", tmp_path / "secrets.sh"], check=True, capture_output=True, cwd="/")
        rows = (tmp_path / ".env").read_text(encoding="utf-8").splitlines()
        return dict(row.split("=") for row in rows)

    first = made()
    (tmp_path / ".env.example").write_text((tmp_path / ".env.example").read_text() + "NEW_ONE=\n")
    second = made()

    assert {len(value) for value in first.values()} == {48}
    assert len(set(first.values())) == len(first)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert {name: second[name] for name in first} == first
    assert set(second) - set(first) == {"NEW_ONE"}
