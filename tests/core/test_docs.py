"""Docs that cannot rot: every setting and command is described."""

import doctest
import importlib
import re
import shlex
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from observe import cli, config
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


EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in (ROOT / "observe", *sorted(path for path in (ROOT / "observe").iterdir() if path.is_symlink()))
    for path in sorted(folder.rglob("*.py"))
    if "\n    >>> " in path.read_text()
]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings_are_true(module):
    assert 0 == doctest.testmod(importlib.import_module(module)).failed


def commands_of(page):
    """The lines of a page's code blocks that call `observe`."""
    blocks = re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL)
    blocks += re.findall(r"^    .*$", page.read_text(), re.MULTILINE)
    lines = [line.strip().removeprefix(".venv/bin/") for block in blocks for line in block.splitlines()]
    return [line.replace(" PORT", " 8089") for line in lines if re.match(r"observe [a-z]", line) and "[" not in line]


PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=lambda page: page.name)
def test_commands_that_a_page_shows_are_commands_that_exist(page, capsys):
    wrong = []
    for line in commands_of(page):
        words = shlex.split(line, comments=True)[1:]
        if words[0] not in cli.command_names():
            wrong.append(line)
        elif len(words) > 1:
            try:
                cli.build_parser(words[0]).parse_args(words)
            except SystemExit:
                wrong.append(f"{line}: {capsys.readouterr().err.splitlines()[-1]}")

    assert [] == wrong


def test_the_configuration_of_the_readme_is_valid(tmp_path):
    shown = re.search(r"```yaml\n(# observe\.yml.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "observe.yml").write_text(shown[1])
    loaded = config.load(tmp_path / "observe.yml")

    assert ("gateway", "on-call") == (loaded.scrape.targets[0].job, loaded.notify.webhooks[0].name)
