"""★ The waist: a confirmed payment becomes ducats, exactly once, in the caller's database transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cascade.domain import ledger as books
from cascade.domain import reversals as money_back
from cascade.domain.money import DUCAT, USD, Asset, Money
from cascade.domain.orders import Order
from cascade.domain.payments import ConfirmedPayment, Outcome, Rail, judge
from cascade.domain.reversals import Reversal, Standing
from cascade.errors import LedgerConflict, NotFound
from cascade.store import card, ledger, orders, payments, reversals
from cascade.store.database import Conn
from cascade.store.payments import BookedPayment


@dataclass(frozen=True, slots=True)
class _Expected:
    """The order that a payment is for: what it asks for on the payment's rail, and until when by our own word."""

    order: Order
    amounts: Mapping[Asset, Money]
    until: datetime | None = None


def fulfill(connection: Conn, payment: ConfirmedPayment) -> Outcome:
    """Book a payment: ducats for its order, or suspense with a reason. The same payment again is a no-op.

    Args:
        connection: everything is written in its transaction, together with the evidence of the caller.
        payment: money that has arrived for good.

    Returns:
        What became of it, now or before.

    Raises:
        LedgerConflict: the reference was booked with another amount, payer or transaction.
    """
    expected = _lock_order(connection, payment)
    # Looked up under the order's lock: of two processes with the same payment the second sees the first's booking.
    booked = payments.by_reference(connection, payment.reference)
    if booked is not None:
        _check_same(payment, booked)
        return booked.outcome
    order = expected.order if expected else None
    reason = judge(
        payment.received,
        expected.amounts if expected else None,
        already_paid=order is not None and payments.is_fulfilled(connection, order.id),
        late=_is_late(payment, expected),
    )
    if order is not None and reason is None:
        posted = ledger.post(connection, books.sale(payment, order.citizen_id, order.quote))
    else:
        posted = ledger.post(connection, books.suspense(payment))
    if posted:  # else a stranger's payment, which no order's lock serialises, was booked a moment ago
        payments.insert(connection, payment, order.id if order else None, reason)
    return Outcome.SUSPENSE if reason else Outcome.FULFILLED


def reverse(connection: Conn, reversal: Reversal) -> bool:
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
    payment = payments.lock(connection, reversal.payment)
    if payment is None:
        raise NotFound(f"{reversal.reference}: no payment {reversal.payment} is booked")
    booked = reversals.by_reference(connection, reversal.reference)
    if booked is not None:
        came, stands = ((r.payment, r.kind, r.amount) for r in (reversal, booked))
        if came != stands:
            raise _conflict(reversal.reference, stands, came)
        return False
    ledger.post(connection, money_back.transaction(reversal, _standing(connection, payment, reversal)))
    reversals.insert(connection, reversal)
    return True


def _lock_order(connection: Conn, payment: ConfirmedPayment) -> _Expected | None:
    if payment.rail is Rail.CHAIN:
        found = orders.lock_by_on_chain_order_id(connection, payment.order_key)
        return _Expected(found[0], {found[1].token: found[1].amount}) if found else None
    order = orders.lock(connection, payment.order_key.decode())
    if order is None:
        return None
    until = card.payable_until(connection, order.id) or order.expires_at
    return _Expected(order, {USD: order.quote.price}, until)


def _is_late(payment: ConfirmedPayment, expected: _Expected | None) -> bool:
    if expected is None or expected.until is None or payment.paid_at is None:
        return False
    return payment.paid_at > expected.until


def _standing(connection: Conn, payment: BookedPayment, reversal: Reversal) -> Standing | None:
    """How the ducats of a payment's order stand; nobody moves them until the transaction ends. None in suspense."""
    if payment.order_id is None or payment.reason is not None:
        return None
    order = orders.by_id(connection, payment.order_id)
    holder, debtor = books.citizen(order.citizen_id), books.receivable(order.id)
    # All that will be posted to, at once: whoever holds one account and waits for another can be waited for in turn.
    held = ledger.hold(
        connection,
        [
            *((account, DUCAT.code) for account in (holder, debtor, books.DUCATS_SOLD, books.DUCATS_BONUS)),
            *((account, reversal.amount.asset.code) for account in (books.SALES, *reversal.landed)),
        ],
    )
    owed = Money(DUCAT, -held[debtor, DUCAT.code].units)
    return Standing(order, payment.received, payment.returned, held[holder, DUCAT.code], owed)


def _check_same(payment: ConfirmedPayment, booked: BookedPayment) -> None:
    came = (payment.received, payment.payer, payment.transaction)
    stands = (booked.received, booked.payer, booked.transaction)
    if came != stands:
        raise _conflict(payment.reference, stands, came)


def _conflict(reference: str, stands: object, came: object) -> LedgerConflict:
    return LedgerConflict(f"{reference} is booked as {stands}, but came again as {came}: compare the evidence of both")
