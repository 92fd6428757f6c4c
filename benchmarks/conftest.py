"""At the end of `make bench`: one line a benchmark with what it found out, which the timing table does not show."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    found = [bench for bench in session.benchmarks if bench.extra_info] if session is not None else []
    if found:
        terminalreporter.section("what the benchmarks found")
    for bench in found:
        said = ", ".join(f"{name.replace('_', ' ')} {told(value)}" for name, value in bench.extra_info.items())
        terminalreporter.write_line(f"{bench.name}: {said} (median {told(bench.stats.median * 1e3)} ms a round)")


def told(value):
    """Numbers as people read them: three digits that count, thousands apart."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
