"""Docs that cannot rot: every setting and command is described."""

import re
import subprocess
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from observe.config import Config
from observe.reference import metrics_reference, reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def settings(model, prefix="", above=()):
    """Every setting as the docs name it; a section within itself (routes) is described once."""
    for own_name, field in model.model_fields.items():
        name = field.alias or own_name
        kinds = [field.annotation, *get_args(field.annotation)]
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        many = "[]" if sections and getattr(field.annotation, "__origin__", None) is tuple else ""
        if many or not sections:
            yield prefix + name
        for section in sections:
            if section not in above:
                yield from settings(section, f"{prefix}{name}{many}.", (*above, section))


def test_every_setting_is_in_the_docs():
    text = (DOCS / "configuration.md").read_text()

    assert [] == [name for name in settings(Config) if f"| `{name}` |" not in text]


def test_the_command_reference_is_fresh():
    """Run `make docs` after changing a command."""
    assert reference() == (DOCS / "commands.md").read_text()


def test_every_metric_of_our_own_is_in_the_docs():
    """Run `make docs` after adding one."""
    names = re.compile(r"^\| `(observe_\w+)`", re.MULTILINE)

    assert 40 < len(names.findall(metrics_reference()))
    assert names.findall(metrics_reference()) == names.findall((DOCS / "metrics.md").read_text())


def tracked():
    return subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def test_every_folder_is_in_the_architecture_and_what_it_names_exists():
    text = (DOCS / "architecture.md").read_text()
    named = set(re.findall(r"`([\w.]+/[\w./]*)`", text))
    folders = {str(Path(name).parent) for name in tracked() if "/" in name and not name.startswith("tests/")}

    assert [] == sorted(name for name in named if not (ROOT / name).exists())
    assert [] == sorted(name for name in folders - {".ci"} if f"{name}/" not in named)


def test_every_file_of_the_package_root_is_in_the_architecture():
    text = (DOCS / "architecture.md").read_text()
    files = [path.name for path in (ROOT / "observe").glob("*.py") if not path.name.startswith("_")]

    assert [] == [name for name in files if f"`observe/{name}`" not in text]


def test_every_page_is_in_the_index():
    text = (DOCS / "README.md").read_text()
    pages = [path.name for path in DOCS.glob("*.md") if path.name != "README.md"]

    assert [] == [name for name in pages if f"]({name})" not in text]


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in [ROOT / "README.md", *DOCS.rglob("*.md")]
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in link and not (page.parent / link).exists()
    ]

    assert [] == broken
