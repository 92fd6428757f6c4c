"""What a server needed once goes back to the system."""

import subprocess
import sys

import numpy as np
import pytest

from observe import memory

CHILD = """
import sys
import numpy as np
from observe import memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if sys.argv[1] == "spared":
    memory.spare()
np.ones(4 << 20, np.uint8)  # from here on glibc keeps all of this size
before, kept, gone = resident(), [], []
for _ in range(40):
    gone.append(np.ones(2 << 20, np.uint8))
    kept.append(bytes(4000))
gone.clear()
print(resident() - before)
"""


def left(how):
    """Bytes that stay resident after 80 MB of columns went, and some small things between them did not."""
    done = subprocess.run([sys.executable, "-c", CHILD, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_columns_that_went_are_not_held_by_what_stays_between_them():
    assert left("spared") < 4_000_000
    assert left("as ever") > 40_000_000


def test_rows_given_back_hold_nothing_and_the_others_what_they_held():
    rows = np.ones((1000, 512))

    memory.give_back(rows, 100, 900)

    assert rows[:100].all()
    assert rows[900:].all()
    assert np.count_nonzero(rows.any(axis=1)) <= 202  # a page may reach over an edge
    rows[100:900] = 2.0
    assert rows.sum() == 512 * 1800


def test_less_than_a_page_is_left_as_it_is():
    rows = np.ones((10, 8))

    memory.give_back(rows, 2, 8)

    assert rows.all()
