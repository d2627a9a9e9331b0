"""Tells how a worker does: in the log once for each fault, and in the database for ``/health``."""

from __future__ import annotations

import logging
import re
import secrets
import time
import traceback
from pathlib import Path

import psycopg

from cascade.db import heartbeats
from cascade.db.database import OUTAGES, Database
from cascade.errors import CascadeError, LeaseLost, NodeUnavailable, StripeFailed, StripeUnavailable

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""How often a worker that is well says so. An alarm, and its end, are stored at once."""
REPEAT_SECONDS = 600.0
"""The same fault is logged again after this."""
_MOST_FAULTS = 100
_OUTAGES = (LeaseLost, NodeUnavailable, StripeFailed, StripeUnavailable, *OUTAGES)
"""Somebody else does not answer. When it lasts, the ages in ``/health`` tell; a worker that waits is well."""


class Heartbeat:
    """The state of one worker.

    Args:
        worker: name of the kind of worker.
        database: where it is stored for ``/health``; None: it is only logged.
    """

    def __init__(self, worker: str, database: Database | None = None) -> None:
        self.worker = worker
        self.failures = 0
        """In a row."""
        self.has_worked = False
        """A step has succeeded since the process started."""
        self._database = database
        self._instance = secrets.token_hex(8)
        self._logged: dict[str, float] = {}
        self._stored: tuple[str, str] | None = None
        self._stored_at = float("-inf")

    def succeed(self) -> None:
        """Note that a step succeeded."""
        if self.failures:
            self.failures = 0
            self._say("works again", logging.INFO, "works again")
        self.has_worked = True
        self._store(None)

    def fail(self, error: BaseException) -> None:
        """Note that a step failed."""
        self.failures += 1
        is_outage = isinstance(error, _OUTAGES)
        detail = describe(error)
        # A database error's text may quote what it was given; a traceback ends with that text.
        surprise = not isinstance(error, (CascadeError, psycopg.Error))
        level = logging.ERROR if surprise else logging.INFO if isinstance(error, LeaseLost) else logging.WARNING
        self._say(f"{type(error).__name__}: {detail}", level, detail, error if surprise else None)
        if not isinstance(error, OUTAGES):
            self._store(None if is_outage else (type(error).__name__, detail))

    def end(self) -> None:
        """Forget a worker that was told to stop: it is not missed."""
        if self._database is None or self._stored_at == float("-inf"):
            return
        try:
            with self._database.transaction() as connection:
                heartbeats.remove(connection, self.worker, self._instance)
        except psycopg.Error:  # it then fades by itself
            log.info("the heartbeat of the %s was not removed; it fades by itself", self.worker)

    def _say(self, key: str, level: int, text: str, error: BaseException | None = None) -> None:
        """Log a fault, once in a while: what fails for ever, or by turns, must not fill the disk."""
        key, now = re.sub(r"[0-9]+", "#", key), time.monotonic()
        if now - self._logged.get(key, float("-inf")) < REPEAT_SECONDS:
            return
        if len(self._logged) >= _MOST_FAULTS:
            self._logged.clear()
        self._logged[key] = now
        log.log(level, "%s: %s", self.worker, text, exc_info=error)

    def _store(self, alarm: tuple[str, str] | None) -> None:
        now = time.monotonic()
        if self._database is None or (alarm == self._stored and now - self._stored_at < BEAT_SECONDS):
            return
        try:
            with self._database.transaction() as connection:
                heartbeats.save(connection, self.worker, self._instance, *(alarm or (None, None)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker goes on
            self._say(f"heartbeat: {type(error).__name__}", logging.WARNING, f"no heartbeat: {describe(error)}")
        else:
            self._stored, self._stored_at = alarm, now


def describe(error: BaseException) -> str:
    """Return a fault in words: its text where we wrote it ourselves, else where it was raised."""
    name = type(error).__name__
    if isinstance(error, CascadeError):
        return f"{name}: {error}"[:500]
    if isinstance(error, psycopg.Error):
        name = f"{name} ({error.sqlstate})" if error.sqlstate else name
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "cascade" in frame.filename]
    return f"{name} at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else name
