"""The one read model of an order, and the one check whether a payment of it may begin.

Every rail asks here: what an order's status is, is said nowhere else. The check is made under the order's lock, which a
booking holds as well, so that of two payments that begin at the same moment one sees the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cascade.chains import chain_by_id
from cascade.db import card_attempts, checkpoints, credits, deposits, orders, payments, relay_queue, reversals
from cascade.db.checkpoints import PendingPayment
from cascade.db.database import Conn
from cascade.db.deposits import Arrival
from cascade.db.payments import BookedPayment
from cascade.db.reversals import BookedReversal
from cascade.domain import orders as rules
from cascade.domain.card_payments import CardCase, CardIntent, IntentStatus
from cascade.domain.credits import CreditState, credit_state
from cascade.domain.money import DUCAT, Asset, Money
from cascade.domain.orders import ChainTerms, Order, OrderStatus, status_of
from cascade.domain.partial_payments import PriorPayment, is_a_cent, missing_of
from cascade.domain.relay_items import RejectReason, RelayItem, RelayKind, RelayState
from cascade.errors import AuthorizationRefused, NotFound, NotPayable

_ALIVE: Final = (RelayState.QUEUED, RelayState.SENT)
_REASONS: Final = {
    OrderStatus.EXPIRED: RejectReason.EXPIRED,
    OrderStatus.CONFIRMED: RejectReason.ALREADY_PAID,
    OrderStatus.FULFILLED: RejectReason.ALREADY_PAID,
}


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with everything that a payer may see of it."""

    order: Order
    terms: Sequence[ChainTerms]
    status: OrderStatus
    payments: Sequence[BookedPayment] = ()
    reversals: Sequence[BookedReversal] = ()
    cases: Sequence[CardCase] = ()
    sightings: Sequence[PendingPayment] = ()
    intents: Sequence[CardIntent] = ()
    credit: CreditState | None = None
    relay: Sequence[RelayItem] = ()
    deposits: Sequence[Arrival] = ()
    missing: Money | None = None
    """Of the price, once something has come by transfer; zero: all is there, and being collected."""

    @property
    def being_sent(self) -> bool:
        """Return whether a payment that a payer signed waits for the relayer, or for its block."""
        return any(item.state in _ALIVE and item.kind is not RelayKind.COLLECT for item in self.relay)

    @property
    def has_part(self) -> bool:
        """Return whether at least a cent has come by transfer, and the price is not paid yet."""
        return self.missing is not None and is_a_cent(self.order.quote.price_in(self.missing.asset) - self.missing)


def view_of(connection: Conn, order: Order, *, ledger_mode: bool = True) -> OrderView:
    """Return how an order stands now.

    Args:
        connection: everything is read in its transaction.
        order: as it is stored.
        ledger_mode: our ledger is where citizens hold their ducats; else an order is fulfilled once Venice has them.
    """
    booked = payments.of_order(connection, order.id)
    references = [payment.reference for payment in booked]
    sightings = checkpoints.sightings_of_order(connection, order.id)
    intents = card_attempts.intents_of_order(connection, order.id)
    is_credited = any(payment.grant for payment in booked)
    credit = credit_state(credits.states_of_order(connection, order.id)) if is_credited else None
    status = status_of(
        order,
        orders.clock(connection),
        fulfilment=payments.fulfilment(booked),
        # Where our ledger is the purse, the booking itself is the credit.
        credited=ledger_mode or credit is CreditState.CREDITED,
        seen=bool(sightings) or any(intent.status is IntentStatus.PROCESSING for intent in intents),
        final=any(sighting.final for sighting in sightings),
    )
    terms = orders.chain_terms(connection, order.id)
    return OrderView(
        order,
        terms,
        status,
        payments=booked,
        reversals=reversals.of_payments(connection, references) if references else [],
        cases=card_attempts.cases_of_payments(connection, references) if references else [],
        sightings=sightings,
        intents=intents,
        credit=CreditState.CREDITED if credit and ledger_mode else credit,
        relay=relay_queue.of_order(connection, order.id),
        deposits=deposits.of_order(connection, order.id),
        missing=_missing(connection, order, terms, status=status, booked=booked),
    )


def lock_payable(connection: Conn, order_id: str, *, in_parts: bool = False) -> OrderView:
    """Lock an order and return how it stands, when a payment of it may begin.

    Args:
        connection: the order stays locked until its transaction ends.
        order_id: of a stored order.
        in_parts: what begins may pay what is missing; else it pays the whole price.

    Raises:
        NotFound: there is no such order.
        NotPayable: it is paid, expired or being paid.
    """
    return check_beginning(connection, _locked(connection, order_id), in_parts=in_parts)


def check_beginning(connection: Conn, order: Order, *, in_parts: bool = False) -> OrderView:
    """Return how an order stands whose lock the caller holds, when a payment of it may begin; see `lock_payable`.

    Raises:
        NotPayable: it is paid, expired or being paid.
    """
    view = view_of(connection, order)
    check_payable(view)
    if not in_parts and view.has_part:
        raise NotPayable(_rest_of(view))
    return view


def lock_signable(connection: Conn, order_id: str, *, only_looks: bool = False) -> OrderView:
    """Lock an order and return how it stands, when its payer may sign for the whole price.

    Args:
        connection: the order stays locked until its transaction ends.
        order_id: of a stored order.
        only_looks: nothing begins yet, so a payment that is being sent is in nobody's way.

    Raises:
        NotFound: there is no such order.
        AuthorizationRefused: it is paid or expired, or a part has come by transfer.
        NotPayable: another payment of it is on its way, or went back.
    """
    view = view_of(connection, _locked(connection, order_id))
    if view.status in _REASONS:
        raise refused(_REASONS[view.status])
    check_payable(view, only_looks=only_looks)
    if view.has_part:
        raise AuthorizationRefused(RejectReason.PART_PAID, _rest_of(view))
    return view


def check_payable(view: OrderView, *, only_looks: bool = False) -> None:
    """Refuse to begin a payment of an order that is paid, expired, or being paid on whichever rail.

    Args:
        view: how the order stands.
        only_looks: nothing begins yet, so a payment that is being sent is in nobody's way.

    Raises:
        NotPayable: the message says why.
    """
    rules.check_payable(view.status)
    if view.being_sent and not only_looks:
        raise NotPayable("A payment of this order is being sent. Wait for it instead of paying twice.")
    if view.missing is not None and not view.missing.units:
        raise NotPayable("All of the price has come to the order's address. It is being collected.")


def refused(refusal: RejectReason) -> AuthorizationRefused:
    """Return the error for a reason."""
    return AuthorizationRefused(refusal, refusal.next_step)


def _locked(connection: Conn, order_id: str) -> Order:
    order = orders.lock(connection, order_id)
    if order is None:
        raise NotFound("There is no such order.")
    return order


def _rest_of(view: OrderView) -> str:
    assert view.missing is not None  # noqa: S101 - a part has come
    missing = f"{view.missing.display(6)} {view.missing.asset.code}"
    return f"A part of the price has come by transfer, {missing} is missing: send that to the order's deposit address."


def _missing(
    connection: Conn,
    order: Order,
    terms: Sequence[ChainTerms],
    *,
    status: OrderStatus,
    booked: Sequence[BookedPayment],
) -> Money | None:
    """Return what of the price is still to come, in the stablecoin that came first; None: nothing came, or no more can.

    What lies at a deposit address counts: its payer has done that much, whenever we collect it.
    """
    assets: dict[str, Asset] = {}
    for each in terms:
        assets |= {address: asset for asset, address in chain_by_id(each.chain_id).stablecoins.items()}
    uncollected = [
        PriorPayment(Money(assets[token], units), Money(DUCAT, 0))
        for token, units in deposits.uncollected_of_order(connection, order.id)
        if token in assets
    ]
    come = [*payments.parts_of(booked), *uncollected]
    if not come or status is OrderStatus.EXPIRED or payments.fulfilment(booked):
        return None
    return missing_of(order.quote, come[0].left.asset, come)
