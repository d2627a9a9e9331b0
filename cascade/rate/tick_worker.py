"""The step that keeps the rate: a tick every few minutes, whatever the number of keepers and after any downtime."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from cascade.db import orders
from cascade.db.database import Database
from cascade.errors import ClockFault
from cascade.rate.parameters import Formula
from cascade.rate.tick_service import TICKS_AT_ONCE, write_due_ticks

log = logging.getLogger(__name__)

_LOOKS_IN_A_TICK = 60
_LONGEST_WAIT_SECONDS = 5.0
CLOCKS_APART_SECONDS = 300
"""By so much the database's clock and this machine's may differ."""


def _check_clock(database: datetime, machine: datetime) -> None:
    """Refuse to price by a clock that has jumped: a tick that is written stays, also one of the future.

    Raises:
        ClockFault: it has, or this machine's clock is wrong.
    """
    if abs((database - machine).total_seconds()) > CLOCKS_APART_SECONDS:
        raise ClockFault(
            f"the database's clock says {database:%Y-%m-%d %H:%M:%S} UTC, this machine's {machine:%Y-%m-%d %H:%M:%S}:"
            " the rate stands still until they agree; set the wrong one right"
        )


class TickWorker:
    """Any number of them may run side by side: the database lets one of them write each tick.

    Args:
        database: holds the history.
        formula: what the next ticks follow.
    """

    def __init__(self, database: Database, formula: Formula) -> None:
        self._database = database
        self._formula = formula
        self.poll_seconds = min(_LONGEST_WAIT_SECONDS, formula.tick_seconds / _LOOKS_IN_A_TICK)
        """How long to wait after a step that left nothing."""

    def step(self) -> bool:
        """Write what is due. Returns True when more can be due right away.

        Raises:
            ClockFault: as `keep_once`.
            SettingsError: the formula's version was used with other constants.
        """
        return self.keep_once() == TICKS_AT_ONCE

    def keep_once(self) -> int:
        """Write what is due, as much as fits into one transaction. Returns how many ticks.

        Raises:
            ClockFault: the database's clock is far from this machine's, or was ahead when the last tick was written.
        """
        with self._database.transaction() as connection:
            _check_clock(orders.clock(connection), datetime.now(UTC))
            ticks = write_due_ticks(connection, self._formula)
        if ticks:
            caught_up = f", and {len(ticks) - 1} that were missed" if len(ticks) > 1 else ""
            log.info("%s USD per ducat from %s on%s", ticks[-1].rate, f"{ticks[-1].at:%Y-%m-%d %H:%M:%S}", caught_up)
        return len(ticks)
