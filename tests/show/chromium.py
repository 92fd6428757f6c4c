"""Whether there is a real browser, and the marks of tests that need one."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

PATIENCE_MS = 120_000
"""For whatever a tab is waited for: a browser is slow where everything runs at once."""

REAL_BROWSER = [
    pytest.mark.real,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not on this machine"),
]
