"""Golden expositions: a case is a folder with ``input/`` (and in it ORIGIN: which real version, or synthetic) and
``metrics.txt``, the whole answer to a scrape. ``make golden`` rewrites the answers; the change is then read as a diff.
"""

import os
from pathlib import Path

HERE = Path(__file__).parent


def check_golden(case: Path, got: bytes) -> None:
    """`got` is what `case` expects, byte for byte."""
    assert (case / "input" / "ORIGIN").read_text().strip(), "an input says where it comes from"
    expected = case / "metrics.txt"
    if os.environ.get("GOLDEN_UPDATE"):
        expected.write_bytes(got)
    assert got.decode() == expected.read_text(encoding="utf-8"), "run `make golden` and read the diff"


def cases(exporter: str) -> list[Path]:
    """The case folders of one exporter."""
    return sorted(folder.parent for folder in (HERE / exporter).glob("*/input"))


def no_time() -> float:
    """A timer that stands still: durations in a golden are 0."""
    return 0.0
