"""The step that looks at Venice: asks for the city's state once a minute, and stores what it says as signals."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from cascade.adapters.venice_metrics import VeniceMetrics
from cascade.db import orders
from cascade.db.database import Database
from cascade.domain.signal_kinds import VENICE, SignalKind
from cascade.errors import InvalidInput
from cascade.rate import signal_store
from cascade.rate.signals import Signal

log = logging.getLogger(__name__)


class MetricsPoller:
    """Several may run side by side: of each look the first answer is taken.

    Args:
        database: where signals are stored.
        pulse: asks Venice.
        poll_seconds: how often; also how long one answer stands.
    """

    def __init__(self, database: Database, pulse: VeniceMetrics, *, poll_seconds: float) -> None:
        self._database = database
        self._pulse = pulse
        self._poll_seconds = poll_seconds
        self._faults: Mapping[SignalKind, str] = {}

    def step(self) -> bool:
        """Ask once; nothing is left to do right away. What cannot be read is said once, and fades from the rate."""
        self.look()
        return False

    def close(self) -> None:
        """Close all connections to Venice."""
        self._pulse.close()

    def look(self) -> int:
        """Ask once. Returns how many values were stored."""
        seen = self._pulse.read()
        self._say(seen.faults)
        return sum(self._store(kind, micro) for kind, micro in seen.values.items())

    def _store(self, kind: SignalKind, micro: int) -> int:
        with self._database.transaction() as connection:
            now = orders.clock(connection)
            number = int(now.timestamp() // self._poll_seconds)
            try:
                return signal_store.insert(connection, VENICE, [Signal(f"{kind}:{number}", kind, micro, now)]).accepted
            except InvalidInput:  # another observer was quicker, and was told something else a moment before
                return 0

    def _say(self, faults: Mapping[SignalKind, str]) -> None:
        for kind, error in faults.items():
            if kind not in self._faults:
                log.warning("Venice does not tell its %s: %s", kind, error)
        for kind in self._faults.keys() - faults.keys():
            log.info("Venice tells its %s again", kind)
        self._faults = faults
