"""★ The waist: a confirmed payment becomes ducats, exactly once, in the caller's database transaction."""

from __future__ import annotations

from cascade.domain import ledger as books
from cascade.domain.orders import Order
from cascade.domain.payments import ConfirmedPayment, Outcome, judge
from cascade.errors import LedgerConflict, NotFound
from cascade.store import ledger, orders, payments
from cascade.store.database import Conn
from cascade.store.payments import BookedPayment


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
    found = orders.lock_by_on_chain_order_id(connection, payment.order_key)
    # Looked up under the order's lock: of two processes with the same payment the second sees the first's booking.
    booked = payments.by_reference(connection, payment.reference)
    if booked is not None:
        _check_same(payment, booked)
        return booked.outcome
    order, expected = (None, None) if found is None else (found[0], {found[1].token: found[1].amount})
    already_paid = order is not None and payments.is_fulfilled(connection, order.id)
    reason = judge(payment.received, expected, already_paid=already_paid)
    if order is not None and reason is None:
        posted = ledger.post(connection, books.sale(payment, order.citizen_id, order.quote))
    else:
        posted = ledger.post(connection, books.suspense(payment))
    if posted:  # else a stranger's payment, which no order's lock serialises, was booked a moment ago
        payments.insert(connection, payment, _id(order), reason)
    return Outcome.SUSPENSE if reason else Outcome.FULFILLED


def reverse(connection: Conn, reference: str) -> bool:
    """Take a booked payment back as a whole: the mirror image of everything that was posted for it.

    The citizen may have spent the ducats already; the balance then falls below zero, and the reversal says why.

    Args:
        connection: the reversal is written in its transaction.
        reference: of the payment.

    Returns:
        True when it was reversed now; False when it had been reversed before.

    Raises:
        NotFound: no such payment is booked.
    """
    if payments.by_reference(connection, reference) is None:
        raise NotFound(f"no payment {reference} is booked")
    return ledger.post(connection, books.reversal(ledger.transaction(connection, reference)))


def _check_same(payment: ConfirmedPayment, booked: BookedPayment) -> None:
    came = (payment.received, payment.payer, payment.transaction)
    stands = (booked.received, booked.payer, booked.transaction)
    if came != stands:
        raise LedgerConflict(
            f"{payment.reference} is booked as {stands}, but came again as {came}: compare the evidence of both"
        )


def _id(order: Order | None) -> str | None:
    return order.id if order else None
