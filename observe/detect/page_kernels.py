"""How many pages firing bands come to: the state machine of an alert (`observe.alert.states`) over columns.

A page is an alert that begins: its band has fired for `for`, and it is over only when the band has been quiet for
`keep_firing_for`.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np

from observe.jit import kernel


@kernel
def count_pages(times_ms, firing, for_ms, keep_ms, met_ms, clear_ms, alert, pages):
    """Pages that begin at each tick, [T], of `firing` [T, S].

    State of a series, [S]: since when its band fires and since when it does not (-1: not so), and whether it alerts.
    """
    for t in range(firing.shape[0]):
        now = times_ms[t]
        for i in range(firing.shape[1]):
            if firing[t, i]:
                clear_ms[i] = -1
                if met_ms[i] < 0:
                    met_ms[i] = now
                if not alert[i] and now - met_ms[i] >= for_ms:
                    alert[i] = True
                    pages[t] += 1
            elif alert[i]:
                if clear_ms[i] < 0:
                    clear_ms[i] = now
                if now - clear_ms[i] >= keep_ms:
                    alert[i] = False
                    met_ms[i] = -1
            else:
                met_ms[i] = -1


def compile_all() -> None:
    """Compile for the types used in production."""
    none = np.full(1, -1, np.int64)
    one = np.zeros(1, np.int64)
    count_pages(one, np.zeros((1, 1), np.bool_), 0, 0, none, none.copy(), np.zeros(1, np.bool_), one.copy())
