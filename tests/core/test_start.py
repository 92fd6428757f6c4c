"""What a start loads: an import that creeps in costs every start its time and every server its memory."""

import subprocess
import sys

import pytest

HEAVY = ("duckdb", "grafanalib", "httpx", "matplotlib", "pandas", "plotly", "rich", "scipy", "statsmodels")


@pytest.mark.parametrize("module", ["observe.metrics_app", "observe.app"])
def test_nothing_heavy_is_loaded_before_it_is_needed(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"

    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert "" == told.stdout.strip()
