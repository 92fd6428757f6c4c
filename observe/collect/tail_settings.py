"""What a file tail follows, and its bounds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TailSettings:
    """One set of files; `logs.files[]` in observe.yml."""

    paths: tuple[str, ...]
    """Globs; ``**`` crosses folders. Compressed files are left out."""
    service: str = ""
    """Of lines that name none; empty: the file's name up to its first dot."""
    from_end: bool = False
    """Files that exist at the very first start: only what is written to them afterwards."""
    poll_ms: int = 250
    max_line_bytes: int = 1024 * 1024
    """A longer line is cut, and counted."""
    read_bytes: int = 1024 * 1024
    max_files: int = 1000
    linger_ms: int = 300_000
    """A file that is gone is read on for so long after its last growth: its writer may still have it open."""
    save_ms: int = 1000
    longest_wait_ms: int = 10_000
