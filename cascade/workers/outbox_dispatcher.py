"""Delivers the outbox: messages, letters and webhooks; lets unpaid orders expire, and prunes what was delivered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cascade.db import outbox
from cascade.db.database import Database
from cascade.domain.delivery_states import OutboxMessage
from cascade.services.checkout import expire_orders
from cascade.workers.channel_base import AsyncDatabase, Channel
from cascade.workers.delivery_loop import DeliveryLoop
from cascade.workers.retry_policy import RetryPolicy

_KEEP_DAYS = 90


class OutboxDispatcher(DeliveryLoop[OutboxMessage]):
    """The delivery loop over the outbox, and the chores that go with it.

    Args:
        database: holds the outbox.
        channels: by destination; all endpoints share ``webhook``.
        poll_seconds: how often to look when nothing is notified.
        retries: how long something is tried.
    """

    def __init__(
        self,
        database: Database,
        channels: Callable[[AsyncDatabase], Mapping[str, Channel[OutboxMessage]]],
        *,
        poll_seconds: float,
        retries: RetryPolicy,
    ) -> None:
        super().__init__(
            database, outbox.QUEUE, channels, name="dispatcher", poll_seconds=poll_seconds, retries=retries
        )
        self._expired_seconds = retries.expired_seconds

    async def _do_chores(self) -> None:
        while await self._transact(lambda connection: expire_orders(connection, seconds=self._expired_seconds)):
            pass
        await self._transact(lambda connection: outbox.prune(connection, _KEEP_DAYS))
