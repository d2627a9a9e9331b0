"""``cascade status``: how far everything is booked, and why something stands still."""

from __future__ import annotations

from dataclasses import asdict

import click

from cascade import bootstrap
from cascade.cli.terminal import Record, as_json_option, console, opened, show, show_json
from cascade.db import checkpoints, credits, heartbeats, relay_transactions
from cascade.db import outbox as outbox_store
from cascade.db import stripe_inbox as inbox_store
from cascade.db.checkpoints import StreamHealth
from cascade.db.delivery_queue import DestinationHealth
from cascade.db.heartbeats import WorkerHealth
from cascade.db.relay_transactions import SenderHealth
from cascade.db.stripe_inbox import InboxHealth
from cascade.domain.delivery_states import VENICE
from cascade.rate.quotation import current_quotation


@click.command()
@as_json_option
def status(as_json: bool) -> None:
    """Show how far each router's and Stripe's payments are booked, and why something stands still; the rate."""
    with opened() as app, app.database.transaction() as connection:
        streams = [_stream(stream) for stream in checkpoints.health(connection)]
        stripe = inbox_store.health(connection) if app.card is not None else None
        destinations = sorted([*credits.QUEUE.health(connection), *outbox_store.QUEUE.health(connection)])
        rate = current_quotation(connection, app.formula)
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
    _say_destinations(destinations)
    _say_workers(workers)


def _say_senders(senders: list[SenderHealth]) -> None:
    for sender in senders:
        pol = "an unknown amount of" if sender.balance_wei is None else f"{sender.balance_wei / 10**18:.3f}"
        alarm = f" Alarm: {sender.alarm}." if sender.alarm else ""
        console.print(
            f"Hot key {sender.address}: {pol} POL; {sender.waiting} payments wait, the oldest"
            f" {sender.oldest_seconds} s.{alarm}"
        )


def _say_destinations(destinations: list[DestinationHealth]) -> None:
    for destination in destinations:
        command = "credits" if destination.destination == VENICE else "outbox"
        console.print(
            f"To {destination.destination}: {destination.waiting} deliveries wait, the oldest"
            f" {destination.oldest_seconds} s; {destination.parked} are parked, see `cascade {command}`."
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
