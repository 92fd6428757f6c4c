"""How benchmarks of ours take time: the best of some runs, in seconds of CPU, which other work disturbs least."""

import time


def best(run, rounds=3):
    """The shortest of some runs."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)
