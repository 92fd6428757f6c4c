"""The garbage collector, tuned for a server whose objects mostly stay: few full collections, none over what never goes.

A full collection over 50 000 series' names stops every thread for about 85 ms. Cycles are rare here, so the young
generations are looked at less often, and what start-up made is moved out of the collector's way.
"""

import asyncio
import gc

_SETTLED_AFTER_S = 20.0
"""By then every module is imported, every kernel loaded and the first scrapes have named their series."""


def tune() -> None:
    """Call once, where the loop runs."""
    gc.collect()  # now, while it is short: 20 s later it would stop every thread for tens of milliseconds
    gc.set_threshold(50_000, 20, 50)
    asyncio.get_running_loop().call_later(_SETTLED_AFTER_S, gc.freeze)
