"""Settings of the whole suite.

A test is right on any machine, however busy. It waits for conditions (`tests.real.process.wait_until`), not for time.
Its limits are ten times what a quiet machine takes, unless the limit itself is tried. Its ports are 0, or of
`free_port`. What it opens it closes: what it leaves ends in the middle of another test.

Random examples are the same in every run: a red test must be red again for whoever looks. To search for new ones:
``pytest --hypothesis-profile wide tests/promql``.
"""

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]  # a busy machine is no fault of the data

settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True)
settings.register_profile(
    "wide", derandomize=False, max_examples=2000, deadline=None, suppress_health_check=_SLOW_IS_FINE, print_blob=True)
settings.load_profile("fixed")
