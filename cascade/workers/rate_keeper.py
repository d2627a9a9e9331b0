"""Keeps the rate: a tick every few minutes, whatever the number of keepers and however long they were away."""

from __future__ import annotations

import logging
import threading

from cascade.domain.formula import Formula
from cascade.exchange import TICKS_AT_ONCE, keep
from cascade.store.database import Database
from cascade.workers.heartbeat import Heartbeat
from cascade.workers.patience import keep_on

log = logging.getLogger(__name__)

_LOOKS_IN_A_TICK = 60
_LONGEST_WAIT_SECONDS = 5.0


class RateKeeper:
    """Any number of them may run side by side: the database lets one of them write each tick.

    Args:
        database: holds the history.
        formula: what the next ticks follow.
    """

    def __init__(self, database: Database, formula: Formula) -> None:
        self._database = database
        self._formula = formula

    def run(self, stop: threading.Event, heartbeat: Heartbeat | None = None) -> None:
        """Keep the rate until told to stop. Whatever goes wrong is said, waited out and tried again.

        Raises:
            SettingsError: at the first step; the formula's version was used with other constants.
        """
        wait_seconds = min(_LONGEST_WAIT_SECONDS, self._formula.tick_seconds / _LOOKS_IN_A_TICK)
        heart = heartbeat or Heartbeat("rate keeper")
        keep_on(lambda: self.keep_once() == TICKS_AT_ONCE, stop, poll_seconds=wait_seconds, heartbeat=heart)

    def keep_once(self) -> int:
        """Write what is due, as much as fits into one transaction. Returns how many ticks."""
        with self._database.transaction() as connection:
            ticks = keep(connection, self._formula)
        if ticks:
            caught_up = f", and {len(ticks) - 1} that were missed" if len(ticks) > 1 else ""
            log.info("%s USD per ducat from %s on%s", ticks[-1].rate, f"{ticks[-1].at:%Y-%m-%d %H:%M:%S}", caught_up)
        return len(ticks)
