"""Money that waits for an operator: payments that fit no order, and refunds on chain with what fits none."""

from __future__ import annotations

import click

from cascade.cli.terminal import Record, as_json_option, opened, show
from cascade.db import payments, reversals
from cascade.db.payments import BookedPayment, Dust
from cascade.db.reversals import BookedRefund
from cascade.domain.payments import Rail
from cascade.domain.reversals import UNMATCHED_NEXT_STEP

_NO_REFUNDS = "Nothing was refunded on chain."


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most payments to show.")
@as_json_option
def suspense(limit: int, as_json: bool) -> None:
    """List money that fits no order, and refunds that fit no payment, with the next step for each."""
    with opened() as app, app.database.transaction() as connection:
        waiting = payments.in_suspense(connection, limit=limit)
        unmatched = reversals.refunds(connection, unmatched=True, limit=limit)
        dust = payments.dust_in_suspense(connection)
    records = [_waiting_payment(payment) for payment in waiting] + [_waiting_refund(refund) for refund in unmatched]
    records += [_dust(each) for each in dust]
    show(records, "Nothing is in suspense.", as_json=as_json)


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most refunds to show.")
@as_json_option
def refunds(limit: int, as_json: bool) -> None:
    """List refunds from the Safe that are booked, the newest first: to be compared with the Safe's own list."""
    with opened() as app, app.database.transaction() as connection:
        booked = reversals.refunds(connection, limit=limit)
    show([_refund(each) for each in booked], _NO_REFUNDS, as_json=as_json)


def _waiting_payment(payment: BookedPayment) -> Record:
    """Return a payment in suspense; on chain with the router's own order id, under which its money can be refunded."""
    on_chain = payment.rail is Rail.CHAIN and payment.order_key
    return {
        "reference": payment.reference,
        "kind": "payment",
        "amount": payment.received,
        "account": payment.payer,
        "transaction": payment.transaction,
        "order_id": payment.order_id,
        "on_chain_order_id": f"0x{on_chain.hex()}" if on_chain else None,
        "reason": payment.reason,
        "next_step": payment.next_step,
        "recorded_at": payment.recorded_at,
    }


def _dust(dust: Dust) -> Record:
    """Return all payments of an asset that are below a cent, as one."""
    return {
        "reference": f"{dust.payments} payments",
        "kind": "dust",
        "amount": dust.total,
        "account": None,
        "transaction": None,
        "order_id": None,
        "on_chain_order_id": None,
        "reason": "below a cent each",
        "next_step": "Nothing is to be done.",
        "recorded_at": None,
    }


def _waiting_refund(each: BookedRefund) -> Record:
    return {
        "reference": each.refund.reference,
        "kind": "refund",
        "amount": each.unmatched,
        "account": each.refund.recipient,
        "transaction": each.refund.transaction,
        "order_id": each.order_id,
        "on_chain_order_id": f"0x{each.refund.order_key.hex()}",
        "reason": "fits no payment",
        "next_step": UNMATCHED_NEXT_STEP,
        "recorded_at": each.recorded_at,
    }


def _refund(each: BookedRefund) -> Record:
    return {
        "reference": each.refund.reference,
        "amount": each.refund.amount,
        "fits_no_payment": each.unmatched if each.unmatched.units else None,
        "recipient": each.refund.recipient,
        "transaction": each.refund.transaction,
        "order_id": each.order_id,
        "on_chain_order_id": f"0x{each.refund.order_key.hex()}",
        "recorded_at": each.recorded_at,
        "next_step": UNMATCHED_NEXT_STEP if each.unmatched.units else None,
    }
