"""The threshold engine: the bands of one rule, over all its series, one tick at a time.

State is a struct of arrays in blocks (`columns`); a detector's kernel advances them, blocks shared out over a few
threads. The state is a deterministic fold over what `step` was given: a point at or before a series' last one is judged
but not learned, so replaying from an older tick than a chunk of a snapshot was cut at does no harm.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observe.detect import snapshot as chunks
from observe.detect.band import Band
from observe.detect.budget import Spending, Waits, calibrate
from observe.detect.columns import BLOCK_SERIES, Block
from observe.detect.detector import Tick, Ticks, make
from observe.detect.explain import Explanation, Gate, explanation
from observe.detect.fit import Fit, fit_seasons
from observe.detect.gate_kernels import (
    AS_LONG,
    GATE_COLUMNS,
    RECOVER_M,
    RECOVER_MASK,
    RELEARN_MS,
    TRIGGER_M,
    TRIGGER_MASK,
)
from observe.detect.history import History
from observe.detect.judge_kernels import VALUE_LIMIT, any_beyond
from observe.detect.seasonal import Seasonal
from observe.detect.siblings import Siblings
from observe.detect.slots import Part, SlotTable
from observe.model import Labels, Vector
from observe.protocols import Judgement, Said

_THREADS = 2
"""Shards of series run on this many threads; kernels hold no GIL."""
_SHARED_FROM = 2 * BLOCK_SERIES
"""Series from which handing work to threads pays."""
_SWEEP_EVERY = 256
"""Ticks between two looks for series that went away."""
_SPARE = 1024
"""Results that a rule may have room for beyond what it needs, however few it needs."""
_SWEPT_AT_ONCE = 10_000
"""Series forgotten in one tick at most: about 10 ms."""

_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603 - one pool a process, made when first needed
    if _pool is None:
        _pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="bands")
    return _pool


class _Outputs:
    """Result arrays, used again once nobody else holds them: fresh pages cost more than the arithmetic."""

    _KEEP = 3

    def __init__(self) -> None:
        self._pool: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []

    def take(self, series: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Bands [4, S] and flags [4, S]; every element is going to be written."""
        wanted = 4 * series
        if self._pool and not wanted <= len(self._pool[0][0]) <= 2 * wanted + _SPARE:
            self._pool.clear()
        for pair in self._pool:
            # held by: the pair, getrefcount's argument; any view of it adds one
            if sys.getrefcount(pair[0]) == 2 and sys.getrefcount(pair[1]) == 2:
                break
        else:
            # a little more than wanted: series come and go
            room = len(self._pool[0][0]) if self._pool else wanted + wanted // 16
            pair = np.empty(room), np.empty(room, np.bool_)
            if len(self._pool) < self._KEEP:
                self._pool.append(pair)
        return pair[0][:wanted].reshape(4, series), pair[1][:wanted].reshape(4, series)


SavedState = tuple[SlotTable, dict[str, Any]]
"""Series with their state, and what was saved beside them."""


class Engine:
    """The bands of one rule (`observe.protocols.BandEngine`). One thread calls it, in the order of time."""

    def __init__(self, band: Band, interval_ms: int, factor: float = 1.0) -> None:
        self.band = band
        self.interval_ms = interval_ms
        self.factor = factor
        self.detector = make(band, interval_ms, factor)
        self.spending: Spending | None = None
        """What the width chosen for the band's budget is expected to cost; None until history has told."""
        self._siblings = Siblings(band.by)
        self.slots = SlotTable((*self.detector.columns, *GATE_COLUMNS))
        self._outputs = _Outputs()
        self._ticks = 0
        self._sweeping = False

    def __len__(self) -> int:
        """Series that have state."""
        return len(self.slots)

    @property
    def bytes_per_series(self) -> int:
        return sum(column.bytes_per_series for column in self.slots.columns)

    def step(self, vector: Vector) -> Judgement:
        parts = self.slots.plan(vector.labels)
        if self.slots.placed and self.band.by:
            self._siblings.settle(self.slots, self.slots.placed, self.detector, vector.time_ms)
        bands, flags = self._outputs.take(len(vector.labels))
        tick = Tick(vector.time_ms, _measurable(vector.values[None, :])[0], bands, flags)
        if len(vector.labels) < _SHARED_FROM:
            for part in parts:
                self._advance(tick, part)
        else:
            for done in [_threads().submit(self._advance, tick, part) for part in parts]:
                done.result()
        self._ticks += 1
        if self._ticks % _SWEEP_EVERY == 0 or self._sweeping:
            self._sweeping = self._sweep(vector.time_ms)
        return _judgement(bands, flags)

    def fold(self, times_ms: NDArray[np.int64], labels: tuple[Labels, ...], values: NDArray[np.float64]) -> Judgement:
        """`step` over many ticks of the same series in one go: history, backtests. NaN in `values` [T, S] is a gap.

        Every array of the result is [T, S].
        """
        table = _measurable(values)
        bands, flags = np.empty((len(times_ms), 4, len(labels))), np.empty((len(times_ms), 4, len(labels)), np.bool_)
        ticks = Ticks(np.ascontiguousarray(times_ms, np.int64), table, bands, flags)
        for part in self.slots.plan(labels):
            self.detector.fold(ticks, self.slots.blocks[part.block], part.positions, part.offsets)
        return _judgement(bands.swapaxes(0, 1), flags.swapaxes(0, 1))

    def learn(
        self, history: History, fit: Fit = fit_seasons, going: Callable[[], None] = lambda: None,
        waits: Waits | None = None,
    ) -> None:
        """Start from old data: choose the width for the budget, fold the past, let fits seed what they know better.

        What was learned before is not looked at: points not newer than a series' last one are ignored. `going` is
        called now and then, and may raise to stop it. `waits` are the rule's: they make pages of firing bands.
        """
        spending = calibrate(self.band, self.interval_ms, history, waits, going)
        if spending is not None:
            self.spend(spending)
        for piece in history.pieces():
            going()
            self.fold(piece.times_ms, piece.labels, piece.values)
        self._siblings.rebuild(self.slots)
        if isinstance(self.detector, Seasonal):
            for name, season in zip(history.labels, fit(history, self.band.timezone), strict=True):
                if season is not None:
                    self.detector.seed(*self.slots.at(self.slots.slot_of[name]), season)

    def spend(self, spending: Spending) -> None:
        """Judge at the width that a budget's calibration found from now on. What was learned stays."""
        self.spending = spending
        self.widen(spending.factor)

    def widen(self, factor: float) -> None:
        """Judge at so many times the usual width from now on."""
        self.factor = factor
        self.detector = make(self.band, self.interval_ms, factor)

    def _advance(self, tick: Tick, part: Part) -> None:
        self.detector.advance(tick, self.slots.blocks[part.block], part.positions, part.offsets)

    def forget(self, labels: Iterable[Labels]) -> None:
        self.slots.forget(labels)

    def firing(self) -> list[Labels]:
        """Series that fire now."""
        on = np.concatenate([block.arrays["on"][0, : block.used] for block in self.slots.blocks] or [np.empty(0)])
        owners = (self.slots.owner[slot] for slot in on.nonzero()[0].tolist())
        return [name for name in owners if name is not None]

    @staticmethod
    def _fires(block: Block, offset: int) -> bool:
        return bool(block.arrays["on"][0, offset])

    def explain(self, labels: Labels, said: Said | None = None) -> Explanation | None:
        """Why this series' band is where it is, or None where nothing is known of it; `said` of its last point."""
        slot = self.slots.slot_of.get(labels)
        if slot is None:
            return None
        block, offset = self.slots.at(slot)
        return explanation(
            labels, self.band, self.detector.explain(block, offset), self.interval_ms, self._gate(block, offset),
            self.factor, said, self.spending,
        )

    def _gate(self, block: Block, offset: int) -> Gate:
        signed = self.detector.rules
        rules, bits = signed.view(np.uint64), block.arrays["bits"][:, offset]
        wanted, looked_at = int(rules[RECOVER_M]), int(rules[RECOVER_MASK]).bit_length()
        if signed[AS_LONG]:
            outside = max(1, int(block.arrays["held"][0, offset]))
            wanted, looked_at = min(wanted, outside), min(looked_at, outside)
        return Gate(
            int(block.arrays["clock"][1, offset]) if self._fires(block, offset) else None,
            int(bits[0] & rules[TRIGGER_MASK]).bit_count(), (int(bits[1]) & (1 << looked_at) - 1).bit_count(),
            (int(rules[TRIGGER_M]), int(rules[TRIGGER_MASK]).bit_length()), (wanted, looked_at),
            int(signed[RELEARN_MS]),
        )

    def _sweep(self, time_ms: int) -> bool:
        """Free the state of series that stayed away: a bounded number, so that no tick waits; True if there are more.

        One that comes back starts anew with or without this sweep.
        """
        gone: list[Labels] = []
        left = _SWEPT_AT_ONCE
        for number, block in enumerate(self.slots.blocks):
            last = block.arrays["clock"][0, : block.used]
            away = np.flatnonzero((last >= 0) & (time_ms - last > self.detector.expire_ms))[:left]
            owners = (self.slots.owner[slot] for slot in (away + number * BLOCK_SERIES).tolist())
            gone += [owner for owner in owners if owner is not None]
            last[away] = -1  # looked at; a slot that was free already is not found again
            left -= len(away)
        self.slots.forget(gone)
        return left == 0

    def snapshot_chunks(self) -> Iterator[bytes]:
        """The state in pieces, each good at the tick it was taken: steps may happen in between."""
        beside = {"spending": self.spending.to_json()} if self.spending is not None else {}
        return chunks.write(self.slots, self._identity(), beside)

    def snapshot(self) -> bytes:
        return b"".join(self.snapshot_chunks())

    def restore(self, state: bytes | memoryview) -> None:
        """Take over a state that was saved. Raises `StorageError`, and stays as it is, if it cannot be trusted."""
        view = memoryview(state)
        saved, end = self.read(view, 0)
        chunks.expect_end(view, end)
        self.take(saved)

    def read(self, view: memoryview, at: int) -> tuple[SavedState, int]:
        """The state that begins at `at`, for `take`, and where it ends."""
        fresh = SlotTable(self.slots.columns)
        beside, end = chunks.read(view, at, fresh, self._identity())
        return (fresh, beside), end

    def take(self, saved: SavedState) -> None:
        """Go on from this state."""
        fresh, beside = saved
        self.slots = fresh
        if self.band.budget is not None and "spending" in beside:
            self.spend(Spending(**beside["spending"]))
        self._siblings.rebuild(fresh)

    def _identity(self) -> str:
        """What a state must agree on to be of use here; width and gate may change, the learned stays."""
        shape = ",".join(f"{column.name}:{column.dtype}:{column.rows}" for column in self.slots.columns)
        return f"{self.band.detector} every {self.interval_ms} ms in {self.band.timezone} [{shape}]"


def _measurable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points of [T, S] as detectors take them: what is beyond their arithmetic is as good as infinite."""
    table = np.ascontiguousarray(values, np.float64)
    if any_beyond(table):
        table = np.where(np.abs(table) > VALUE_LIMIT, np.copysign(np.inf, table), table)
    return table


def _judgement(bands: NDArray[np.float64], flags: NDArray[np.bool_]) -> Judgement:
    return Judgement(
        lower=bands[0], upper=bands[1], baseline=bands[2], score=bands[3],
        ready=flags[0], outside=flags[1], firing=flags[2], relearned=flags[3],
    )


def create(band: Band, interval_ms: int, factor: float = 1.0) -> Engine:
    """The engine of one rule, evaluated every `interval_ms`; `factor` scales the width of its bands."""
    return Engine(band, interval_ms, factor)
