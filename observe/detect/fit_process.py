"""Season fits in a process of their own: a server stays free of statsmodels, and its threads are not held up.

`python -m observe.detect.fit_process` reads one question from standard input and answers on standard output.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from observe.detect.fit import MOST_FITTED, Season, fit_season
from observe.detect.history import History
from observe.errors import ObserveError

_NO_STATSMODELS = 3
_PATIENCE_S = 600.0


def fit_elsewhere(history: History, timezone: str = "UTC") -> list[Season | None]:
    """`fit_seasons` in a fresh process. Raises ObserveError with what to do; nothing but the fit is lost then."""
    told = pickle.dumps((history.times_ms, history.values[:, :MOST_FITTED], timezone))
    try:
        done = subprocess.run([sys.executable, "-m", "observe.detect.fit_process"], input=told, capture_output=True,
                              check=False, timeout=_PATIENCE_S, env=_environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ObserveError(f"the season could not be fitted ({error}); it is learned from the points alone") from error
    if done.returncode == _NO_STATSMODELS:
        raise ObserveError("the season is not fitted, because statsmodels is not installed; it is learned from the "
                           "points alone. For fits: pip install 'observe-stack[server,analysis]'")
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise ObserveError(f"the season could not be fitted ({last}); it is learned from the points alone")
    fitted: list[Season | None] = pickle.loads(done.stdout)  # noqa: S301 - our own child's answer
    return fitted + [None] * (len(history.labels) - len(fitted))


def _environment() -> dict[str, str]:
    """Ours, and where we were found: also in a checkout, and from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), root)))}


def main() -> int:
    try:
        import statsmodels  # noqa: F401 - asked here, so that its absence has an exit code of its own
    except ImportError:
        return _NO_STATSMODELS
    times_ms, values, timezone = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent's question
    answer = pickle.dumps([fit_season(times_ms, column, timezone) for column in values.T])
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
