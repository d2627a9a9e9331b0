"""Credit ducats in Venice: debited from our ledger before Venice is asked, confirmed or given back afterwards."""

from __future__ import annotations

from dataclasses import replace

from cascade.db import balances, credits, ledger, orders, payments, reversals
from cascade.db.database import Conn
from cascade.domain import postings
from cascade.domain.credits import Credit
from cascade.domain.delivery_states import DeliveryState, Problem
from cascade.domain.money import DUCAT, Money
from cascade.domain.order_events import EventType
from cascade.domain.orders import Order
from cascade.domain.payments import Outcome
from cascade.errors import DeliveryError
from cascade.services.order_events import record


def debit_credit(connection: Conn, credit: Credit) -> Credit | None:
    """Take the ducats of a credit out of our ledger, before Venice is asked to credit them.

    From then on a refund finds them gone: what Venice may hold cannot be taken back here.

    Args:
        connection: everything is written in its transaction.
        credit: as it was claimed.

    Returns:
        The credit with the ducats that it carries: what the citizen still holds of what is due. None when there is
        nothing to send: another try has overtaken this one, or all of it was taken back meanwhile.
    """
    ledger.lock(connection)
    order, held = _hold(connection, credit)
    if held is None or held.handed is not None:
        return held
    ducats = min(held.ducats, balances.citizen_ducats(connection, held.citizen_id))
    if not ducats.units:
        _conclude(connection, order, held, None)
        return None
    ledger.post(connection, postings.handover(held, ducats))
    credits.note_handed(connection, held, ducats)
    return replace(held, handed=ducats)


def confirm_credit(connection: Conn, credit: Credit) -> bool:
    """Note that a citizen has the ducats of a credit, and only now tell of it.

    Args:
        connection: everything is written in its transaction.
        credit: as it was claimed. What was handed over for it is in Venice; if nothing was, our ledger is the purse,
            and what was booked is there, less what was taken back meanwhile.

    Returns:
        False when this try was overtaken: then nothing was changed.
    """
    order, held = _hold(connection, credit)
    if held is None:
        return False
    _conclude(connection, order, held, held.handed or _left_of(connection, held))
    return True


def fail_credit(connection: Conn, credit: Credit, error: DeliveryError, pause_seconds: float | None) -> bool:
    """Note that a credit did not arrive. Ducats that Venice surely did not move are the citizen's with us again.

    Args:
        connection: everything is written in its transaction.
        credit: as it was claimed.
        error: why.
        pause_seconds: when it is tried again; None when it waits for an operator.

    Returns:
        False when this try was overtaken: then nothing was changed.
    """
    ledger.lock(connection)
    order, held = _hold(connection, credit)
    if held is None:
        return False
    problem = Problem(error.problem) if error.problem else None
    if held.handed is not None and problem is not None and problem.is_certain:
        ledger.post(connection, postings.handback(held, held.handed))
        credits.note_handed(connection, held, None)
    if pause_seconds is not None:
        return credits.QUEUE.postpone(connection, held, pause_seconds, problem, str(error))
    credits.QUEUE.settle(connection, held, DeliveryState.PARKED, problem, str(error))
    record(connection, order, EventType.CREDIT_IN_REVIEW, held.reference, {"payment": held.event_data["payment"]})
    return True


def _hold(connection: Conn, credit: Credit) -> tuple[Order, Credit | None]:
    """Return a credit's order, and the credit as it stands, None when this try was overtaken.

    The order is locked before the row, as everywhere, against deadlocks.
    """
    order = orders.lock(connection, credit.order_id)
    assert order is not None  # noqa: S101 - the credit refers to it
    return order, credits.QUEUE.hold(connection, credit)


def _left_of(connection: Conn, credit: Credit) -> Money | None:
    """Return what the ledger holds of a credit, after what was taken back of its payment; None when nothing is left."""
    taken = sum(r.taken.units for r in reversals.of_payments(connection, [credit.reference]))
    left = credit.ducats.units - taken
    return Money(DUCAT, left) if left > 0 else None


def _conclude(connection: Conn, order: Order, credit: Credit, ducats: Money | None) -> None:
    """Settle a credit and record its event; without ducats, what is left of it."""
    credits.QUEUE.settle(connection, credit, DeliveryState.DELIVERED if ducats else DeliveryState.VOID)
    kind, key, data = credit.event_type, credit.event_key, credit.event_data
    if ducats is not None:
        record(connection, order, kind, key, {**data, "ducats_credited": ducats.plain})
        return
    payment = payments.by_reference(connection, credit.reference)
    if payment is None:  # the credit was of a reversal: ducats that came again
        record(connection, order, kind, key, data)
    elif payment.outcome is not Outcome.REVERSED:
        # Another order's refund has taken them, and of that the citizen was told.
        record(connection, order, kind, key, {**data, "ducats_credited": "0"}, notify=False)
