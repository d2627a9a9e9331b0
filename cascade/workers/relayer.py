"""Sends what payers signed, and collects plain transfers: one transaction at a time, many payments in each.

One at a time is what makes it simple. A nonce is given only when all before it are in blocks, so there is never a gap;
what waits meanwhile is sent together, which is cheaper; and a transaction is stored, signed, before it is sent, so that
whoever comes after a crash sends the same one. Nothing depends on what a node says of a sending: only a receipt counts.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

import psycopg

from cascade.domain.fees import FeePolicy, Fees
from cascade.domain.orders import ChainTerms
from cascade.domain.relay import Refusal, RelayItem, RelayKind
from cascade.rails import router_calls
from cascade.rails.broadcast import Look, Receipt, look, send
from cascade.rails.hot_key import Signed, Signer, sign_call
from cascade.rails.node import Node, Reverted, ViewCall
from cascade.rails.reverts import refusal_of
from cascade.store import orders, relay
from cascade.store import relay_transactions as ledger
from cascade.store.database import Database
from cascade.store.relay_transactions import Attempt, Lead, Unfinished
from cascade.workers.heartbeat import Heartbeat
from cascade.workers.patience import keep_on

log = logging.getLogger(__name__)

_GAS_OF_TRANSACTION = 250_000
_GAS_OF_SIGNATURE = 160_000
_GAS_OF_SIGNATURE_BY_CODE = 460_000
"""The router gives a payer's code 300,000; unused gas costs nothing, missing gas leaves one out."""
_GAS_OF_COLLECT = 140_000
_TRIES = 2
"""A payment that fails on chain although it would have succeeded a moment before is tried once more, not for ever."""


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """What the relayer may do by itself.

    Attributes:
        fees: bounds on the price of gas.
        batch: most payments in one transaction.
        wait_seconds: longest that a payment waits for others to share its transaction.
        per_minute_wei: most that may be spent in a minute, counted by the most that a transaction can cost.
        per_day_wei: the same in a day.
        low_balance_wei: less than this on the hot key is an alarm.
        resend_seconds: how often a transaction that is in no block is handed to the node again.
        stuck_seconds: after so long it is replaced by one that pays more.
        usurped_seconds: when its nonce has been used for so long by none of its forms, it never will be.
    """

    per_minute_wei: int
    per_day_wei: int
    low_balance_wei: int
    fees: FeePolicy = field(default_factory=FeePolicy)
    batch: int = 20
    wait_seconds: float = 1.0
    resend_seconds: float = 4.0
    stuck_seconds: float = 20.0
    usurped_seconds: float = 60.0


class Relayer:
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
        self._database = database
        self._node = node
        self._signer = signer
        self._chain_id = chain_id
        self._router = router
        self._policy = policy
        self._check: Callable[[], None] | None = check
        self._poll_seconds = poll_seconds
        self._lease_seconds = lease_seconds
        self._name = secrets.token_hex(8)
        self._sent_at: dict[bytes, float] = {}
        self._taken_since: dict[int, float] = {}

    def run(self, stop: Event, heartbeat: Heartbeat | None = None) -> None:
        """Look, send, wait, until told to stop. Whatever goes wrong is said, waited out and tried again.

        Raises:
            DeploymentMismatch: at the first step; an operator has to give another record or node.
        """
        heart = heartbeat or Heartbeat("relayer")
        try:
            keep_on(self.step, stop, poll_seconds=self._poll_seconds, heartbeat=heart)
        finally:
            self._resign()

    def step(self) -> bool:
        """Look once at what was sent, and send at most one transaction.

        Returns:
            False: nothing is left that time does not bring.

        Raises:
            NodeUnavailable: nothing was concluded from it.
            LeaseLost: another relayer leads; nothing was written.
        """
        if self._check is not None:
            self._check()
            self._check = None
        with self._database.transaction() as connection:
            lead = ledger.lease(connection, self._chain_id, self._signer.address, self._name, self._lease_seconds)
            if lead is None:
                return False
            sent = ledger.unfinished(connection, lead)
        hashes = [attempt.hash for transaction in sent for attempt in transaction.attempts]
        now = look(self._node, self._signer.address, self._router, hashes)
        waiting = [transaction for transaction in sent if not self._conclude(lead, transaction, now)]
        alarm = self._push(lead, waiting, now) if waiting else self._send_next(lead, now)
        self._note(lead, now, alarm)
        return False

    def _conclude(self, lead: Lead, transaction: Unfinished, now: Look) -> bool:
        """Note what became of a transaction. False while it is in no block and may have to be sent again."""
        receipt = next((now.receipts[a.hash] for a in transaction.attempts if a.hash in now.receipts), None)
        if receipt is not None:
            if receipt.final:
                self._finish(lead, transaction, receipt)
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
            ledger.usurp(connection, transaction.id)
            for item in relay.of_transaction(connection, transaction.id):
                relay.queue_again(connection, item.id)
        return True

    def _finish(self, lead: Lead, transaction: Unfinished, receipt: Receipt) -> None:
        with self._database.transaction() as connection:
            ledger.fence(connection, lead)
            ledger.finish(connection, transaction.id, receipt.cost_wei)
            for item in relay.of_transaction(connection, transaction.id):
                if item.on_chain_order_id in receipt.paid:
                    relay.settle(connection, item.id)
                elif item.tries < _TRIES:
                    relay.queue_again(connection, item.id)  # looked at once more before it is sent again
                else:
                    relay.refuse(connection, item.id, Refusal.REVERTED)

    def _push(self, lead: Lead, waiting: Sequence[Unfinished], now: Look) -> str | None:
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

    def _send_next(self, lead: Lead, now: Look) -> str | None:
        """Send what waits, when it has waited long enough or there is enough. Returns why it could not."""
        policy = self._policy
        with self._database.transaction() as connection:
            waited = relay.oldest_wait_seconds(connection)
            items = relay.queued(connection, policy.batch)
            terms = {item.id: orders.terms_by_id(connection, item.on_chain_order_id) for item in items}
        if waited is None or (len(items) < policy.batch and waited < policy.wait_seconds):
            return None
        fees = policy.fees.first(now.base_fee)
        if fees is None:
            return f"the base fee is {now.base_fee} wei, and with the tip above the ceiling {policy.fees.ceiling}"
        group = self._payable(lead, _together(items), terms)
        if not group:
            return None
        calldata, gas_limit = self._call(group, terms), _gas_limit(group)
        with self._database.transaction() as connection:
            ledger.fence(connection, lead)
            alarm = self._over_limit(ledger.spent_wei(connection, lead, 60), gas_limit * fees.max_fee, minute=True)
            alarm = alarm or self._over_limit(
                ledger.spent_wei(connection, lead, 86_400), gas_limit * fees.max_fee, minute=False
            )
            if alarm is not None:
                return alarm
            nonce = ledger.next_nonce(connection, lead, now.nonce)
            signed = self._sign(nonce, self._router, calldata, gas_limit, fees)
            transaction = ledger.insert(connection, lead, nonce, self._router, calldata, gas_limit)
            ledger.insert_attempt(connection, transaction, signed.hash, signed.raw, fees)
            relay.mark_sent(connection, [item.id for item in group], transaction)
        log.info("nonce %d pays or collects %d orders: 0x%s", nonce, len(group), signed.hash.hex())
        return self._broadcast(signed.hash, signed.raw)

    def _payable(self, lead: Lead, group: Sequence[RelayItem], terms: Mapping[int, ChainTerms]) -> list[RelayItem]:
        """Those that would succeed at this moment; the others are refused with the reason."""
        calls = [ViewCall(self._router, _alone(item, terms[item.id]), self._signer.address) for item in group]
        good, bad = [], {}
        for item, answer in zip(group, self._node.attempt(calls), strict=True):
            if isinstance(answer, Reverted):
                bad[item.id] = refusal_of(answer.data)
            else:
                good.append(item)
        if bad:
            with self._database.transaction() as connection:
                ledger.fence(connection, lead)
                for item_id, reason in bad.items():
                    relay.refuse(connection, item_id, reason)
        return good

    def _call(self, group: Sequence[RelayItem], terms: Mapping[int, ChainTerms]) -> bytes:
        if len(group) == 1:
            return _alone(group[0], terms[group[0].id])
        if group[0].kind is RelayKind.COLLECT:
            ids = [item.on_chain_order_id for item in group]
            return router_calls.collect_many(ids, group[0].token_address)
        return router_calls.pay_many([(terms[i.id], i.payer or "", i.signature or b"") for i in group])

    def _over_limit(self, spent: int, more: int, *, minute: bool) -> str | None:
        limit = self._policy.per_minute_wei if minute else self._policy.per_day_wei
        if spent + more <= limit:
            return None
        return f"the limit a {'minute' if minute else 'day'} is reached: {spent} of {limit} wei, and {more} are wanted"

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
        objection = send(self._node, raw)
        if objection is None or "known" in objection:
            return None
        log.info("the node objected to 0x%s: %s", hash_.hex(), objection)
        return f"the node objected: {objection}" if "insufficient funds" in objection else None

    def _note(self, lead: Lead, now: Look, alarm: str | None) -> None:
        if alarm is None and now.balance_wei < self._policy.low_balance_wei:
            alarm = f"the hot key {lead.sender} holds {now.balance_wei} wei, less than {self._policy.low_balance_wei}"
        with self._database.transaction() as connection:
            ledger.note(connection, lead, now.balance_wei, alarm)

    def _resign(self) -> None:
        try:
            with self._database.transaction() as connection:
                ledger.release(connection, self._chain_id, self._signer.address, self._name)
        except psycopg.Error:  # the lease then runs out by itself
            log.info("the relayer's lease was not given up; it runs out by itself")


def _together(items: Sequence[RelayItem]) -> list[RelayItem]:
    """What can share a transaction with the oldest: signed payments of both tokens, or collects of one."""
    oldest = items[0]
    if oldest.kind is not RelayKind.COLLECT:
        return [item for item in items if item.kind is not RelayKind.COLLECT]
    return [item for item in items if item.kind is RelayKind.COLLECT and item.token_address == oldest.token_address]


def _alone(item: RelayItem, terms: ChainTerms) -> bytes:
    if item.payer is None or item.signature is None:
        return router_calls.collect(item.on_chain_order_id, item.token_address)
    by = {
        RelayKind.AUTHORIZATION: router_calls.pay_with_authorization,
        RelayKind.PERMIT2: router_calls.pay_with_permit2,
    }
    return by[item.kind](terms, item.payer, item.signature)


def _gas_limit(group: Sequence[RelayItem]) -> int:
    return _GAS_OF_TRANSACTION + sum(
        _GAS_OF_COLLECT
        if item.kind is RelayKind.COLLECT
        else _GAS_OF_SIGNATURE_BY_CODE
        if item.has_code
        else _GAS_OF_SIGNATURE
        for item in group
    )
