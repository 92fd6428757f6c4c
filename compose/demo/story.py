"""The demo's first incident: wait until the baselines that it will leave are ready, then slow the decoding down."""

import asyncio
import urllib.request
from collections.abc import Callable
from typing import Final

PAGING_RULE: Final = "LatencyOutsideBand"
"""The shipped rule that pages for it. Others on the same metric, over longer windows, need not be waited for."""


def _post(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5):  # noqa: S310 - our own child
        pass


async def tell(
    gateway: str, ready: Callable[[], bool], say: Callable[[str], None], fault: str = "slow_decode", seconds: int = 60,
) -> None:
    """Switch `fault` on at the gateway once `ready()`; `say` tells the person who watches."""
    while not ready():  # noqa: ASYNC110 - a question to another part, which has no event for it
        await asyncio.sleep(0.5)
    await asyncio.to_thread(_post, f"{gateway}/faults/{fault}?seconds={seconds}")
    say(f"the demo now misbehaves on purpose: {fault} for {seconds} s, to show what a page looks like")
