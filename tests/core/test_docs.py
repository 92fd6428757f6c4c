"""Docs that cannot rot: every setting and command is described."""

from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from observe.config import Config
from observe.reference import reference

DOCS = Path(__file__).resolve().parents[2] / "docs"


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
