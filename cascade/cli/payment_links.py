"""Payment links on the command line: made, listed and deactivated by the operator."""

from __future__ import annotations

from io import StringIO

import click
import segno

from cascade.cli.terminal import Record, as_json_option, console, opened, show
from cascade.db import payment_links as store
from cascade.domain.payment_links import MOST_MINUTES, address, in_metamask
from cascade.services.checkout import PurchaseRequest

_MINUTES_A_DAY = 24 * 60


@click.group(invoke_without_command=True)
@click.option("--package", help="What is paid for: a package's id.")
@click.option("--usd", help="Or a fixed amount of US dollars, such as 25.01.")
@click.option("--citizen", help="Who gets the ducats; without it, who opens the link is asked.")
@click.option("--many", is_flag=True, help="May be paid more than once.")
@click.option("--days", type=click.IntRange(1, MOST_MINUTES // _MINUTES_A_DAY), help="Opens orders for so long.")
@click.pass_context
def link(
    context: click.Context, package: str | None, usd: str | None, citizen: str | None, many: bool, days: int | None
) -> None:
    """Make a payment link, or list and deactivate those there are."""
    if context.invoked_subcommand is not None:
        if any((package, usd, citizen, many, days)):
            raise click.UsageError(f"{context.invoked_subcommand} takes none of the options that make a link.")
        return
    if package is None and usd is None:
        raise click.UsageError("Say what the link is for: --package or --usd.")
    with opened() as app:
        app.checkout.validate_purchase(PurchaseRequest(citizen_id=citizen))
        with app.database.transaction() as connection:
            made = app.links.create(
                connection,
                package=package,
                usd_amount=usd,
                citizen_id=citizen,
                single_use=not many,
                minutes=days and days * _MINUTES_A_DAY,
            )
        url = address(app.settings.base_url, made.token)
    for line in (url, in_metamask(url), f"{made.id} manages it."):
        console.print(line)
    drawn = StringIO()
    segno.make(url, error="m").terminal(drawn, compact=True)
    click.echo(drawn.getvalue(), nl=False)


@link.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, help="How many, the newest first.")
@as_json_option
def list_links(limit: int, as_json: bool) -> None:
    """List links, the newest first."""
    with opened() as app, app.database.transaction() as connection:
        found = [(use, app.links.state(connection, use)) for use in store.newest(connection, limit=limit)]
        base_url = app.settings.base_url
    records: list[Record] = [
        {
            "id": use.link.id,
            "for": use.link.package or f"{use.link.usd_amount} USD",
            "citizen_id": use.link.citizen_id,
            "use": "once" if use.link.single_use else "many",
            "state": state,
            "orders": use.opened,
            "paid": use.paid,
            "made_at": use.link.created_at,
            "until": use.link.expires_at,
            "address": address(base_url, use.link.token),
        }
        for use, state in found
    ]
    show(records, "There are no payment links.", as_json=as_json)


@link.command()
@click.argument("link_id")
def deactivate(link_id: str) -> None:
    """Let a link open nothing any more; orders that it opened stay payable."""
    with opened() as app, app.database.transaction() as connection:
        store.deactivate(connection, link_id)
    console.print(f"{link_id} opens nothing any more.")
