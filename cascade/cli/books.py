"""What operators look at, and mend: money that fits nothing, debts, disputes, and how far all is booked."""

from __future__ import annotations

import sys

import click
from rich.table import Table

from cascade import exchange
from cascade.cli.terminal import console, opened, table_of
from cascade.domain.payments import Rail
from cascade.domain.reversals import UNMATCHED_NEXT_STEP
from cascade.errors import NotFound
from cascade.store import balances, cursors, payments, relay_transactions, reversals
from cascade.store import card as card_store
from cascade.store import inbox as inbox_store
from cascade.store import outbox as outbox_store
from cascade.store.payments import BookedPayment
from cascade.store.reversals import BookedRefund


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most payments to show.")
def suspense(limit: int) -> None:
    """Money that fits no order, and refunds that fit no payment, with the next step for each."""
    with opened() as cascade, cascade.database.transaction() as connection:
        waiting = payments.in_suspense(connection, limit=limit)
        unmatched = reversals.refunds(connection, unmatched=True, limit=limit)
    table = table_of("payment", "amount", "payer", "transaction", "order", "reason", "next step")
    for payment in waiting:
        table.add_row(
            payment.reference,
            f"{payment.received} {payment.received.asset.code}",
            payment.payer,
            payment.transaction,
            _order_of(payment),
            payment.reason or "",
            payment.next_step,
        )
    console.print(table if waiting else "Nothing is in suspense.")
    if unmatched:
        console.print(_refund_table(unmatched))


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most refunds to show.")
def refunds(limit: int) -> None:
    """Refunds from the Safe that are booked, the newest first: to be compared with the Safe's own list."""
    with opened() as cascade, cascade.database.transaction() as connection:
        booked = reversals.refunds(connection, limit=limit)
    console.print(_refund_table(booked) if booked else "Nothing was refunded on chain.")


def _order_of(payment: BookedPayment) -> str:
    """An order's own id, and on chain also the router's, under which its money can be refunded."""
    known = payment.order_id or "unknown"
    return f"{known} 0x{payment.order_key.hex()}" if payment.rail is Rail.CHAIN and payment.order_key else known


def _refund_table(booked: list[BookedRefund]) -> Table:
    table = table_of("refund", "amount", "fits no payment", "recipient", "transaction", "order", "next step")
    for each in booked:
        refund, rest = each.refund, each.unmatched
        table.add_row(
            refund.reference,
            f"{refund.amount} {refund.amount.asset.code}",
            f"{rest} {rest.asset.code}" if rest.units else "",
            refund.recipient,
            refund.transaction,
            f"{each.order_id or 'unknown'} 0x{refund.order_key.hex()}",
            UNMATCHED_NEXT_STEP if rest.units else "",
        )
    return table


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most cases to show.")
def disputes(limit: int) -> None:
    """Disputes, inquiries and fraud warnings that can still be answered, the most urgent first."""
    with opened() as cascade, cascade.database.transaction() as connection:
        cases = card_store.open_cases(connection, limit=limit)
    table = table_of("case", "kind", "payment", "amount", "reason", "answer by", "next step")
    for case in cases:
        table.add_row(
            case.case_id,
            case.kind,
            case.payment,
            f"{case.amount} {case.amount.asset.code}" if case.amount else "",
            case.reason,
            case.respond_by.isoformat() if case.respond_by else "",
            case.kind.next_step,
        )
    console.print(table if cases else "Nothing waits for an answer.")


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most debts to show.")
def receivables(limit: int) -> None:
    """Ducats that were spent before the money for them went back, the largest debt first."""
    with opened() as cascade, cascade.database.transaction() as connection:
        owed = reversals.receivables(connection, limit=limit)
    table = table_of("citizen", "order", "ducats owed")
    for debt in owed:
        table.add_row(debt.citizen_id, debt.order_id, debt.owed.display())
    console.print(table if owed else "Nobody owes any ducats.")


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most events to show.")
@click.option("--retry", is_flag=True, help="Try all of them again now.")
@click.option("--ignore", metavar="EVENT", help="Give one up, when you have seen to it in Stripe's Dashboard.")
def inbox(limit: int, retry: bool, ignore: str | None) -> None:
    """Events of Stripe's that wait to be looked at, and why the last attempt failed."""
    with opened() as cascade, cascade.database.transaction() as connection:
        if ignore is not None and not inbox_store.ignore(connection, ignore):
            raise NotFound(f"no event {ignore} waits in the inbox")
        if retry:
            inbox_store.retry(connection)
        events = inbox_store.waiting(connection, limit=limit)
    table = table_of("event", "type", "intent", "received", "attempts", "next attempt", "error")
    for event in events:
        times = (
            event.received_at.isoformat(" ", "seconds"),
            str(event.attempts),
            event.due_at.isoformat(" ", "seconds"),
        )
        table.add_row(event.event_id, event.type, event.intent_id, *times, event.error or "")
    console.print(table if events else "Nothing waits.")


@click.command()
def status() -> None:
    """How far each router's and Stripe's payments are booked, and why something stands still; the rate."""
    with opened() as cascade, cascade.database.transaction() as connection:
        streams = cursors.health(connection)
        stripe = inbox_store.health(connection)
        destinations = outbox_store.health(connection)
        rate = exchange.quotation(connection, cascade.formula)
        senders = relay_transactions.health(connection, cascade.deployment.chain.chain_id)
    table = table_of("stream", "height", "behind", "last final block", "led", "alarm")
    for stream in streams:
        table.add_row(
            stream.stream,
            str(stream.height),
            str(stream.behind_blocks),
            stream.finalized_at.isoformat(),
            "yes" if stream.led else "no",
            stream.alarm or "",
        )
    console.print(table if streams else "No router has been followed yet.")
    if cascade.card is not None:
        checked = "never" if stripe.checked_seconds is None else f"{stripe.checked_seconds} s ago"
        console.print(
            f"Stripe: {stripe.waiting} events wait, the oldest {stripe.oldest_seconds} s; list read {checked}."
        )
        if stripe.error:
            console.print(f"Stripe: an event cannot be booked, see `cascade inbox`: {stripe.error}")
    since = f"since {rate.tick.at:%Y-%m-%d %H:%M:%S} UTC" if rate.tick else "before the first tick"
    late = f"; the next tick is {rate.overdue_seconds} s late" if rate.overdue_seconds else ""
    console.print(f"Rate: {rate.rate} USD per ducat {since}{late}.")
    for sender in senders:
        pol = "an unknown amount of" if sender.balance_wei is None else f"{sender.balance_wei / 10**18:.3f}"
        alarm = f" Alarm: {sender.alarm}." if sender.alarm else ""
        console.print(
            f"Hot key {sender.address}: {pol} POL; {sender.waiting} payments wait, the oldest"
            f" {sender.oldest_seconds} s.{alarm}"
        )
    for destination in destinations:
        console.print(
            f"To {destination.destination}: {destination.waiting} deliveries wait, the oldest"
            f" {destination.oldest_seconds} s; {destination.parked} are parked, see `cascade outbox`."
        )


@click.command()
def audit() -> None:
    """Add up the whole ledger; exit 1 when a sum is not zero or a kept balance has drifted."""
    with opened() as cascade, cascade.database.transaction() as connection:
        totals, drifts = balances.totals(connection), balances.drifts(connection)
    for drift in drifts:
        console.print(f"{drift.account} {drift.kept.asset.code}: kept {drift.kept}, posted {drift.posted}")
    for asset, units in totals.items():
        console.print(f"{asset}: all postings sum to {units}")
    if drifts or any(totals.values()):
        sys.exit(1)
