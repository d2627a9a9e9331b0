"""The interface of channels: how a delivery is sent, and what is written when it arrived or failed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

from cascade.db.database import Conn, Database
from cascade.db.delivery_queue import D
from cascade.errors import DeliveryError

_Result = TypeVar("_Result")


class AsyncDatabase:
    """The database, for asynchronous callers: each piece of work is one transaction in one of a few threads.

    Args:
        database: whose.
        threads: where the work is done; apart from the threads in which names are looked up, which may hang.
    """

    def __init__(self, database: Database, threads: Executor) -> None:
        self._database = database
        self._threads = threads

    async def __call__(self, work: Callable[[Conn], _Result]) -> _Result:
        """Do some work in a transaction of its own."""

        def do() -> _Result:
            with self._database.transaction() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, do)


class Channel(ABC, Generic[D]):
    """The destination of deliveries.

    Attributes:
        at_once: most deliveries to one destination at the same time.
        seconds: the longest time that a try may take; then it counts as failed.
        longest_pause_seconds: between two tries.
    """

    at_once = 4
    seconds = 30.0
    longest_pause_seconds = 3600.0

    @abstractmethod
    async def deliver(self, delivery: D) -> None:
        """Deliver something.

        Raises:
            NotDelivered: it is tried again later.
            DeliveryRefused: it waits for an operator.
        """

    @abstractmethod
    def on_delivered(self, connection: Conn, delivery: D) -> None:
        """Note that it arrived."""

    @abstractmethod
    def on_failed(self, connection: Conn, delivery: D, error: DeliveryError, pause_seconds: float | None) -> None:
        """Note that it did not, and when it is tried again; None when it waits for an operator."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""
