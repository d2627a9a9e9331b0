"""What operators look at, and mend: money that fits nothing, debts, disputes, and how far all is booked."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from cascade import bootstrap
from cascade.cli.terminal import Record, as_json_option, console, opened, show, show_json
from cascade.db import balances, checkpoints, heartbeats, payments, relay_transactions, reversals
from cascade.db import card_attempts as card_store
from cascade.db import outbox as outbox_store
from cascade.db import stripe_inbox as inbox_store
from cascade.db.checkpoints import StreamHealth
from cascade.db.heartbeats import WorkerHealth
from cascade.db.payments import BookedPayment, Dust
from cascade.db.relay_transactions import SenderHealth
from cascade.db.reversals import BookedRefund
from cascade.db.stripe_inbox import InboxHealth
from cascade.domain.payments import Rail
from cascade.domain.reversals import UNMATCHED_NEXT_STEP
from cascade.errors import NotFound
from cascade.services import pricing

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


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most cases to show.")
@as_json_option
def disputes(limit: int, as_json: bool) -> None:
    """List disputes, inquiries and fraud warnings that can still be answered, the most urgent first."""
    with opened() as app, app.database.transaction() as connection:
        cases = card_store.open_cases(connection, limit=limit)
    records: list[Record] = [
        {
            "case": case.case_id,
            "kind": case.kind,
            "payment": case.payment,
            "amount": case.amount,
            "reason": case.reason,
            "answer_by": case.respond_by,
            "next_step": case.kind.next_step,
        }
        for case in cases
    ]
    show(records, "Nothing waits for an answer.", as_json=as_json)


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most debts to show.")
@as_json_option
def receivables(limit: int, as_json: bool) -> None:
    """List ducats that were spent before the money for them went back, the largest debt first."""
    with opened() as app, app.database.transaction() as connection:
        owed = reversals.receivables(connection, limit=limit)
    records: list[Record] = [
        {"order_id": debt.order_id, "citizen_id": debt.citizen_id, "owed": debt.owed} for debt in owed
    ]
    show(records, "Nobody owes any ducats.", as_json=as_json)


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most events to show.")
@click.option("--retry", is_flag=True, help="Try all of them again now.")
@click.option("--ignore", metavar="EVENT", help="Give one up, when you have seen to it in Stripe's Dashboard.")
@as_json_option
def inbox(limit: int, retry: bool, ignore: str | None, as_json: bool) -> None:
    """List events of Stripe's that wait to be looked at, and why the last attempt failed."""
    with opened() as app, app.database.transaction() as connection:
        if ignore is not None and not inbox_store.ignore(connection, ignore):
            raise NotFound(f"no event {ignore} waits in the inbox")
        if retry:
            inbox_store.retry(connection)
        events = inbox_store.waiting(connection, limit=limit)
    records: list[Record] = [
        {
            "event": event.event_id,
            "type": event.type,
            "intent": event.intent_id,
            "received_at": event.received_at,
            "attempts": event.attempts,
            "next_attempt_at": event.due_at,
            "error": event.error,
        }
        for event in events
    ]
    show(records, "Nothing waits.", as_json=as_json)


@click.command()
@as_json_option
def status(as_json: bool) -> None:
    """Show how far each router's and Stripe's payments are booked, and why something stands still; the rate."""
    with opened() as app, app.database.transaction() as connection:
        streams = [_stream(stream) for stream in checkpoints.health(connection)]
        stripe = inbox_store.health(connection) if app.card is not None else None
        destinations = outbox_store.health(connection)
        rate = pricing.quotation(connection, app.formula)
        senders = relay_transactions.health(connection, app.deployment.chain.chain_id)
        workers = heartbeats.health(connection)
    if as_json:
        ticked = {
            "usd_per_ducat": str(rate.rate),
            "tick_at": rate.tick and rate.tick.at,
            "late_s": rate.overdue_seconds,
        }
        show_json(
            {
                "streams": streams,
                "stripe": stripe and asdict(stripe),
                "rate": ticked,
                "hot_keys": [{**asdict(sender), "balance_wei": _text(sender.balance_wei)} for sender in senders],
                "destinations": [asdict(destination) for destination in destinations],
                "workers": [asdict(worker) for worker in workers],
            }
        )
        return
    show(streams, "No router has been followed yet.")
    for name in sorted({str(stream["stream"]) for stream in streams} - set(bootstrap.followed_streams(app))):
        console.print(f"{name} is not what this configuration follows: see `cascade streams`.")
    _say_stripe(stripe)
    since = f"since {rate.tick.at:%Y-%m-%d %H:%M:%S} UTC" if rate.tick else "before the first tick"
    late = f"; the next tick is {rate.overdue_seconds} s late" if rate.overdue_seconds else ""
    console.print(f"Rate: {rate.rate} USD per ducat {since}{late}.")
    _say_senders(senders)
    for destination in destinations:
        console.print(
            f"To {destination.destination}: {destination.waiting} deliveries wait, the oldest"
            f" {destination.oldest_seconds} s; {destination.parked} are parked, see `cascade outbox`."
        )
    _say_workers(workers)


def _say_senders(senders: list[SenderHealth]) -> None:
    for sender in senders:
        pol = "an unknown amount of" if sender.balance_wei is None else f"{sender.balance_wei / 10**18:.3f}"
        alarm = f" Alarm: {sender.alarm}." if sender.alarm else ""
        console.print(
            f"Hot key {sender.address}: {pol} POL; {sender.waiting} payments wait, the oldest"
            f" {sender.oldest_seconds} s.{alarm}"
        )


def _say_workers(workers: list[WorkerHealth]) -> None:
    for worker in workers:
        if worker.fault is not None:
            console.print(f"The {worker.worker} has been failing for {worker.failing_seconds} s: {worker.detail}.")


def _stream(stream: StreamHealth) -> Record:
    return {
        "stream": stream.stream,
        "height": stream.height,
        "behind_blocks": stream.behind_blocks,
        "last_final_block_at": stream.finalized_at,
        "led": stream.led,
        "alarm": stream.alarm,
    }


def _say_stripe(stripe: InboxHealth | None) -> None:
    if stripe is None:
        return
    checked = "never" if stripe.checked_seconds is None else f"{stripe.checked_seconds} s ago"
    console.print(f"Stripe: {stripe.waiting} events wait, the oldest {stripe.oldest_seconds} s; list read {checked}.")
    if stripe.error:
        console.print(f"Stripe: an event cannot be booked, see `cascade inbox`: {stripe.error}")


def _text(number: int | None) -> str | None:
    """Return a number as text: JSON's readers lose digits of large ones."""
    return None if number is None else str(number)


@click.command()
@as_json_option
def audit(as_json: bool) -> None:
    """Add up the whole ledger; exit 1 when a sum is not zero or a kept balance has drifted."""
    with opened() as app, app.database.transaction() as connection:
        totals, drifts = balances.totals(connection), balances.drifts(connection)
    if as_json:
        sums = {asset: str(units) for asset, units in totals.items()}
        show_json(
            {
                "sums_in_units": sums,
                "drifts": [{"account": one.account, "kept": one.kept, "posted": one.posted} for one in drifts],
            }
        )
        sys.exit(1 if drifts or any(totals.values()) else 0)
    for drift in drifts:
        console.print(f"{drift.account} {drift.kept.asset.code}: kept {drift.kept}, posted {drift.posted}")
    for asset, units in totals.items():
        console.print(f"{asset}: all postings sum to {units}")
    if drifts or any(totals.values()):
        sys.exit(1)
