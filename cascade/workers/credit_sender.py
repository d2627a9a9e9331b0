"""Sends credits to Venice: once, and after anything unclear only when a look does not find them there."""

from __future__ import annotations

import time

from cascade.adapters.venice import CreditRequest, VeniceConnector
from cascade.db import credits
from cascade.db.database import Conn, Database
from cascade.domain.credits import Credit, CreditOutcome, Reconciliation, reconcile_credit
from cascade.domain.delivery_states import VENICE, Problem
from cascade.errors import DeliveryError, DeliveryRefused, NotDelivered
from cascade.services.credits import confirm_credit, debit_credit, fail_credit
from cascade.workers.channel_base import AsyncDatabase, Channel
from cascade.workers.delivery_loop import DeliveryLoop
from cascade.workers.retry_policy import RetryPolicy

_STALE_SECONDS = 5.0
"""A try that was stopped for longer between noting that it sends and sending must not send: another may have begun."""


class CreditSender(DeliveryLoop[Credit]):
    """The delivery loop over the credits.

    Args:
        database: holds the credits and the ledger.
        venice_url: where Venice's API is; None in ledger mode.
        settle_seconds: what was sent may still take effect for this long: it is not sent again before.
        poll_seconds: how often to look when nothing is notified.
        retries: how long something is tried.
        venice_timeout_seconds: the longest wait for an answer of Venice's.
    """

    def __init__(
        self,
        database: Database,
        venice_url: str | None,
        *,
        settle_seconds: float,
        poll_seconds: float,
        retries: RetryPolicy,
        venice_timeout_seconds: float = 10.0,
    ) -> None:
        def channels(transact: AsyncDatabase) -> dict[str, Channel[Credit]]:
            venice = VeniceConnector(venice_url, timeout_seconds=venice_timeout_seconds) if venice_url else None
            return {VENICE: CreditChannel(venice, transact, settle_seconds=settle_seconds)}

        super().__init__(
            database, credits.QUEUE, channels, name="credit sender", poll_seconds=poll_seconds, retries=retries
        )


class CreditChannel(Channel[Credit]):
    """Ducats for citizens.

    In ledger mode our ledger is the purse, and the booking was the credit. Else Venice is asked: once, and after
    anything that leaves it open whether Venice did it, only when a look into Venice does not find it.

    Args:
        venice: the connector; None in ledger mode.
        database: holds the credits and the ledger.
        settle_seconds: what was sent may still take effect for this long: it is not sent again before.
    """

    longest_pause_seconds = 300.0

    def __init__(self, venice: VeniceConnector | None, database: AsyncDatabase, *, settle_seconds: float) -> None:
        self._venice = venice
        self._database = database
        self._settle_seconds = settle_seconds

    async def deliver(self, credit: Credit) -> None:
        """Bring a credit to its end, or one step nearer to it."""
        if self._venice is None:
            await self._database(lambda connection: confirm_credit(connection, credit))
            return
        handed = await self._database(lambda connection: debit_credit(connection, credit))
        if handed is None or handed.handed is None:
            return
        ducats, venice = handed.handed, self._venice
        request = CreditRequest(handed.citizen_id, ducats, handed.reference, handed.attempts, handed.order_id)
        verdict = Reconciliation(CreditOutcome.ABSENT)
        if handed.attempts > 1:  # a first try cannot have been preceded by anything
            verdict = reconcile_credit(await venice.transfers(request), ducats, handed.sent_number)
            _check(verdict)
        if verdict.finding is CreditOutcome.ABSENT:
            await self._send(venice, request, handed)
        await self._database(lambda connection: confirm_credit(connection, handed))

    async def _send(self, venice: VeniceConnector, request: CreditRequest, credit: Credit) -> None:
        """Ask Venice, and look what has become of it; its answer alone says nothing."""
        if credit.sent_seconds is not None and credit.sent_seconds < self._settle_seconds:
            raise NotDelivered("Venice shows no transfer; what was sent may still take effect")
        begun = time.monotonic()
        if not await self._database(lambda connection: credits.note_sent(connection, credit)):
            raise NotDelivered("another worker has taken this credit over")
        if time.monotonic() - begun > _STALE_SECONDS:
            raise NotDelivered("too long between noting and sending")
        answer: DeliveryError | None = None
        try:
            await venice.send(request)
        except DeliveryError as exc:
            answer = exc
        verdict = reconcile_credit(await venice.transfers(request), request.ducats, request.number)
        _check(verdict)
        if verdict.finding is CreditOutcome.CREDITED:
            return
        if answer is not None and answer.problem == Problem.INSUFFICIENT_FUNDS:
            raise NotDelivered(str(answer), answer.problem)
        raise answer or NotDelivered("Venice has taken the transfer and does not show it yet")

    def on_delivered(self, connection: Conn, credit: Credit) -> None:
        """Do nothing: it was acknowledged together with what is told of it."""

    def on_failed(self, connection: Conn, credit: Credit, error: DeliveryError, pause_seconds: float | None) -> None:
        """Give back what Venice surely did not move: it is the citizen's with us again."""
        fail_credit(connection, credit, error, pause_seconds)

    async def close(self) -> None:
        """Close all connections to Venice."""
        if self._venice is not None:
            await self._venice.close()


def _check(verdict: Reconciliation) -> None:
    """Let only a credit pass that has arrived.

    Raises:
        NotDelivered: it is on its way, or can be tried again.
        DeliveryRefused: an operator has to look at it.
    """
    if verdict.problem is Problem.INSUFFICIENT_FUNDS:
        raise NotDelivered(verdict.reason, verdict.problem)
    if verdict.problem is not None:
        raise DeliveryRefused(verdict.reason, verdict.problem)
    if verdict.finding is CreditOutcome.WAITING:
        raise NotDelivered("Venice has taken the transfer and not executed it yet")
