"""Exporters and followers of log files change with the configuration, and what did not change is not disturbed."""

import pytest

from observe.clock import SystemClock
from observe.collect.tail_settings import TailSettings
from observe.errors import UsageError
from observe.inside import FollowedLogs, RunningExporters
from observe.telemetry import Telemetry
from tests.collect.sinks import KeptSignals
from tests.real.process import wait_until


def test_an_exporter_is_started_once_for_its_options_and_anew_for_others():
    exporters = RunningExporters()
    first = exporters.run({"host": {}, "python_runtime": {}})
    second = exporters.run({"host": {"without": "disk"}, "python_runtime": {}})
    try:
        assert first["host"] is not second["host"]
        assert first["python_runtime"] is second["python_runtime"]
        assert b"host_disk" in first["host"].exposition()
        assert b"host_disk" not in second["host"].exposition()
    finally:
        exporters.keep({})


def test_an_exporter_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="toaster"):
        RunningExporters().run({"toaster": {}})


def test_files_are_followed_and_left_as_the_configuration_says(tmp_path):
    sink = KeptSignals()
    logs = FollowedLogs(sink, tmp_path / "tail", SystemClock(), Telemetry())
    one, other = (TailSettings((str(tmp_path / name),), poll_ms=10) for name in ("one.log", "other.log"))

    def said():
        return [line.message for line in sink.logs]

    logs.follow([one])
    logs.start()
    try:
        (tmp_path / "one.log").write_text("a\n")
        wait_until(lambda: said() == ["a"], "the first line")
        logs.follow([other])
        (tmp_path / "other.log").write_text("b\n")
        wait_until(lambda: said() == ["a", "b"], "the other file's line")
        with (tmp_path / "one.log").open("a") as file:
            file.write("c\n")
        logs.follow([one, other])
        wait_until(lambda: said() == ["a", "b", "c"], "what was written meanwhile, and nothing twice")
    finally:
        logs.stop()
