"""The ledger: every alert event before anyone is told, every delivery with its answer, every silence.

SQLite in WAL mode with ``synchronous=FULL``: what `keep` returned from survives kill -9 and power loss.
"""

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from observe.errors import StorageError
from observe.model import Alert, AlertState, Labels, Matcher, Reason
from observe.notify.dedup import Identity, Sent, identity
from observe.protocols import Delivery, Silence

_log = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
  identity TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, state TEXT NOT NULL, starts_at_ms INTEGER NOT NULL,
  ends_at_ms INTEGER, updated_at_ms INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alerts_open ON alerts (state) WHERE state = 'firing';
CREATE INDEX IF NOT EXISTS alerts_time ON alerts (starts_at_ms);
CREATE INDEX IF NOT EXISTS alerts_ends ON alerts (ends_at_ms);
CREATE INDEX IF NOT EXISTS alerts_fingerprint ON alerts (fingerprint, starts_at_ms);
CREATE TABLE IF NOT EXISTS deliveries (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, receiver TEXT NOT NULL, group_key TEXT NOT NULL,
  status TEXT NOT NULL, reason TEXT NOT NULL, ok INTEGER NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS deliveries_time ON deliveries (at_ms);
CREATE TABLE IF NOT EXISTS delivered_alerts (
  fingerprint TEXT NOT NULL, delivery INTEGER NOT NULL, PRIMARY KEY (fingerprint, delivery)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
  receiver TEXT NOT NULL, group_key TEXT NOT NULL, at_ms INTEGER NOT NULL, firing TEXT NOT NULL, resolved TEXT NOT NULL,
  PRIMARY KEY (receiver, group_key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS silences (
  id TEXT PRIMARY KEY, ends_at_ms INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
"""


class Ledger:
    """One file; safe from any thread. Raises `StorageError` where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):
                # Damaged beyond opening: paging must go on. The old file is kept for whoever wants to look.
                aside = path.with_suffix(".damaged")
                _log.error("the ledger %s is damaged (%s); it is kept as %s and a new one begins", path, error, aside)
                path.replace(aside)
                for name in (f"{path.name}-wal", f"{path.name}-shm"):
                    path.with_name(name).unlink(missing_ok=True)
                self._db = self._open()
                return
            raise StorageError(
                f"cannot open the ledger {path}: {error}; check the disk and this user's rights") from error
        except OSError as error:
            raise StorageError(f"cannot create {path.parent}: {error.strerror}") from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None, timeout=5.0)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            self._check_version(db.execute("PRAGMA user_version").fetchone()[0])
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        except BaseException:
            db.close()
            raise
        return db

    def _check_version(self, version: int) -> None:
        if version > _SCHEMA_VERSION:
            raise StorageError(f"the ledger {self._path} was written by a newer observe (schema {version}); "
                               "run that version, or choose another data folder")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ------------------------------------------------------------ alerts

    def keep(self, alerts: Sequence[Alert]) -> None:
        """Durable when it returns: one transaction, one fsync."""
        rows = [
            (identity(alert), alert.fingerprint, str(alert.state), alert.starts_at_ms, alert.ends_at_ms,
             alert.updated_at_ms, _alert_out(alert))
            for alert in alerts
        ]
        self._write(
            "INSERT OR REPLACE INTO alerts "
            "(identity, fingerprint, state, starts_at_ms, ends_at_ms, updated_at_ms, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def open_alerts(self) -> list[Alert]:
        return [_alert_in(row[0]) for row in self._read("SELECT body FROM alerts WHERE state = 'firing'", ())]

    def ended_since(self, since_ms: int) -> list[Alert]:
        rows = self._read("SELECT body FROM alerts WHERE ends_at_ms >= ?", (since_ms,))
        return [_alert_in(row[0]) for row in rows]

    def known(self, identities: Sequence[Identity]) -> list[Alert]:
        """These alerts, as far as they are here."""
        found: list[Alert] = []
        for start in range(0, len(identities), 500):
            part = tuple(identities[start : start + 500])
            marks = ",".join("?" * len(part))
            rows = self._read(f"SELECT body FROM alerts WHERE identity IN ({marks})", part)  # noqa: S608 - only marks
            found.extend(_alert_in(row[0]) for row in rows)
        return found

    def history(self, since_ms: int, fingerprint: str | None, limit: int) -> list[Alert]:
        """Alerts that were on at some time since then, the newest first."""
        where, values = "(ends_at_ms IS NULL OR ends_at_ms >= ?)", [since_ms]
        args: list[Any] = list(values)
        if fingerprint is not None:
            where += " AND fingerprint = ?"
            args.append(fingerprint)
        rows = self._read(
            f"SELECT body FROM alerts WHERE {where} ORDER BY starts_at_ms DESC LIMIT ?", (*args, limit))  # noqa: S608 - fixed text
        return [_alert_in(row[0]) for row in rows]

    # ------------------------------------------------------------ deliveries

    def record(self, delivery: Delivery, sent: Sent | None) -> None:
        """Note a delivery; `sent` is what the receiver now knows of the group (None: it learned nothing)."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                cursor = self._db.execute(
                    "INSERT INTO deliveries (at_ms, receiver, group_key, status, reason, ok, detail, attempts) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (delivery.at_ms, delivery.receiver, delivery.group_key, delivery.status, delivery.reason,
                     int(delivery.ok), delivery.detail, delivery.attempts),
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO delivered_alerts (fingerprint, delivery) VALUES (?, ?)",
                    [(fingerprint, cursor.lastrowid) for fingerprint in delivery.fingerprints],
                )
                if sent is not None:
                    self._db.execute(
                        "INSERT OR REPLACE INTO sent (receiver, group_key, at_ms, firing, resolved) "
                        "VALUES (?, ?, ?, ?, ?)",
                        (delivery.receiver, delivery.group_key, sent.at_ms, json.dumps(sorted(sent.firing)),
                         json.dumps(sorted(sent.resolved))),
                    )
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise self._failed(error) from error

    def sent(self) -> dict[tuple[str, str], Sent]:
        """What every receiver was last told of every group."""
        rows = self._read("SELECT receiver, group_key, at_ms, firing, resolved FROM sent", ())
        return {
            (receiver, key): Sent(at_ms, _identities(firing), _identities(resolved))
            for receiver, key, at_ms, firing, resolved in rows
        }

    def deliveries(self, fingerprint: str | None, since_ms: int, limit: int) -> list[Delivery]:
        """The newest first."""
        columns = "id, at_ms, receiver, group_key, status, reason, ok, detail, attempts"
        if fingerprint is None:
            rows = self._read(
                f"SELECT {columns} FROM deliveries WHERE at_ms >= ? ORDER BY id DESC LIMIT ?", (since_ms, limit))  # noqa: S608
        else:
            rows = self._read(
                f"SELECT {columns} FROM deliveries JOIN delivered_alerts ON delivery = id "  # noqa: S608
                "WHERE fingerprint = ? AND at_ms >= ? ORDER BY id DESC LIMIT ?", (fingerprint, since_ms, limit))
        return [
            Delivery(at_ms, receiver, key, status, reason, bool(ok), detail, attempts, self._fingerprints(row))
            for row, at_ms, receiver, key, status, reason, ok, detail, attempts in rows
        ]

    def was_delivered(self, fingerprint: str, since_ms: int) -> bool:
        """Whether anybody took this alert since then."""
        return bool(self._read(
            "SELECT 1 FROM deliveries JOIN delivered_alerts ON delivery = id "
            "WHERE fingerprint = ? AND at_ms >= ? AND ok = 1 LIMIT 1", (fingerprint, since_ms)))

    def _fingerprints(self, delivery: int) -> tuple[str, ...]:
        rows = self._read("SELECT fingerprint FROM delivered_alerts WHERE delivery = ?", (delivery,))
        return tuple(row[0] for row in rows)

    # ------------------------------------------------------------ silences

    def keep_silence(self, silence: Silence) -> None:
        self._write("INSERT OR REPLACE INTO silences (id, ends_at_ms, body) VALUES (?, ?, ?)",
                    [(silence.id, silence.ends_at_ms, _silence_out(silence))])

    def silences(self) -> list[Silence]:
        return [_silence_in(row[0]) for row in self._read("SELECT body FROM silences", ())]

    # ------------------------------------------------------------ upkeep

    def forget(self, before_ms: int) -> None:
        """Remove what ended before that time."""
        for statement in (
            "DELETE FROM alerts WHERE ends_at_ms < ?",
            "DELETE FROM delivered_alerts WHERE delivery IN (SELECT id FROM deliveries WHERE at_ms < ?)",
            "DELETE FROM deliveries WHERE at_ms < ?",
            "DELETE FROM sent WHERE at_ms < ?",
            "DELETE FROM silences WHERE ends_at_ms < ?",
        ):
            self._write(statement, [(before_ms,)])

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise self._failed(error) from error

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _read(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"the ledger {self._path} refuses: {error}; check that its disk is not full")


def _identities(text: str) -> frozenset[Identity]:
    return frozenset(json.loads(text))


def _alert_out(alert: Alert) -> str:
    return json.dumps({
        "labels": dict(alert.labels), "annotations": dict(alert.annotations), "state": str(alert.state),
        "starts": alert.starts_at_ms, "ends": alert.ends_at_ms, "updated": alert.updated_at_ms,
        "reason": str(alert.reason), "rule": alert.rule, "expr": alert.expr, "generator_url": alert.generator_url,
        "numbers": [alert.value, alert.baseline, alert.lower, alert.upper, alert.score], "clear": alert.clear_since_ms,
    }, separators=(",", ":"))


def _alert_in(text: str) -> Alert:
    told: Mapping[str, Any] = json.loads(text)
    value, baseline, lower, upper, score = told["numbers"]
    return Alert(
        Labels(told["labels"]), told["annotations"], AlertState(told["state"]), told["starts"], told["ends"],
        told["updated"], Reason(told["reason"]), told["rule"], told["expr"], value, baseline, lower, upper, score,
        told["generator_url"], told.get("clear"),
    )


def _silence_out(silence: Silence) -> str:
    return json.dumps({
        "id": silence.id, "matchers": [[m.name, m.op, m.value] for m in silence.matchers],
        "starts": silence.starts_at_ms, "ends": silence.ends_at_ms, "by": silence.created_by,
        "comment": silence.comment, "updated": silence.updated_at_ms,
    }, separators=(",", ":"))


def _silence_in(text: str) -> Silence:
    told = json.loads(text)
    return Silence(told["id"], tuple(Matcher(*one) for one in told["matchers"]), told["starts"], told["ends"],
                   told["by"], told["comment"], told["updated"])
