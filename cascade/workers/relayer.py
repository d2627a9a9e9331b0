"""Sends what payers signed, and collects plain transfers: one transaction at a time, many payments in each.

One at a time is what makes it simple. A nonce is given only when all before it are in blocks, so there is never a gap;
what waits meanwhile is sent together, which is cheaper: ``relay_batch_builder`` says what. A transaction is stored,
signed, before it is sent, so that a process that starts after a crash sends the same one. Nothing depends on what a
node says of a sending: only a receipt counts.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.signer import Signed, Signer, sign_call
from cascade.adapters.chain.transactions import Receipt, SenderSnapshot, look, send
from cascade.db import relay_queue
from cascade.db import relay_transactions as ledger
from cascade.db.database import Conn, Database
from cascade.db.relay_transactions import Attempt, Lease, PendingTx
from cascade.domain.gas_fees import Fees
from cascade.domain.relay_batch_rules import Lane, RelayPolicy
from cascade.errors import NodeUnavailable
from cascade.workers.leader import LeaderWorker
from cascade.workers.relay_batch_builder import Batch, Batches

log = logging.getLogger(__name__)


class Relayer(LeaderWorker):
    """Any number may run side by side; one of them leads a key at a time.

    Args:
        database: holds what is to be sent, and every transaction.
        node: where it is sent.
        signer: holds the key.
        chain_id: EIP-155 chain id.
        router: checksummed address.
        policy: its bounds.
        check: holds the router against the chain; called until it passes, before anything is sent.
        poll_seconds: how often to look.
        lease_seconds: how long this relayer may be silent before another takes over.
    """

    name = "relayer"

    def __init__(
        self,
        database: Database,
        node: Node,
        signer: Signer,
        *,
        chain_id: int,
        router: str,
        policy: RelayPolicy,
        check: Callable[[], None],
        poll_seconds: float,
        lease_seconds: float,
    ) -> None:
        super().__init__(database, check=check, poll_seconds=poll_seconds, lease_seconds=lease_seconds)
        self._node = node
        self._signer = signer
        self._chain_id = chain_id
        self._router = router
        self._policy = policy
        self._batches = Batches(database, node, router=router, sender=signer.address, policy=policy)
        self._turns = deque(Lane)
        self._sent_at: dict[bytes, float] = {}
        self._taken_since: dict[int, float] = {}

    def step(self) -> bool:
        """Look once at what was sent, and send at most one transaction.

        Returns:
            False: nothing is left that time does not bring.

        Raises:
            NodeUnavailable: nothing was concluded from it.
            LeaseLost: another relayer leads; nothing was written.
        """
        self.check_once()
        with self._database.transaction() as connection:
            lead = ledger.lease(connection, self._chain_id, self._signer.address, self._instance, self._lease_seconds)
            if lead is None:
                return False
            sent = ledger.unfinished(connection, lead)
        hashes = [attempt.hash for transaction in sent for attempt in transaction.attempts]
        now = look(self._node, self._signer.address, self._router, hashes)
        waiting = [transaction for transaction in sent if not self._check_receipt(lead, transaction, now)]
        alarm = self._rebroadcast(lead, waiting, now) if waiting else self._send_next(lead, now)
        self._report_status(lead, now, alarm)
        return False

    def _check_receipt(self, lead: Lease, transaction: PendingTx, now: SenderSnapshot) -> bool:
        """Note what became of a transaction. False while it is in no block and may have to be sent again."""
        receipt = next((now.receipts[a.hash] for a in transaction.attempts if a.hash in now.receipts), None)
        if receipt is not None:
            if receipt.final:
                self._finalize(lead, transaction, receipt)
            return True
        if now.nonce <= transaction.nonce:
            self._taken_since.pop(transaction.id, None)
            return False
        # Its nonce is used, but by none of our forms. A node that lags says so too, for a while.
        since = self._taken_since.setdefault(transaction.id, time.monotonic())
        if time.monotonic() - since < self._policy.usurped_seconds:
            return False
        log.error("nonce %d of %s was used by a transaction that is not ours", transaction.nonce, lead.sender)
        with self._database.transaction() as connection:
            ledger.fence(connection, lead)
            ledger.mark_nonce_taken(connection, transaction.id)
            relay_queue.queue_again(
                connection, [item.id for item in relay_queue.of_transaction(connection, transaction.id)]
            )
        return True

    def _finalize(self, lead: Lease, transaction: PendingTx, receipt: Receipt) -> None:
        with self._database.transaction() as connection:
            ledger.fence(connection, lead)
            ledger.finish(connection, transaction.id, receipt.cost_wei)
            items = relay_queue.of_transaction(connection, transaction.id)
            if not receipt.succeeded and len(items) > 1:
                # Nobody knows who is at fault, and nobody is refused for the others.
                relay_queue.queue_again(connection, [item.id for item in items], together=len(items) // 2)
                return
            for item in items:
                if item.on_chain_order_id in receipt.paid:
                    relay_queue.settle(connection, item.id)
                else:  # looked at once more before it is sent again
                    relay_queue.fail(connection, item.id, tries=self._policy.tries, on_chain=True)

    def _rebroadcast(self, lead: Lease, waiting: Sequence[PendingTx], now: SenderSnapshot) -> str | None:
        """Hand what is in no block to the node again, in order, and replace the first when it is stuck."""
        first = waiting[0]
        latest, alarm = first.attempts[-1], None
        if latest.age_seconds >= self._policy.stuck_seconds:
            fees = self._policy.fees.replacing(latest.fees, now.base_fee)
            if fees is None:
                alarm = f"nonce {first.nonce} is stuck, and the fees are at their ceiling"
            else:
                signed = self._sign(first.nonce, first.router, first.calldata, first.gas_limit, fees)
                with self._database.transaction() as connection:
                    ledger.fence(connection, lead)
                    ledger.insert_attempt(connection, first.id, signed.hash, signed.raw, fees)
                latest = Attempt(signed.hash, signed.raw, fees, 0.0)
        for attempt in (latest, *(transaction.attempts[-1] for transaction in waiting[1:])):
            if time.monotonic() - self._sent_at.get(attempt.hash, -1e9) >= self._policy.resend_seconds:
                alarm = self._broadcast(attempt.hash, attempt.raw) or alarm
        return alarm

    def _send_next(self, lead: Lease, now: SenderSnapshot) -> str | None:
        """Send what waits in one lane; the lanes take turns. Returns why lanes could not send."""
        alarms: list[str] = []
        unread: NodeUnavailable | None = None
        waits = self._batches.waits()
        for _ in Lane:
            lane = self._turns[0]
            self._turns.rotate(-1)
            if lane not in waits:
                continue
            try:
                batch, alarm = self._batches.next(lead, lane, now.base_fee, waits[lane])
            except NodeUnavailable as exc:  # about what waits in this lane; the others have questions of their own
                unread = exc
                continue
            alarms += [alarm] if alarm else []
            if batch is not None:
                alarm = self._send(lead, batch, now)
                alarms += [alarm] if alarm else []
                break
        else:
            if unread is not None:
                raise unread
        return "; ".join(dict.fromkeys(alarms)) or None

    def _send(self, lead: Lease, batch: Batch, now: SenderSnapshot) -> str | None:
        with self._database.transaction() as connection:
            ledger.fence(connection, lead)
            nonce = ledger.next_nonce(connection, lead, now.nonce)
            signed = self._sign(nonce, self._router, batch.calldata, batch.gas_limit, batch.fees)
            transaction = ledger.insert(
                connection,
                lead,
                nonce,
                lane=batch.lane,
                router=self._router,
                calldata=batch.calldata,
                gas_limit=batch.gas_limit,
            )
            ledger.insert_attempt(connection, transaction, signed.hash, signed.raw, batch.fees)
            relay_queue.mark_sent(connection, batch.item_ids, transaction)
        log.info("nonce %d, %s: %d orders: 0x%s", nonce, batch.lane, len(batch.item_ids), signed.hash.hex())
        return self._broadcast(signed.hash, signed.raw)

    def _sign(self, nonce: int, router: str, calldata: bytes, gas_limit: int, fees: Fees) -> Signed:
        return sign_call(
            self._signer,
            chain_id=self._chain_id,
            nonce=nonce,
            to=router,
            calldata=calldata,
            gas_limit=gas_limit,
            fees=fees,
        )

    def _broadcast(self, hash_: bytes, raw: bytes) -> str | None:
        self._sent_at[hash_] = time.monotonic()
        error = send(self._node, raw)
        if error is None or "known" in error:
            return None
        log.info("the node objected to 0x%s: %s", hash_.hex(), error)
        return f"the node objected: {error}" if "insufficient funds" in error else None

    def _report_status(self, lead: Lease, now: SenderSnapshot, alarm: str | None) -> None:
        if alarm is None and now.balance_wei < self._policy.low_balance_wei:
            alarm = f"the hot key {lead.sender} holds {now.balance_wei} wei, less than {self._policy.low_balance_wei}"
        with self._database.transaction() as connection:
            ledger.note(connection, lead, now.balance_wei, alarm)

    def release_lease(self, connection: Conn) -> None:
        """Give the lead up."""
        ledger.release(connection, self._chain_id, self._signer.address, self._instance)
