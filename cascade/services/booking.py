"""★ Book payments: a confirmed payment becomes ducats, exactly once, in the caller's database transaction.

Credits to Venice, and what others must hear of it, are enqueued in that same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cascade.db import balances, card_attempts, credits, ledger, orders, payments, reversals
from cascade.db.database import Conn
from cascade.db.payments import BookedPayment
from cascade.domain import postings
from cascade.domain import reversals as money_back
from cascade.domain.money import DUCAT, USD, Asset, Money
from cascade.domain.order_events import EventType
from cascade.domain.orders import Order
from cascade.domain.partial_payments import Grant, PriorPayment, match_partial, missing_of, receipt, whole
from cascade.domain.payments import ConfirmedPayment, Outcome, Rail, SuspenseReason, judge
from cascade.domain.reversals import GrantState, Refund, Refundable, Reversal, ReversalKind
from cascade.errors import LedgerConflict, NotFound
from cascade.services.order_events import record


@dataclass(frozen=True, slots=True)
class _Expected:
    """The order that a payment is for: what it asks for on the payment's rail, and the last moment that is in time."""

    order: Order
    amounts: Mapping[Asset, Money]
    until: datetime | None = None


def book_payment(connection: Conn, payment: ConfirmedPayment) -> Outcome:
    """Book a payment: ducats for its order, or suspense with a reason. The same payment again is a no-op.

    Args:
        connection: everything is written in its transaction, together with the evidence of the caller.
        payment: money that has arrived for good.

    Returns:
        What became of it, now or before.

    Raises:
        LedgerConflict: the reference was booked with another amount, payer or transaction.
    """
    ledger.lock(connection)  # of two processes with the same payment the second sees the first's booking
    expected = _lock_order(connection, payment)
    booked = payments.by_reference(connection, payment.reference)
    if booked is not None:
        _check_same(payment, booked)
        return booked.outcome
    order = expected.order if expected else None
    before = payments.of_order(connection, order.id) if order else []
    verdict = _verdict(payment, expected, before)
    if order is None or isinstance(verdict, SuspenseReason):
        ledger.post(connection, postings.suspense(payment))
    else:
        ledger.post(connection, postings.sale(payment, order.citizen_id, verdict))
    outcome = payments.insert(connection, payment, order.id if order else None, verdict)
    # Anybody may send a stranger dust and collect it, as often as he likes: nobody is told of what only waits.
    if order is not None and not (payment.is_dust and isinstance(verdict, SuspenseReason)):
        _tell(connection, order, payment, verdict, payments.parts_of(before))
    return outcome


def book_reversal(connection: Conn, reversal: Reversal) -> bool:
    """Book money that went back, or came again, and the ducats that go with it. The same movement again is a no-op.

    Ducats are taken as far as the citizen holds them; the rest becomes a receivable (docs/decisions/0008).

    Args:
        connection: everything is written in its transaction.
        reversal: one movement of a payment's money.

    Returns:
        True when it was booked now; False when it had been booked before.

    Raises:
        NotFound: its payment is not booked.
        LedgerConflict: the reference was booked with another payment, kind or amount.
    """
    ledger.lock(connection)
    payment = payments.by_reference(connection, reversal.payment)
    if payment is None:
        raise NotFound(f"{reversal.reference}: no payment {reversal.payment} is booked")
    order = orders.lock(connection, payment.order_id) if payment.order_id else None
    booked = reversals.by_reference(connection, reversal.reference)
    if booked is not None:
        came, stands = ((r.payment, r.kind, r.amount) for r in (reversal, booked))
        if came != stands:
            raise _conflict(reversal.reference, stands, came)
        return False
    standing = _standing(connection, order, payment, payment.grant) if order and payment.grant else None
    ledger.post(connection, money_back.transaction(reversal, standing))
    exchange = money_back.exchange(reversal)
    if exchange is not None:
        ledger.post(connection, exchange)
    reversals.insert(connection, reversal)
    if order is not None:
        _tell_of_reversal(connection, order, payment, reversal)
    return True


def book_gain(connection: Conn, reference: str, amount: Money) -> bool:
    """Book what a bank gave back beyond what it had taken. The same gain again is a no-op.

    Returns:
        True when it was booked now.

    Raises:
        LedgerConflict: the reference was booked with another amount.
    """
    ledger.lock(connection)
    return ledger.post(connection, postings.exchange_gain(reference, amount))


def book_refund(connection: Conn, back: Refund) -> Money:
    """Book money that the Safe gave back for an order, as reversals of the payments that it fits (docs/decisions/0013).

    Whatever fits none is booked as that, and waits for an operator. The same refund again is a no-op.

    Args:
        connection: everything is written in its transaction, together with the evidence of the caller.
        back: money that has left the Safe for good.

    Returns:
        What of it fits no payment, now or before.

    Raises:
        LedgerConflict: the reference was booked with other contents.
    """
    ledger.lock(connection)
    if not reversals.insert_refund(connection, back):
        booked = reversals.refund_by_reference(connection, back.reference)
        if booked.refund != back:
            raise _conflict(back.reference, booked.refund, back)
        return booked.unmatched
    found = orders.lock_by_on_chain_order_id(connection, back.order_key)
    left = [p for p in payments.on_chain(connection, back.order_key) if p.returned < p.received]
    # A payment below the quote that fulfilled it completed parts; one that paid all by itself needed none.
    by_parts = any(p.grant and p.grant.fulfils and found and p.grant.ducats < found[0].quote.ducats for p in left)
    candidates = [
        Refundable(
            p.reference,
            p.received - p.returned,
            credited=p.grant is not None,
            named=p.order_key == back.order_key,
            completed=by_parts and p.grant is not None and not p.grant.fulfils,
        )
        for p in left
    ]
    parts, rest = money_back.spread(back, candidates)
    for part in parts:
        book_reversal(connection, part)
    if rest.units:
        ledger.post(connection, money_back.unmatched(back, rest))
    return rest


def _lock_order(connection: Conn, payment: ConfirmedPayment) -> _Expected | None:
    if payment.rail is Rail.CHAIN:
        found = orders.lock_by_on_chain_order_id(connection, payment.order_key)
        if found is None:
            return None
        terms = found[1]
        # The router counts whole seconds, and takes nothing any more in the one of the deadline.
        last_second = datetime.fromtimestamp(terms.expires_at - 1, UTC)
        return _Expected(found[0], {terms.token: terms.amount}, last_second)
    order = orders.lock(connection, payment.order_key.decode())
    if order is None:
        return None
    until = card_attempts.payable_until(connection, order.id) or order.expires_at
    return _Expected(order, {USD: order.quote.price}, until)


def _verdict(
    payment: ConfirmedPayment, expected: _Expected | None, before: Sequence[BookedPayment]
) -> Grant | SuspenseReason:
    """Return what a payment brings its order, after what was booked for it before, or why it goes to suspense."""
    if expected is None:
        return SuspenseReason.UNKNOWN_ORDER
    quote = expected.order.quote
    already_paid = payments.fulfilment(before) is not None
    late = _is_late(payment, expected)
    if payment.collected:
        return match_partial(payment.received, quote, payments.parts_of(before), already_paid=already_paid, late=late)
    return judge(payment.received, expected.amounts, already_paid=already_paid, late=late) or whole(quote)


def _is_late(payment: ConfirmedPayment, expected: _Expected) -> bool:
    if expected.until is None or payment.paid_at is None:
        return False
    return payment.paid_at > expected.until


def _standing(connection: Conn, order: Order, payment: BookedPayment, grant: Grant) -> GrantState:
    """Return how the ducats that a payment brought stand; nobody moves them until the transaction ends."""
    held = balances.citizen_ducats(connection, order.citizen_id)
    # Its own debt: what another part of the order owes does not become less by this one's money.
    owed = sum(r.owed.units for r in reversals.of_payments(connection, [payment.reference]))
    standing = (payment.received, payment.returned, held, Money(DUCAT, owed))
    return GrantState(order, grant.ducats, grant.bonus, *standing)


def _tell(
    connection: Conn,
    order: Order,
    payment: ConfirmedPayment,
    verdict: Grant | SuspenseReason,
    parts: Sequence[PriorPayment],
) -> None:
    """Record a payment's events and, when it brought ducats, the credit to Venice; ``parts``: what came before it."""
    paid = {"payment": _paid(payment)}
    if isinstance(verdict, SuspenseReason):
        record(connection, order, EventType.PAYMENT_IN_REVIEW, payment.reference, paid | {"reason": verdict})
    elif verdict.fulfils:
        orders.forget_expiry(connection, order.id)
        record(connection, order, EventType.ORDER_CONFIRMED, payment.reference, paid)
        data = paid | receipt(order.quote, verdict, parts)
        _credit(connection, order, payment.reference, verdict.total, EventType.ORDER_FULFILLED, data)
    else:
        missing = missing_of(
            order.quote, payment.received.asset, [*parts, PriorPayment(payment.received, verdict.ducats)]
        )
        data = paid | {"missing": missing.plain, "expires_at": f"{order.expires_at:%Y-%m-%dT%H:%M:%SZ}"}
        _credit(connection, order, payment.reference, verdict.total, EventType.PAYMENT_CREDITED_IN_PART, data)


_EVENT_OF = {
    ReversalKind.REFUND: EventType.PAYMENT_REFUNDED,
    ReversalKind.REFUND_FAILED: EventType.PAYMENT_REFUND_FAILED,
    ReversalKind.DISPUTE: EventType.PAYMENT_DISPUTED,
    ReversalKind.DISPUTE_REINSTATED: EventType.PAYMENT_REINSTATED,
}


def _tell_of_reversal(connection: Conn, order: Order, payment: BookedPayment, reversal: Reversal) -> None:
    """Record a reversal's events. Ducats that the citizen gets again are told of when Venice has them."""
    booked = reversals.by_reference(connection, reversal.reference)
    assert booked is not None  # noqa: S101 - it was inserted a moment ago
    data = {
        "payment": _paid(payment),
        "amount": reversal.amount.plain,
        "token": (reversal.left_as or reversal.amount.asset).code,
        "ducats_taken": booked.taken.plain,
        "ducats_owed": booked.owed.plain,
    }
    kind = _EVENT_OF[reversal.kind]
    if booked.taken.units < 0:
        _credit(connection, order, reversal.reference, Money(DUCAT, -booked.taken.units), kind, data)
    else:
        record(connection, order, kind, reversal.reference, data)
    gone = not payment.returned + reversal.amount < payment.received and payment.grant is not None
    booked_now = payments.of_order(connection, order.id) if reversal.kind.leaves and gone else []
    if payments.fulfilment(booked_now) is Outcome.REVERSED:
        record(connection, order, EventType.ORDER_REVERSED, reversal.reference, {"payment": _paid(payment)})


def _credit(
    connection: Conn, order: Order, reference: str, ducats: Money, event_type: EventType, data: Mapping[str, Any]
) -> None:
    """Enqueue ducats for Venice, with the event that is recorded once it has them."""
    credits.enqueue(
        connection,
        order.citizen_id,
        order.id,
        reference,
        ducats=ducats,
        event_type=event_type,
        event_key=reference,
        event_data=data,
    )


def _paid(payment: ConfirmedPayment | BookedPayment) -> dict[str, Any]:
    return {
        "reference": payment.reference,
        "rail": payment.rail,
        "token": payment.received.asset.code,
        "amount": payment.received.plain,
        "transaction": payment.transaction,
    }


def _check_same(payment: ConfirmedPayment, booked: BookedPayment) -> None:
    # A card's payer may change: a payment method is replaced or removed later. The chain's is evidence.
    is_card = payment.rail is Rail.CARD
    came = (payment.received, payment.transaction, None if is_card else payment.payer)
    stands = (booked.received, booked.transaction, None if is_card else booked.payer)
    if came != stands:
        raise _conflict(payment.reference, stands, came)


def _conflict(reference: str, stands: object, came: object) -> LedgerConflict:
    return LedgerConflict(f"{reference} is booked as {stands}, but came again as {came}: compare the evidence of both")
