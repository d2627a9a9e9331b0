"""Prepares the relayer's transactions: which payments go together, judged by the chain in the moment of sending.

Whatever goes wrong with one payment isolates that payment. It is refused after two tries, and the others go on; a batch
that fails as a whole is halved until the one is found.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.revert_reasons import refusal_of
from cascade.adapters.chain.router import (
    ask_paused,
    collect,
    collect_many,
    pay_many,
    pay_with_authorization,
    pay_with_permit2,
)
from cascade.adapters.chain.rpc import Request, hexadecimal
from cascade.adapters.chain.view_calls import Failed, Reverted, ViewCall, ask
from cascade.db import orders, relay_queue
from cascade.db import relay_transactions as ledger
from cascade.db.database import Database
from cascade.db.relay_transactions import Lease
from cascade.domain.gas_fees import Fees
from cascade.domain.orders import ChainTerms
from cascade.domain.relay_batch_rules import GAS_OF_SIGNATURE, Lane, RelayPolicy, Spent, gas_limit, room, together
from cascade.domain.relay_items import RejectReason, RelayItem, RelayKind
from cascade.errors import CascadeError

log = logging.getLogger(__name__)

_MINUTE, _DAY = 60, 86_400


@dataclass(frozen=True, slots=True)
class Batch:
    """A transaction that the chain would take at this moment."""

    lane: Lane
    item_ids: Sequence[int]
    calldata: bytes
    gas_limit: int
    fees: Fees


@dataclass(frozen=True, slots=True)
class _Payment:
    """An item with what its order asks for."""

    item: RelayItem
    terms: ChainTerms


@dataclass(slots=True)
class _Judged:
    """The results of simulating payments, each alone; by the items' ids."""

    told: Mapping[ViewCall, bytes | Reverted]
    good: list[_Payment] = field(default_factory=list)
    moved: dict[int, bool] = field(default_factory=dict)
    """Those whose payer has code now and had none, or the other way round: they belong to another lane."""
    failed: list[int] = field(default_factory=list)
    refused: dict[int, RejectReason] = field(default_factory=dict)


class Batches:
    """Prepares transactions.

    Args:
        database: holds what is to be sent.
        node: where the chain is asked.
        router: checksummed address.
        sender: the hot key's address.
        policy: the relayer's bounds.
    """

    def __init__(self, database: Database, node: Node, *, router: str, sender: str, policy: RelayPolicy) -> None:
        self._database = database
        self._node = node
        self._router = router
        self._sender = sender
        self._policy = policy
        self._control = ViewCall(router, ask_paused())

    def waits(self) -> dict[Lane, float]:
        """Return for how many seconds the oldest in each lane has waited, where something waits."""
        with self._database.transaction() as connection:
            return relay_queue.oldest_wait_seconds(connection)

    def next(self, lead: Lease, lane: Lane, base_fee: int, waited: float) -> tuple[Batch | None, str | None]:
        """Return what a lane sends now, if anything, and why it cannot send although something waits.

        Raises:
            NodeUnavailable: nothing was concluded from it.
            LeaseLost: another relayer leads; nothing was written.
        """
        policy = self._policy
        with self._database.transaction() as connection:
            waiting = relay_queue.queued(connection, lane, policy.batch)
            minute, day = (ledger.spent(connection, lead, seconds) for seconds in (_MINUTE, _DAY))
        if not waiting or (len(waiting) < policy.batch and waited < policy.wait_seconds):
            return None, None
        fees = policy.fees.first(base_fee)
        if fees is None:
            return None, f"the base fee is {base_fee} wei, and with the tip above the ceiling {policy.fees.ceiling}"
        left = min(minute.left(policy.per_minute_wei, lane), day.left(policy.per_day_wei, lane))
        largest = room(lane, fees.max_fee, left, batch=policy.batch)
        if largest == 0:
            return None, self._limit_reached(lane, minute, day, gas_limit(lane, 1) * fees.max_fee)
        return self._isolated(lead, lane, together(waiting, largest), fees), None

    def _isolated(self, lead: Lease, lane: Lane, group: Sequence[RelayItem], fees: Fees) -> Batch | None:
        """Prepare a batch; any fault that is not of the database or the node is one of these items'."""
        try:
            return self._prepare(lead, lane, group, fees)
        except (CascadeError, psycopg.Error):
            raise
        except Exception:
            log.exception("relayer: items %s cannot be sent together", [item.id for item in group])
            self._blame(lead, group)
            return None

    def _prepare(self, lead: Lease, lane: Lane, group: Sequence[RelayItem], fees: Fees) -> Batch | None:
        judged = self._judge(lane, self._with_terms(lead, group))
        self._note(lead, judged)
        payments = judged.good
        while payments:
            items = [payment.item for payment in payments]
            calldata, gas = _calldata(lane, payments), gas_limit(lane, len(items))
            if self._succeeds(calldata, gas, judged.told):
                return Batch(lane, [item.id for item in items], calldata, gas, fees)
            self._blame(lead, items)
            payments = payments[: len(payments) // 2]
        return None

    def _with_terms(self, lead: Lease, group: Sequence[RelayItem]) -> list[_Payment]:
        """Return what may be sent; the rest is refused, or has failed once more."""
        payers = sorted({item.payer for item in group if item.payer is not None})
        found = []
        with self._database.transaction() as connection:
            costly = relay_queue.costly_payers(connection, payers, _DAY, self._policy.failed_sends_per_payer)
            for item in group:
                if item.payer in costly:
                    ledger.fence(connection, lead)
                    relay_queue.refuse(connection, item.id, RejectReason.LIMIT)
                    continue
                try:
                    found.append(_Payment(item, orders.terms_by_id(connection, item.on_chain_order_id)))
                except CascadeError as error:
                    log.warning("relayer: item %d: %s", item.id, error)
                    ledger.fence(connection, lead)
                    relay_queue.fail(connection, item.id, tries=self._policy.tries, on_chain=False)
        return found

    def _judge(self, lane: Lane, payments: Sequence[_Payment]) -> _Judged:
        """Look at the payers' code and at what comes of each payment alone, in the moment of sending."""
        # In a batch a signature has no more gas than the router gives it; what is sent alone is simulated as it is.
        is_alone = lane is Lane.COLLECTS or (lane is Lane.KEYS and len(payments) == 1)
        gas = gas_limit(lane, 1) if is_alone else GAS_OF_SIGNATURE
        calls = {each.item.id: self._view(_calldata_for(each), gas) for each in payments}
        payers = sorted({each.item.payer for each in payments if each.item.payer is not None})
        beside: list[Request] = [("eth_getCode", [payer, "latest"]) for payer in payers]
        codes, told = ask(self._node, list(calls.values()), control=self._control, beside=beside)
        has_code = {payer: bool(hexadecimal(code, "eth_getCode")) for payer, code in zip(payers, codes, strict=True)}
        judged = _Judged(told)
        for each in payments:
            said = told.get(calls[each.item.id])
            if each.item.payer is not None and has_code[each.item.payer] != (lane is Lane.CODE):
                judged.moved[each.item.id] = has_code[each.item.payer]
            elif isinstance(said, Failed):
                judged.failed.append(each.item.id)
            elif isinstance(said, Reverted):
                judged.refused[each.item.id] = refusal_of(said.data)
            elif said is not None:  # else it was not judged in time, and stays in the queue
                judged.good.append(each)
        return judged

    def _note(self, lead: Lease, judged: _Judged) -> None:
        if not (judged.moved or judged.failed or judged.refused):
            return
        with self._database.transaction() as connection:
            ledger.fence(connection, lead)
            for item_id, has_code in judged.moved.items():
                relay_queue.note_code(connection, item_id, has_code=has_code)
                # It counts: code that comes and goes with every look would be looked at for ever.
                relay_queue.fail(connection, item_id, tries=self._policy.tries, on_chain=False)
            for item_id in judged.failed:
                log.info("relayer: item %d fails alone, without a revert", item_id)
                relay_queue.fail(connection, item_id, tries=self._policy.tries, on_chain=False)
            for item_id, reason in judged.refused.items():
                relay_queue.refuse(connection, item_id, reason)

    def _succeeds(self, calldata: bytes, gas: int, told: Mapping[ViewCall, bytes | Reverted]) -> bool:
        """Return whether the very transaction would succeed, with its very gas."""
        call = self._view(calldata, gas)
        if call not in told:
            _, told = ask(self._node, [call], control=self._control)
        return not isinstance(told.get(call, Failed()), Reverted)

    def _blame(self, lead: Lease, group: Sequence[RelayItem]) -> None:
        """Note that items failed together: one alone is at fault itself, of several half are tried next."""
        with self._database.transaction() as connection:
            ledger.fence(connection, lead)
            if len(group) == 1:
                relay_queue.fail(connection, group[0].id, tries=self._policy.tries, on_chain=False)
            else:
                relay_queue.queue_again(connection, [item.id for item in group], together=len(group) // 2)

    def _view(self, calldata: bytes, gas: int) -> ViewCall:
        return ViewCall(self._router, calldata, self._sender, gas, foreign=True)

    def _limit_reached(self, lane: Lane, minute: Spent, day: Spent, more: int) -> str:
        policy = self._policy
        is_minute = minute.left(policy.per_minute_wei, lane) < more
        spent, limit, unit = (
            (minute, policy.per_minute_wei, "minute") if is_minute else (day, policy.per_day_wei, "day")
        )
        return (
            f"the limit a {unit} is reached for {lane}: {sum(spent.by_lane.values())} of {limit} wei are spent, {more}"
            f" are wanted, and {spent.left(limit, lane)} are left for them"
        )


def _calldata(lane: Lane, payments: Sequence[_Payment]) -> bytes:
    if lane is Lane.COLLECTS and len(payments) > 1:
        ids = [each.item.on_chain_order_id for each in payments]
        return collect_many(ids, payments[0].item.token_address)
    # Code that fails alone could burn the whole transaction's gas; in a batch it has no more than its part.
    if len(payments) > 1 or lane is Lane.CODE:
        return pay_many([_signed(each) for each in payments])
    return _calldata_for(payments[0])


def _calldata_for(payment: _Payment) -> bytes:
    item = payment.item
    if item.kind is RelayKind.COLLECT:
        return collect(item.on_chain_order_id, item.token_address)
    pay = pay_with_authorization if item.kind is RelayKind.AUTHORIZATION else pay_with_permit2
    return pay(*_signed(payment))


def _signed(payment: _Payment) -> tuple[ChainTerms, str, bytes]:
    return payment.terms, payment.item.payer or "", payment.item.signature or b""
