"""The image's Dockerfile: what it copies is enough to build what its services run."""

import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.compose.stack import FOLDER, ROOT, SERVICES

DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
COPIES = [(words.split()[:-1], words.split()[-1]) for words in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE)]


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Names in the wheel that is built from exactly what the Dockerfile copies."""
    folder = tmp_path_factory.mktemp("image")
    for sources, target in COPIES:
        for source in sources:
            to = folder / "src" / (source if target == "./" else target)
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "src"],
        capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_what_it_copies_makes_a_whole_wheel(contents):
    """As many files as git has: nothing that the package needs was left out of the image."""
    folders = ["exporters", "alert_rules", "dashboards", "compose/demo", "docs/runbooks"]
    tracked = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wanted = {f"observe/{name.removeprefix('compose/').removeprefix('docs/')}" for name in tracked
              if "/tests/" not in name and not name.endswith(".dashboard.py")}

    assert wanted - contents == set()
    assert {"observe/app.py", "observe/show/templates/alert.html", "observe/show/static/console.css"} <= contents


@pytest.mark.parametrize("name", sorted(name for name, service in SERVICES.items() if "build" in service))
def test_what_a_service_runs_is_in_it(contents, name):
    command = SERVICES[name]["command"]
    if command[0] == "observe":
        module = f"observe/commands/{command[1]}.py"
    else:
        module = command[2].replace(".", "/") + ".py"
        module = module if module in contents else module.replace(".py", "/__main__.py")

    assert module in contents


def test_what_it_copies_is_not_left_out_of_the_context():
    """The build context holds what the ignore file lets through, and that is what is copied."""
    rules = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}

    assert rules[0] == "*"
    assert {source for sources, _ in COPIES for source in sources} == let_through


def test_both_stages_are_the_same_pinned_image_and_the_last_is_not_root():
    stages = re.findall(r"(?m)^FROM (\S+)", DOCKERFILE)

    assert len(set(stages)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", stages[0])
    assert re.findall(r"(?m)^USER (\S+)", DOCKERFILE) == ["observe"]
