"""Where the double keeps its objects: SQLite from the standard library, one table per kind, bodies as JSON.

With a directory everything is committed before a request is answered, so that a double that was killed goes on where
it was; without one it lives in memory. No secret and no card number is ever handed to it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sandbox.stripe.errors import Json

KINDS: Final = (
    "payment_intent", "payment_method", "charge", "checkout.session", "item", "refund", "dispute",
    "balance_transaction", "payout", "radar.early_fraud_warning", "webhook_endpoint", "event",
)  # fmt: skip
"""The kinds of objects, by the name in their `object` field."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
    request_id TEXT NOT NULL, used_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, event TEXT NOT NULL, endpoint TEXT NOT NULL, state TEXT NOT NULL, due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, last_status INTEGER);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due_at);
CREATE INDEX IF NOT EXISTS deliveries_event ON deliveries (event);
"""


class Store:
    """The tables. Whoever reads or writes does so inside `transaction`, one thread at a time."""

    def __init__(self, directory: Path | None) -> None:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        path = ":memory:" if directory is None else str(directory / "stripe.sqlite3")
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")  # survives a killed process
        for kind in KINDS:
            self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_table(kind)}"
                " (sequence INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, body TEXT NOT NULL)"
            )
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Ends it; may be called twice."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, alone. A transaction inside another belongs to it."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._connection.execute("COMMIT")

    def put(self, body: Json) -> None:
        """Keeps an object, new or changed."""
        self.execute(
            f"INSERT INTO {_table(body['object'])} (id, body) VALUES (?, ?)"  # noqa: S608  a table of ours
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            body["id"], json.dumps(body),
        )  # fmt: skip

    def get(self, kind: str, object_id: str) -> Json | None:
        """An object by its id."""
        rows = self.execute(f"SELECT body FROM {_table(kind)} WHERE id = ?", object_id)  # noqa: S608
        return json.loads(rows[0]["body"]) if rows else None

    def delete(self, kind: str, object_id: str) -> None:
        """Forgets an object."""
        self.execute(f"DELETE FROM {_table(kind)} WHERE id = ?", object_id)  # noqa: S608

    def newest_first(self, kind: str, wanted: Mapping[str, str]) -> Iterator[Json]:
        """The objects of a kind whose fields are as wanted, the youngest first, read as they are asked for."""
        conditions = "".join(f" AND json_extract(body, '$.{name}') = ?" for name in wanted)
        sql = f"SELECT body FROM {_table(kind)} WHERE 1{conditions} ORDER BY sequence DESC"  # noqa: S608
        for row in self._connection.execute(sql, tuple(wanted.values())):
            yield json.loads(row[0])

    def fact(self, name: str) -> str | None:
        """A fact that no object of Stripe has a field for."""
        rows = self.execute("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0]["value"]) if rows else None

    def set_fact(self, name: str, value: str) -> None:
        """Notes such a fact."""
        self.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
        )

    def execute(self, sql: str, *values: Any) -> list[Json]:
        """Runs one statement; its rows as dictionaries."""
        with self._lock:
            cursor = self._connection.execute(sql, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]


def _table(kind: str) -> str:
    if kind not in KINDS:
        raise KeyError(kind)
    return f"object_{kind.replace('.', '_')}"
