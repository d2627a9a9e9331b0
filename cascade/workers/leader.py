"""A worker of which any number may run side by side: one of them leads, for as long as it renews its lease."""

from __future__ import annotations

import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import psycopg

from cascade.db.database import Conn, Database
from cascade.workers.polling import PollingWorker

log = logging.getLogger(__name__)


class LeaderWorker(PollingWorker, ABC):
    """Steps until told to stop, and gives its lease up in the end, so that another need not wait for it to run out.

    Args:
        database: holds the lease.
        check: holds the router against the chain; called until it passes, before the first step.
        poll_seconds: how long to wait after a step that left nothing.
        lease_seconds: how long this worker may be silent before another takes over.
    """

    name: ClassVar[str]
    """What its heartbeat is called."""

    def __init__(
        self, database: Database, *, check: Callable[[], None], poll_seconds: float, lease_seconds: float
    ) -> None:
        super().__init__(self.name, self.attempt, poll_seconds=poll_seconds, on_end=self._give_up_lease)
        self._database = database
        self._check: Callable[[], None] | None = check
        self._lease_seconds = lease_seconds
        self._instance = secrets.token_hex(8)

    def attempt(self) -> bool:
        """Do a step, as `run` does it; a worker may report here what made it fail."""
        return self.step()

    @abstractmethod
    def step(self) -> bool:
        """Do what is to be done now, as the leader. Returns True when more can be done right away."""

    @abstractmethod
    def release_lease(self, connection: Conn) -> None:
        """Give the lease up, in the caller's transaction."""

    def check_once(self) -> None:
        """Check the router, until that has passed."""
        if self._check is not None:
            self._check()
            self._check = None

    def _give_up_lease(self) -> None:
        try:
            with self._database.transaction() as connection:
                self.release_lease(connection)
        except psycopg.Error:
            log.info("the lease of the %s was not given up; it runs out by itself", self.name)
