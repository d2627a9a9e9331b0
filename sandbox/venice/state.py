"""The city's books: citizens with their purses, stratagems, messages. SQLite, so that a killed double loses nothing."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from sandbox.venice.chaos import Chaos

PROCESSOR: Final = "CASCADE_PAYMENT_PROCESSOR"
MOST_LISTED: Final = 100
_ONE: Final = 10**6
_USERNAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_FIELDS: Final = (
    "StratagemId", "Type", "Variant", "ExecutedBy", "TargetCitizen", "Status", "Category", "Name", "Description",
    "Notes", "ExecutedAt", "ExpiresAt",
)  # fmt: skip
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS citizens (username TEXT PRIMARY KEY, units INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS stratagems (
    number INTEGER PRIMARY KEY, record TEXT NOT NULL, name TEXT NOT NULL, executed_by TEXT NOT NULL,
    target TEXT NOT NULL, units INTEGER NOT NULL, status TEXT NOT NULL, label TEXT, description TEXT,
    notes TEXT NOT NULL, created_at REAL NOT NULL, executed_at TEXT, expires_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS transfers (
    number INTEGER PRIMARY KEY, stratagem INTEGER NOT NULL REFERENCES stratagems, target TEXT NOT NULL,
    units INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, sender TEXT NOT NULL, receiver TEXT NOT NULL, content TEXT NOT NULL, type TEXT NOT NULL,
    created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notifications (
    number INTEGER PRIMARY KEY, citizen TEXT NOT NULL, type TEXT NOT NULL, content TEXT NOT NULL,
    created_at TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Transfer:
    """Ducats that really moved, once. `stratagem` is Venice's name of what moved them; `notes` are ours in it."""

    target: str
    amount: Decimal
    notes: str
    stratagem: str


class Refusal(Exception):
    """Venice says no, in its own words."""


class VeniceState:
    """The books, one thread at a time. `open_city`: whoever has a proper name is a citizen."""

    def __init__(self, directory: Path | None, chaos: Chaos, open_city: bool) -> None:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        path = ":memory:" if directory is None else str(directory / "venice.sqlite3")
        self._chaos = chaos
        self._open_city = open_city
        self.lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # survives a killed process
        self._db.executescript(_TABLES)
        for username, units in ((PROCESSOR, 10**9 * _ONE), ("Marco_Polo", 0)):
            self._db.execute("INSERT OR IGNORE INTO citizens VALUES (?, ?)", (username, units))

    def close(self) -> None:
        """Ends it; may be called twice."""
        with self.lock:
            self._db.close()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """One transaction, so that a kill leaves no half of it. One inside another belongs to it."""
        with self.lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def add_citizen(self, username: str) -> None:
        """Lets somebody in; whoever is there stays."""
        with self.lock:
            self._db.execute("INSERT OR IGNORE INTO citizens VALUES (?, 0)", (username,))

    def remove_citizen(self, username: str) -> None:
        """Lets somebody go, with all ducats."""
        with self.lock:
            self._db.execute("DELETE FROM citizens WHERE username = ?", (username,))

    def set_purse(self, username: str, ducats: Decimal) -> None:
        """Sets what somebody holds."""
        with self.lock:
            self._db.execute("UPDATE citizens SET units = ? WHERE username = ?", (int(ducats * _ONE), username))

    def purse(self, username: str) -> Decimal | None:
        """What somebody holds; None for a stranger."""
        with self.lock:
            if self._open_city and _USERNAME.fullmatch(username):
                self.add_citizen(username)
            row = self._db.execute("SELECT units FROM citizens WHERE username = ?", (username,)).fetchone()
        return None if row is None else Decimal(row["units"]) / _ONE

    def purses(self) -> dict[str, Decimal]:
        """What all hold, by name."""
        with self.lock:
            rows = self._db.execute("SELECT * FROM citizens ORDER BY username").fetchall()
        return {row["username"]: Decimal(row["units"]) / _ONE for row in rows}

    def create(self, sender: str, details: Mapping[str, Any], times: int = 1) -> str:
        """Makes a stratagem, or several as far as the purse reaches; raises `Refusal`, and then nothing was done.

        Nobody sees some of them without the others: who looks after an answer that did not come would believe it.
        """
        target, amount = details.get("targetCitizenUsername"), details.get("amount")
        if not isinstance(target, str) or not target:
            raise Refusal("targetCitizenUsername is required")
        if isinstance(amount, bool) or not isinstance(amount, (int, Decimal)):  # NaN and its like arrive as floats
            raise Refusal("amount must be a valid number")
        ducats = Decimal(amount)
        if ducats <= 0:
            raise Refusal("amount must be positive")
        if target == sender:
            raise Refusal("Cannot transfer ducats to oneself")
        with self._all_or_nothing():
            held = self.purse(sender)
            if held is None:
                raise Refusal(f"Sender citizen '{sender}' not found")
            if self.purse(target) is None:
                raise Refusal(f"Target citizen '{target}' not found")
            if held < ducats:
                raise Refusal(
                    f"Sender {sender} has insufficient funds ({float(held)} ducats) to transfer {float(ducats)} ducats"
                )
            if int(ducats * _ONE) != ducats * _ONE:  # to cut it would move another amount than was asked for
                raise Refusal("this double holds nothing smaller than a millionth of a ducat")
            return self._insert_all(times, sender, target, ducats, details)

    def _insert_all(self, times: int, sender: str, target: str, ducats: Decimal, details: Mapping[str, Any]) -> str:
        made = ""
        for _ in range(times):
            held = self.purse(sender) or Decimal(0)
            if held >= ducats:
                made = self._insert(sender, target, ducats, held, details)
        return made

    def _insert(self, sender: str, target: str, ducats: Decimal, held: Decimal, details: Mapping[str, Any]) -> str:
        now = time.time()
        name = f"transfer_ducats_{sender}_{target}_{int(now)}"
        notes = {
            "initial_notes": details.get("notes", ""),
            "amount": float(ducats),
            "reason": details.get("reason", "Direct transfer"),
            "sender_balance_before": float(held),
            "created_at": _iso(now),
        }
        self._db.execute(
            "INSERT INTO stratagems (record, name, executed_by, target, units, status, label, description, notes,"
            " created_at, expires_at) VALUES (?, ?, ?, ?, ?, 'active', ?, ?, ?, ?, ?)",
            ("rec" + secrets.token_hex(7), name, sender, target, int(ducats * _ONE), details.get("name"),
             details.get("description"), json.dumps(notes), now, _iso(now + 300)),
        )  # fmt: skip
        if self._chaos.process_seconds == 0:
            self.execute_due()
        return name

    def execute_due(self, *, all_of_them: bool = False) -> None:
        """The scheduler: executes what waits for long enough."""
        with self.lock:
            wait = self._chaos.process_seconds
            until = time.time() - (0 if all_of_them else max(0.0, wait))
            if wait < 0 and not all_of_them:
                return
            rows = self._db.execute(
                "SELECT * FROM stratagems WHERE status = 'active' AND created_at <= ? ORDER BY number", (until,)
            ).fetchall()
            if not rows:
                return
            with self._all_or_nothing():
                for row in rows:
                    self._execute(row)

    def _execute(self, row: sqlite3.Row) -> None:
        held, target = self.purse(row["executed_by"]), self.purse(row["target"])
        ducats = Decimal(row["units"]) / _ONE
        if target is None:
            self._mark(row, "failed", f"[ERROR] Receiver {row['target']} not found.")
        elif held is None or held < ducats:
            self._mark(row, "failed", f"[ERROR] Insufficient funds: {float(held or 0)} < {float(ducats)}")
        else:
            times = 2 if self._chaos.strikes(self._chaos.execute_twice_rate) else 1
            for _ in range(times):
                self._move(row)
            if self._chaos.strikes(self._chaos.half_done_rate):
                self._mark(row, "failed", "[ERROR] Processing error: the table did not answer")
                return
            what, at = f"{ducats} ducats from {row['executed_by']}", datetime.now(UTC)
            said = f"[{at:%Y-%m-%d %H:%M}] Successfully transferred {what}"
            self._mark(row, "executed", "\n".join([said] * times))
            for _ in range(times):
                self._notify(row["target"], f"You received {what}", at.isoformat())

    def _move(self, row: sqlite3.Row) -> None:
        self._db.execute("UPDATE citizens SET units = units - ? WHERE username = ?", (row["units"], row["executed_by"]))
        self._db.execute("UPDATE citizens SET units = units + ? WHERE username = ?", (row["units"], row["target"]))
        self._db.execute(
            "INSERT INTO transfers (stratagem, target, units) VALUES (?, ?, ?)",
            (row["number"], row["target"], row["units"]),
        )

    def _notify(self, citizen: str, content: str, now: str) -> None:
        self._db.execute(
            "INSERT INTO notifications (citizen, type, content, created_at) VALUES (?, 'payment_received', ?, ?)",
            (citizen, content, now),
        )

    def _mark(self, row: sqlite3.Row, status: str, line: str) -> None:
        self._db.execute(
            "UPDATE stratagems SET status = ?, executed_at = ?, notes = notes || ? WHERE number = ?",
            (status, _iso(time.time()) if status == "executed" else None, f"\n{line}", row["number"]),
        )

    def stratagems(self, wanted: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        """The newest executed ones first, those that wait last; fields as Venice names them in answers.

        `wanted` are fields as Venice's table names them, such as `TargetCitizen`; raises `Refusal` for one that it
        does not have. `StratagemId` is the name there, and the record's id in answers.
        """
        for field in wanted:
            if field not in _FIELDS:
                raise Refusal(f'Unknown field name: "{field}"')
        with self.lock:
            rows = self._db.execute(
                "SELECT * FROM stratagems ORDER BY executed_at IS NULL, executed_at DESC, number DESC"
            ).fetchall()
        fitting = [shown for row in rows if _fits(row, shown := _shown(row), wanted)]
        return fitting[: min(limit, MOST_LISTED)]

    def transfers(self, reference: str | None = None) -> list[Transfer]:
        """Every time that ducats moved; with a reference only for stratagems whose notes hold it."""
        with self.lock:
            rows = self._db.execute(
                "SELECT t.target, t.units, s.notes, s.record FROM transfers t JOIN stratagems s"
                " ON s.number = t.stratagem WHERE ? IS NULL OR instr(s.notes, ?) > 0 ORDER BY t.number",
                (reference, reference),
            ).fetchall()
        return [Transfer(row["target"], Decimal(row["units"]) / _ONE, row["notes"], row["record"]) for row in rows]

    def send_message(self, sender: str, receiver: str, content: str, kind: str) -> dict[str, Any]:
        """Stores a message, and gives it as Venice answers it."""
        now = _iso(time.time())
        with self.lock:
            stored = self._db.execute(
                "INSERT INTO messages (sender, receiver, content, type, created_at) VALUES (?, ?, ?, ?, ?)",
                (sender, receiver, content, kind, now),
            )
        return {"messageId": f"rec{stored.lastrowid}", "sender": sender, "receiver": receiver, "content": content,
                "type": kind, "channel": None, "createdAt": now, "readAt": None}  # fmt: skip

    def messages(self, receiver: str | None = None) -> list[dict[str, Any]]:
        """Messages to somebody, or all, oldest first."""
        with self.lock:
            query = "SELECT * FROM messages WHERE ? IS NULL OR receiver = ? ORDER BY number"
            return [dict(row) for row in self._db.execute(query, (receiver, receiver)).fetchall()]

    def notifications(self, citizen: str | None = None) -> list[dict[str, Any]]:
        """What Venice itself told somebody, or all, oldest first."""
        with self.lock:
            query = "SELECT * FROM notifications WHERE ? IS NULL OR citizen = ? ORDER BY number"
            return [dict(row) for row in self._db.execute(query, (citizen, citizen)).fetchall()]


def _fits(row: sqlite3.Row, shown: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    fields = {**shown, "stratagemId": row["name"]}
    return all(str(fields[name[:1].lower() + name[1:]]) == value for name, value in wanted.items())


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "stratagemId": row["record"],
        "type": "transfer_ducats",
        "variant": "instant",
        "executedBy": row["executed_by"],
        "targetCitizen": row["target"],
        "status": row["status"],
        "category": "economic",
        "name": row["label"] or row["name"],
        "description": row["description"],
        "notes": row["notes"],
        "executedAt": row["executed_at"],
        "expiresAt": row["expires_at"],
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
