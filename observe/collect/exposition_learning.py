"""Read a page whose lines are not those of the page before: new, moved or gone ones, one by one.

What is unchanged between them goes on through the kernel. The result is the layout that the next page will have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from observe.collect.exposition_layout import NO_IDS, NO_STAMP, Layout, Walk, malformed
from observe.collect.exposition_lines import (
    LineProblem,
    Pairs,
    read_family,
    read_head,
    read_number,
    token_end,
    value_start,
)
from observe.errors import LimitExceeded, MalformedData
from observe.model import Labels
from observe.protocols import NO_SERIES

_MAX_FAMILIES: Final = 20_000

NameSeries = Callable[[Pairs], Labels | None]
"""From the pairs of a line (``__name__`` first) to the name of the stored series; None: not wanted."""
InternSeries = Callable[[Sequence[Labels]], NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Family:
    """What the comment lines say of a metric family."""

    type: str = "unknown"
    help: str = ""
    unit: str = ""


class ChangedPage:
    """One page that left the layout `old` where `walk` stands. `families` gets what its comments say."""

    def __init__(
        self, body: bytes, old: Layout, walk: Walk, name: NameSeries, families: dict[str, Family],
    ) -> None:
        self._body = body
        self._old = old
        self._walk = walk
        self._name = name
        self._families = families
        self._known = old.slots_by_line()
        self._learned = _Learned(old)

    def learn(self, intern: InternSeries, trailer: NDArray[np.uint32], sample_limit: int) -> Layout:
        """Read on to the end; returns the page's layout. Raises `MalformedData`, or `LimitExceeded` before `intern`."""
        body, old, walk = self._body, self._old, self._walk
        bytes_in = np.frombuffer(body, np.uint8)
        walk.make_room(walk.k + body.count(b"\n", walk.pos) + 1 + len(trailer))
        self._learned.run(0, walk.slot)
        while (at := self._skip_comments(begin := walk.pos)) < len(body):
            try:
                self._read_line(begin, at)
            except LineProblem as problem:
                raise malformed(body, at, problem) from problem
            if walk.slot < len(old.ids):
                first = walk.slot
                walk.follow(bytes_in, old)
                self._learned.run(first, walk.slot)
        tail = body[begin:]
        if old.openmetrics and tail.rstrip(b"\n").rpartition(b"\n")[2] != b"# EOF":
            raise MalformedData("the page ends without `# EOF`: it is cut short, or not OpenMetrics", "no_eof")
        walk.finish_odd(body, openmetrics=old.openmetrics)
        self._learned.check_limit(sample_limit)
        stamped = bool((walk.stamps[: walk.k] != NO_STAMP).any()) or bool(walk.exemplars)
        return self._learned.layout(intern, tail, trailer, stamped=stamped)

    def _read_line(self, begin: int, at: int) -> None:
        """The sample line at `at`, whose key (with the comments above it) begins at `begin`."""
        body, walk = self._body, self._walk
        start = value_start(body, at)
        end = token_end(body, start)
        line_end = body.find(b"\n", end)
        line_end = len(body) if line_end < 0 else line_end
        head = body[at:start]
        slot = self._known.get(head, -1)
        if slot < 0:
            pairs = read_head(head if body[start : start + 1] != b"{" else body[at:line_end])
        walk.values[walk.k] = read_number(body[start:end])
        if end < line_end:
            walk.take_rest(body[end:line_end], walk.k, openmetrics=self._old.openmetrics)
        if slot >= 0:
            self._learned.known(body[begin:start], slot)
            walk.slot = slot + 1
        else:
            self._learned.new(body[begin:start], self._name(pairs))
        walk.k += 1
        walk.pos = line_end + 1

    def _skip_comments(self, pos: int) -> int:
        """Where the next sample line begins; families are noted on the way."""
        body = self._body
        size = len(body)
        while pos < size:
            at = pos
            while at < size and body[at] in b" \t":
                at += 1
            if at < size and body[at] not in b"#\n":
                return pos
            end = body.find(b"\n", at)
            end = size if end < 0 else end
            if at < size and body[at] == 0x23:
                line = body[at:end]
                if self._old.openmetrics and line == b"# EOF":
                    if body[end:].strip(b"\n"):
                        line_number = body.count(b"\n", 0, end) + 2
                        raise MalformedData(f"line {line_number}: there is text after `# EOF`", "after_eof")
                    return size
                self._note_family(line)
            pos = end + 1
        return size

    def _note_family(self, line: bytes) -> None:
        said = read_family(line)
        if said is None or (said[1] not in self._families and len(self._families) >= _MAX_FAMILIES):
            return
        kind, name, text = said
        was = self._families.get(name, Family())
        self._families[name] = Family(
            text.strip() if kind == "TYPE" else was.type, text if kind == "HELP" else was.help,
            text.strip() if kind == "UNIT" else was.unit,
        )


class _Learned:
    """The layout that a changed page makes: runs of old slots, moved lines and new lines, in the order of the page."""

    def __init__(self, old: Layout) -> None:
        self._old = old
        self._old_keys = old.keys.tobytes()
        self._keys: list[bytes] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._ids: list[NDArray[np.uint32]] = []
        self._new: list[tuple[int, Labels]] = []
        self._count = 0

    def run(self, first: int, end: int) -> None:
        if end > first:
            offsets = self._old.offsets[first : end + 1]
            self._add(self._old_keys[offsets[0] : offsets[-1]], np.diff(offsets), self._old.ids[first:end])

    def known(self, key: bytes, slot: int) -> None:
        self._add(key, np.array([len(key)]), self._old.ids[slot : slot + 1])

    def new(self, key: bytes, labels: Labels | None) -> None:
        if labels is not None:
            self._new.append((self._count, labels))
        self._add(key, np.array([len(key)]), np.array([NO_SERIES], np.uint32))

    def _add(self, key: bytes, lengths: NDArray[np.int64], ids: NDArray[np.uint32]) -> None:
        self._keys.append(key)
        self._lengths.append(lengths)
        self._ids.append(ids)
        self._count += len(ids)

    def check_limit(self, sample_limit: int) -> None:
        samples = len(self._new) + sum(int(np.count_nonzero(ids != NO_SERIES)) for ids in self._ids)
        if sample_limit and samples > sample_limit:
            raise LimitExceeded(
                f"the page has {samples} samples, {sample_limit} are allowed; raise sample_limit if that is right",
                "sample_limit")

    def layout(self, intern: InternSeries, tail: bytes, trailer: NDArray[np.uint32], *, stamped: bool) -> Layout:
        ids = np.concatenate([*self._ids, NO_IDS])
        refused = 0
        if self._new:
            given = intern([labels for _, labels in self._new])
            ids[[at for at, _ in self._new]] = given
            refused = int(np.count_nonzero(given == NO_SERIES))
        wanted = np.flatnonzero(ids != NO_SERIES)
        _, first = np.unique(ids[wanted], return_index=True)
        keep = wanted[np.sort(first)]
        offsets = np.zeros(len(ids) + 1, np.int64)
        if self._lengths:
            np.cumsum(np.concatenate(self._lengths), out=offsets[1:])
        frame_ids = np.concatenate([ids[keep], trailer])
        frame_ids.flags.writeable = False  # the same at every scrape: the store finds their places once
        return Layout(
            self._old.openmetrics, np.frombuffer(b"".join(self._keys), np.uint8), offsets, ids,
            None if len(keep) == len(ids) else keep, frame_ids, tail, stamped,
            duplicates=len(wanted) - len(keep), refused=refused,
        )
