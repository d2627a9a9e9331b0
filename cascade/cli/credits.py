"""Credits to Venice: those that wait or are parked, and what an operator has seen in Venice."""

from __future__ import annotations

import click

from cascade.cli.delivery_listings import Listing, listing_options, log_command, number_argument
from cascade.cli.terminal import console, opened
from cascade.db import credits as store
from cascade.errors import NotFound
from cascade.services.credits import confirm_credit


@click.group(invoke_without_command=True)
@listing_options
def credits(listing: Listing) -> None:
    """List credits to Venice that wait for an operator, with the next step for each."""
    listing.show(store.QUEUE, store.replay, "credits")


credits.add_command(log_command(store.QUEUE, "credit"))


@credits.command()
@number_argument
def settle(number: int) -> None:
    """Take a parked credit as confirmed, when you have seen in Venice that the citizen has the ducats."""
    with opened() as app, app.database.transaction() as connection:
        credit = store.QUEUE.take_parked(connection, number)
        if credit is None:
            raise NotFound(f"no credit {number} is parked: `cascade credits` lists those that are")
        if app.settings.venice_url is not None and credit.handed is None:
            # They are in our ledger again: settled, they would be in both, and a refund would take the wrong ones.
            raise NotFound(f"the ducats of credit {number} surely did not reach Venice: replay it instead")
        confirm_credit(connection, credit)
    console.print(f"Credit {number} is settled, and the citizen is told.")
