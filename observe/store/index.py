"""One segment's full-text index (tantivy): written, and asked for sequence numbers.

Nothing is stored here but what searches need: a hit is a sequence number, and the spool keeps the record. So an index
that is missing, damaged or of an older layout is made again from its segment.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import tantivy

from observe import durable
from observe.errors import StorageError
from observe.store.index_kinds import LAYOUT, Kind

_HEAP_BYTES: Final = 24_000_000


class IndexDamaged(StorageError):
    """This index cannot be used and has to be made again."""


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Whatever the index library throws (it also panics) becomes one error of ours."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, ValueError | OSError) and type(error).__name__ != "PanicException":
            raise
        raise IndexDamaged(f"the index in {folder} is not usable ({error}); it is made again from the spool") from error


def _is_nearly_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _HEAP_BYTES
    except OSError:
        return False


class SegmentIndex:
    """The index in a segment's folder. One thread writes; any thread reads what was committed."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder
        self.kind = kind
        self.dirty = False
        self._writer: tantivy.IndexWriter | None = None
        layout = json.dumps({"layout": LAYOUT, "kind": kind.name})
        marker = folder / "layout"
        if not marker.exists() or marker.read_text() != layout:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()  # not its parents: a segment that retention took must stay away
            durable.write_file(marker, layout.encode())
        with _guarded(folder):
            self._index = tantivy.Index(kind.schema, path=str(folder))
            self._index.config_reader("manual")  # the default polls the folder twice a second, for ever
            self._index.reload()
            self._searcher = self._index.searcher()
        self.next_seq = self._highest() + 1

    def _highest(self) -> int:
        with _guarded(self.folder):
            found = self._searcher.search(tantivy.Query.all_query(), 1, count=False, order_by_field="seq")
        return int(found.hits[0][0]) if found.hits else -1

    # ------------------------------------------------------------ writing

    def add(self, record: Any, seq: int) -> None:
        """Raises `ValueError` for a record that cannot be indexed, `IndexDamaged` when nothing can."""
        document = tantivy.Document.from_dict(self.kind.document(record, seq), self.kind.schema)
        with self._writing():
            if self._writer is None:
                self._writer = self._index.writer(_HEAP_BYTES, 1)
            self._writer.add_document(document)
        self.dirty = True
        self.next_seq = seq + 1

    def commit(self) -> None:
        """Make what was added visible."""
        if self._writer is None or not self.dirty:
            return
        with self._writing():
            self._writer.commit()
            self._index.reload()
            self._searcher = self._index.searcher()
        self.dirty = False

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A writer that fails for want of space is given up, and what was committed before goes on answering."""
        try:
            with _guarded(self.folder):
                yield
        except IndexDamaged as error:
            self._give_up_writing()
            if "os error 28" in str(error) or "os error 122" in str(error) or _is_nearly_full(self.folder):
                raise StorageError(
                    f"no space to index what is new in {self.folder}: it is kept, and found once there is space",
                ) from error
            raise

    def _give_up_writing(self) -> None:
        """Back to the last commit; the files of the failed attempt go, as far as that is possible now."""
        self._writer = None
        self.dirty = False
        self.next_seq = self._highest() + 1
        with contextlib.suppress(IndexDamaged), _guarded(self.folder):
            self._index.writer(_HEAP_BYTES, 1).garbage_collect_files()

    def rest(self) -> None:
        """Commit, let merges end, and free the writer's memory and threads."""
        if self._writer is not None:
            self.commit()
            writer, self._writer = self._writer, None
            with _guarded(self.folder):
                writer.wait_merging_threads()
                self._index.reload()
                self._searcher = self._index.searcher()

    # ------------------------------------------------------------ reading

    def count(self, query: tantivy.Query) -> int:
        with _guarded(self.folder):
            found: Any = self._searcher.search(query, 1, count=True)
            return int(found.count)

    def top(self, query: tantivy.Query, field: str, limit: int, *, descending: bool = True) -> list[tuple[int, int]]:
        """(value of `field`, seq) of the first hits in the order of `field`."""
        order = tantivy.Order.Desc if descending else tantivy.Order.Asc
        searcher = self._searcher
        with _guarded(self.folder):
            limit = max(1, min(limit, searcher.num_docs))
            hits = searcher.search(query, limit, count=False, order_by_field=field, order=order).hits
            seqs = searcher.fast_field_values("seq", [address for _, address in hits])
        return [(int(value), int(seq or 0)) for (value, _), seq in zip(hits, seqs, strict=True)]

    def aggregate(self, query: tantivy.Query, wanted: Mapping[str, Any]) -> dict[str, Any]:
        with _guarded(self.folder):
            found: dict[str, Any] = self._searcher.aggregate(query, dict(wanted))
        return found
