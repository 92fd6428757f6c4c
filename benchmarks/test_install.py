"""What an install takes: time with warm package caches, and size on disk. Printed, never asserted."""

import sys
import time

import pytest

from tests.e2e.test_wheel import built_wheel, installed_mb, run


@pytest.mark.timeout(900)
@pytest.mark.parametrize("extra", ["", "[server]"])
def test_install(tmp_path, extra):
    wheel = built_wheel(tmp_path)
    began = time.monotonic()
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    run(tmp_path / "venv" / "bin" / "pip", "install", "--quiet", f"{wheel}{extra}", cwd=tmp_path)
    took = time.monotonic() - began
    print(f"\ninstall of observe-stack{extra}: {took:.0f} s, {installed_mb(tmp_path / 'venv'):.0f} MB")
