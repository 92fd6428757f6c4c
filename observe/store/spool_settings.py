"""The bounds of a spool."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """How much one spool keeps, for how long, and how often it syncs."""

    max_bytes: int = 4 << 30
    """On disk, index included."""
    max_age_ms: int = 7 * 86_400_000
    """Since arrival; 0: for ever."""
    when_full: Literal["drop oldest", "refuse"] = "drop oldest"
    segment_bytes: int = 64 << 20
    segment_age_ms: int = 86_400_000
    sync_every_s: float = 0.02
    sync_bytes: int = 1 << 20
    block_bytes: int = 64 << 10
    """Before compression: what is unpacked to read one entry."""
    pending_bytes: int = 64 << 20
    """Taken but not yet written, over all waiting callers."""
