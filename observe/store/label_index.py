"""Series by their labels: every series of the head has a dense id, a slot, and a place in the postings.

An id is given once and never again while the log lives, so it may be kept by whoever asked for it; ids only grow,
so postings (the ids of the series that carry a pair) are ascending just by being appended to. A slot is a row of the
head's arrays; it is taken again when its series has left the memory.
"""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from observe import memory
from observe.distinct import distinct
from observe.model import Labels, Matcher
from observe.store.posting_kernels import difference
from observe.store.postings import NONE, Ids, select_ids

NO_SLOT = np.uint32(0xFFFF_FFFF)
_ONE = np.uint32(1)
_IDS_A_PAGE = 16_384
_CACHED_SELECTORS = 512
_PLACED_SELECTORS, _PLACED_SERIES = 512, 4096
"""Of so many selectors of at most so many series the names are kept together."""
_FIXED_IDS = 4_000_000
"""Of arrays of so many ids together, which nobody changes, the slots are kept: a target's come at every scrape."""

Pair = tuple[str, str]


class LabelIndex:
    """All series in memory. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ids: dict[Labels, int] = {}
        self._pairs: dict[Pair, Pair] = {}
        self._postings: dict[str, dict[str, array[int]]] = {}
        self._labels: list[Labels | None] = []
        """By slot."""
        self._free: list[int] = []
        self._slot_of = np.zeros(_IDS_A_PAGE, np.uint32)
        """By id: the slot + 1, 0 where there is none. Ids are never given again, so most of a year's are not there any
        more: their pages, all zeros, take no memory."""
        self.next_id = 0
        self._generation = 0
        self._drops = 0
        self._fixed_ids = 0
        self._fixed: dict[int, tuple[Ids, int, Ids]] = {}
        """By identity: a read-only array of ids, how often series were dropped before, its slots."""
        self._selected: OrderedDict[tuple[Matcher, ...], tuple[int, Ids]] = OrderedDict()
        self._placed: OrderedDict[int, tuple[int, Ids, Ids, tuple[Labels, ...]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def slots(self) -> int:
        """How many rows the head needs."""
        return len(self._labels)

    def get(self, labels: Labels) -> int | None:
        """The id of a known series."""
        return self._ids.get(labels)

    def add(self, labels: Labels, series_id: int | None = None) -> tuple[int, int]:
        """Name a new series; returns its id and slot. `series_id` is given when a log is read again."""
        pairs = self._pairs
        own = Labels.from_sorted(tuple(pairs.setdefault(pair, pair) for pair in labels.pairs))
        with self._lock:
            if series_id is None:
                series_id = self.next_id
            self.next_id = max(self.next_id, series_id + 1)
            if self._free:
                slot = self._free.pop()
                self._labels[slot] = own
            else:
                slot = len(self._labels)
                self._labels.append(own)
            if series_id >= len(self._slot_of):
                grown = np.zeros(max(series_id + 1, len(self._slot_of) * 2), np.uint32)
                there = np.flatnonzero(self._slot_of)
                grown[there] = self._slot_of[there]
                self._slot_of = grown
            self._slot_of[series_id] = slot + 1
            self._ids[own] = series_id
            for name, value in own.pairs:
                values = self._postings.get(name)
                if values is None:
                    values = self._postings[name] = {}
                ids = values.get(value)
                if ids is None:
                    ids = values[value] = array("I")
                ids.append(series_id)
            self._generation += 1
        return series_id, slot

    def drop(self, ids: Ids) -> Ids:
        """Forget these series; returns their slots. The caller holds the head's lock too."""
        with self._lock:
            slots = self._slot_of[ids] - _ONE
            touched: set[Pair] = set()
            for slot in slots.tolist():
                labels = self._labels[slot]
                assert labels is not None
                del self._ids[labels]
                touched.update(labels.pairs)
                self._labels[slot] = None
            self._slot_of[ids] = 0
            self._free.extend(slots.tolist())
            gone = np.sort(ids)
            for page in distinct(gone // _IDS_A_PAGE).tolist():
                low, high = page * _IDS_A_PAGE, (page + 1) * _IDS_A_PAGE
                if not self._slot_of[low:high].any():
                    memory.give_back(self._slot_of, low, min(high, len(self._slot_of)))
            for pair in touched:
                name, value = pair
                values = self._postings[name]
                left = difference(_copied(values[value]), gone)
                if left.size:
                    values[value] = array("I", left.tobytes())
                else:
                    del values[value]
                    del self._pairs[pair]
                    if not values:
                        del self._postings[name]
            self._generation += 1
            self._drops += 1  # last: what was found meanwhile is found again
        return slots

    def slots_of(self, ids: Ids) -> Ids:
        """Slots of these ids, `NO_SLOT` where an id was never given or its series has left the memory.

        Of a read-only array they are found once, so whoever makes one must not write to it any more.
        """
        if ids.flags.writeable:
            return self._find_slots(ids)
        known = self._fixed.get(id(ids))
        if known is not None and known[0] is ids and known[1] == self._drops:
            return known[2]
        drops, slots = self._drops, self._find_slots(ids)
        if not (slots == NO_SLOT).any():
            self._fixed_ids += len(ids)
            if self._fixed_ids > _FIXED_IDS:
                self._fixed.clear()
                self._fixed_ids = len(ids)
            self._fixed[id(ids)] = ids, drops, slots
        return slots

    def holds(self, ids: Ids) -> bool:
        """True: a read-only array whose slots were all found before."""
        return (known := self._fixed.get(id(ids))) is not None and known[0] is ids

    def _find_slots(self, ids: Ids) -> Ids:
        slots = self._slot_of
        if ids.size and int(ids.max()) >= len(slots):
            inside = ids < len(slots)
            return np.where(inside, slots[np.where(inside, ids, 0)] - _ONE, NO_SLOT)
        return slots[ids] - _ONE  # of none: NO_SLOT

    def placed(self, ids: Ids) -> tuple[Ids, tuple[Labels, ...]]:
        """Slots and labels of those of `ids` that are in memory: the same objects for the same ids from `select`,

        until a series comes or goes. The caller holds the head's lock.
        """
        known = self._placed.get(id(ids))
        if known is not None and known[1] is ids and known[0] == self._generation:
            return known[2], known[3]
        slots = self.slots_of(ids)
        if (gone := slots == NO_SLOT).any():
            slots = slots[~gone]
        labels = tuple(self.labels_at(slots))
        if len(ids) <= _PLACED_SERIES:
            self._placed[id(ids)] = (self._generation, ids, slots, labels)
            if len(self._placed) > _PLACED_SELECTORS:
                self._placed.popitem(last=False)
        return slots, labels

    def labels_at(self, slots: Ids) -> list[Labels]:
        """Labels by slot. The caller holds the head's lock, so that no slot changes its series meanwhile."""
        labels = self._labels
        return [labels[slot] for slot in slots.tolist()]

    def all_ids(self) -> Ids:
        with self._lock:
            return np.sort(np.fromiter(self._ids.values(), np.uint32, len(self._ids)))

    def select(self, matchers: Sequence[Matcher]) -> Ids:
        """Ids of the series that satisfy all of `matchers`, ascending."""
        key = tuple(matchers)
        with self._lock:
            known = self._selected.get(key)
            if known is not None and known[0] == self._generation:
                self._selected.move_to_end(key)
                return known[1]
            ids = select_ids(self, key)
            self._selected[key] = (self._generation, ids)
            if len(self._selected) > _CACHED_SELECTORS:
                self._selected.popitem(last=False)
            return ids

    def values_of(self, name: str) -> Iterable[str]:
        return self._postings.get(name, {})

    def carriers(self, name: str, value: str) -> Ids:
        ids = self._postings.get(name, {}).get(value)
        return NONE if ids is None else _copied(ids)

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._postings)

    def values(self, name: str) -> list[str]:
        with self._lock:
            return sorted(self._postings.get(name, ()))

    def counts(self) -> dict[str, dict[str, int]]:
        """Series by label name and value: what cardinality is made of."""
        with self._lock:
            return {name: {value: len(ids) for value, ids in values.items()}
                    for name, values in self._postings.items()}


def _copied(ids: "array[int]") -> Ids:
    """A copy: a view would forbid the array to grow for as long as it lives."""
    return np.frombuffer(ids, np.uint32).copy()
