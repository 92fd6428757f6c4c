"""Rules and boards ask for names that some exporter really gives."""

import json
import re

import pytest

from observe.exporters import names
from tests.exporters.golden import HERE

ROOT = HERE.parents[1]
PREFIXES = ("host", "jvm", "gpu", "queue", "redis", "rabbitmq", "inference", "exporter", "python")
NAME = re.compile(rf"(?<!:)\b(?:{'|'.join(PREFIXES)})_[a-z0-9_]+\b(?!:)(?!\s*[=!]~?\s*\")")  # a colon: a recorded name


def _given() -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in HERE.rglob("metrics.txt"))
    found = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    return found | {f"{name}_{part}" for name in found for part in ("bucket", "sum", "count")}


def _expressions(document: object):
    """Every `expr` of a board."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "expr" and isinstance(value, str):
                yield value
            else:
                yield from _expressions(value)
    elif isinstance(document, list):
        for item in document:
            yield from _expressions(item)


@pytest.mark.parametrize("path", sorted((ROOT / "dashboards/generated").glob("*.json")), ids=lambda path: path.stem)
def test_boards(path):
    asked = {name for expr in _expressions(json.loads(path.read_text())) for name in NAME.findall(expr)}

    assert asked - _given() == set()


@pytest.mark.parametrize("path", sorted((ROOT / "alert_rules").glob("*.yml")), ids=lambda path: path.stem)
def test_rules(path):
    import yaml

    rules = [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    asked = {name for rule in rules for name in NAME.findall(rule["expr"])}

    assert asked - _given() - recorded == set()


def test_every_exporter_has_its_page_in_the_index():
    index = (ROOT / "docs/exporters/index.md").read_text(encoding="utf-8")

    assert [name for name in names() if f"[{name}]({name}.md)" not in index] == []
