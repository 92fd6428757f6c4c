"""Prometheus' own test scripts, read from a copy of it that you have: ``make promql-scripts PROM_SRC=FOLDER``.

FOLDER is a git repository (then ``PROM_REF`` names the commit) or an unpacked tree. None of the scripts is kept here,
which is why `make test` does not run them: it runs ours (`test_scripts`), that cover the same ground, and asks a real
Prometheus (`test_against_prometheus`). Left out is what we do not have: native histograms (series written ``{{...}}``
and whatever selects them) and the scripts of feature flags.
"""

import math
import os
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from observe.duration import parse_duration_ms
from observe.errors import LimitExceeded, QueryError
from observe.model import Matrix, Samples, Vector, is_absent
from observe.promql.ast import Selector, children
from observe.promql.engine import Engine
from observe.promql.parse import parse
from observe.promql.result import Scalar, Text
from observe.testing import MemorySource, parse_series, series_values

SOURCE, REF = os.environ.get("PROM_SRC", ""), os.environ.get("PROM_REF", "HEAD")
FOLDER = "promql/promqltest/testdata"
LEAST = int(os.environ.get("PROM_LEAST", "840"))
"""Cases that must have been run and be right; HEAD of 3.14-dev has more. Another release may have fewer: set it."""
FLAGGED = {"extended_vectors", "duration_expression", "fill-modifier", "type_and_unit", "start_timestamps", "info",
           "name_label_dropping"}
MISSING = re.compile(
    r"\b(info|histogram_quantiles|limit_ratio|max_of|min_of|start|end|range|step|start_timestamp)\s*\(|[<>]/")
_EVAL = re.compile(r"eval(_fail|_ordered|_warn|_info)?\s+(?:instant\s+at\s+(\S+)|range\s+from\s+(\S+)\s+to\s+(\S+)\s+"
                   r"step\s+(\S+))\s+(.+)")


def git(*words):
    return subprocess.run(["git", "-C", SOURCE, *words], check=True, capture_output=True, text=True).stdout


def names():
    assert SOURCE, "set PROM_SRC to a copy of Prometheus: a git repository or an unpacked tree"
    unpacked = Path(SOURCE, FOLDER)
    listed = [each.name for each in unpacked.glob("*.test")] or git("ls-tree", "--name-only", REF, f"{FOLDER}/").split()
    return {each.rsplit("/", 1)[-1].removesuffix(".test") for each in listed if each.endswith(".test")}


def script(name):
    unpacked = Path(SOURCE, FOLDER, f"{name}.test")
    return unpacked.read_text(encoding="utf-8") if unpacked.exists() else git("show", f"{REF}:{FOLDER}/{name}.test")


def time_ms(text):
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    return sign * (round(float(text) * 1000) if re.fullmatch(r"[\d.]+(e\d+)?", text) else parse_duration_ms(text))


def named(row):
    """The series of a line, and its values; a line of one number is a scalar."""
    match = re.match(r'([a-zA-Z_:][\w:.]*)?\s*(\{(?!\{)(?:[^"}]|"(?:\\.|[^"\\])*")*\})?\s*', row)
    if row[: match.end()].strip() and row[match.end() :].strip():
        return row[: match.end()].strip(), row[match.end() :]
    return "", row


def commands(text):
    """(line number, command, indented lines) one after another."""
    found = []
    for number, row in enumerate(text.splitlines(), 1):
        bare = row.strip()
        if not bare or bare.startswith("#"):
            continue
        if row[0].isspace():
            found[-1][2].append(bare)
        else:
            found.append((number, bare, []))
    return found


def selectors(node):
    if isinstance(node, Selector):
        yield node
    for child in children(node):
        yield from selectors(child)


class Section:
    """What was loaded since the last `clear`."""

    def __init__(self):
        self.source, self.native = MemorySource(), MemorySource()

    def load(self, command, rows):
        step_ms = parse_duration_ms(command.split()[1])
        for row in rows:
            series, values = named(row)
            if "{{" in values:
                self.native.add(parse_series(series), 0, 1.0)
            elif not row.startswith("@st"):
                self.source.load(series, values, step_ms=step_ms)
                if command.startswith("load_with_nhcb"):
                    labels = parse_series(series)
                    derived = {"__name__": labels.name.removesuffix("_bucket")}
                    self.native.add(labels.without("le").updated(derived), 0, 1.0)

    def is_native(self, expr, rows):
        if any("{{" in row for row in rows):
            return True
        try:
            asked = list(selectors(parse(expr)))
        except QueryError:
            return False
        return any(self.native.series(each.matchers, -10**15, 10**15) for each in asked)


def answers(engine, span, expr):
    """(labels or None, values) of each series, None where there is no point; a text is itself."""
    if len(span) == 3:
        value = engine.range(expr, *span)
        assert isinstance(value, Matrix)
        holes = is_absent(value.values).tolist() if value.labels else []
        return [(labels, [None if hole else number for number, hole in zip(row, gone, strict=True)])
                for labels, row, gone in zip(value.labels, value.values.tolist(), holes, strict=True)]
    value = engine.query(expr, span[0])
    if isinstance(value, Text):
        return value.value
    if isinstance(value, Scalar):
        return [(None, [value.value])]
    if isinstance(value, Samples):
        return [(labels, value.values[value.offsets[row] : value.offsets[row + 1]].tolist())
                for row, labels in enumerate(value.labels)]
    assert isinstance(value, Vector)
    return [(labels, [number]) for labels, number in zip(value.labels, value.values.tolist(), strict=True)]


def close(one, other):
    if one is None or other is None or math.isnan(one) or math.isnan(other):
        return (one is None and other is None) or (one is not None and other is not None and math.isnan(one)
                                                   and math.isnan(other))
    return one == other or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-300)


def difference(got, rows, span, *, ordered):
    """What differs from the expected lines, or None."""
    texts = [row.removeprefix("expect string").strip() for row in rows if row.startswith("expect string")]
    if texts or isinstance(got, str):
        return None if texts and parse(texts[0]).value == got else f"text {got!r}, expected {texts}"
    want = []
    for row in rows:
        if not row.startswith("expect "):
            series, values = named(row)
            want.append((parse_series(series) if series else None, series_values(values)))
    if len(span) == 3:  # what is not written at the end is absent
        steps = (span[1] - span[0]) // span[2] + 1
        want = [(labels, values + [None] * (steps - len(values))) for labels, values in want]
        want = [(labels, values) for labels, values in want if any(value is not None for value in values)]
    elif any("range vector" in row for row in rows):
        want = [(labels, [value for value in values if value is not None]) for labels, values in want]
    if not ordered:
        got, want = (sorted(each, key=lambda one: one[0].pairs if one[0] else ()) for each in (got, want))
    if [labels or None for labels, _ in got] != [labels or None for labels, _ in want]:
        return f"series {[str(labels) for labels, _ in got]}, expected {[str(labels) for labels, _ in want]}"
    for (labels, values), (_, expected) in zip(got, want, strict=True):
        if len(values) != len(expected) or not all(map(close, values, expected)):
            return f"{labels}: {values}, expected {expected}"
    return None


SCRIPTS = sorted(names() - FLAGGED)


@cache
def outcome(name):
    """How many cases of a script were right, wrong and left apart, and what is wrong."""
    section, wrong, counts = Section(), [], Counter()
    for number, command, rows in commands(script(name)):
        if command.startswith("clear"):
            section = Section()
        elif command.startswith("load"):
            section.load(command, rows)
        elif match := _EVAL.fullmatch(command):
            how, at, *span, expr = match.groups()
            span = (time_ms(at),) if at else tuple(time_ms(each) for each in span)
            if MISSING.search(re.sub(r"@\s*(start|end)\(\)", "", expr)) or section.is_native(expr, rows):
                counts["apart"] += 1
                continue
            fails = how == "_fail" or any(row.startswith("expect fail") for row in rows)
            try:
                found = answers(Engine(section.source), span, expr)
            except (QueryError, LimitExceeded) as error:
                problem = None if fails else str(error)
            else:
                ordered = how == "_ordered" or "expect ordered" in rows
                problem = "no error" if fails else difference(found, rows, span, ordered=ordered)
            counts["wrong" if problem else "right"] += 1
            if problem:
                wrong.append(f"{name}.test:{number} {expr}\n    {problem}")
    return counts, wrong


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_of_prometheus(name):
    counts, wrong = outcome(name)

    assert not wrong, f"{counts}\n" + "\n".join(wrong[:20])
    assert counts["right"] + counts["apart"]


def test_no_case_went_missing():
    counts = sum((outcome(name)[0] for name in SCRIPTS), Counter())

    print(f"{counts['right']} right, {counts['wrong']} wrong, {counts['apart']} apart in {len(SCRIPTS)} scripts")
    assert counts["right"] >= LEAST, counts
