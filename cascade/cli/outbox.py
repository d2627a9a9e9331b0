"""The outbox: deliveries that wait or are parked, and the platform's webhook endpoints."""

from __future__ import annotations

import click

from cascade.adapters.webhooks import check_url, new_endpoint_id, new_secret
from cascade.cli.delivery_listings import Listing, listing_options, log_command, number_argument
from cascade.cli.terminal import Record, as_json_option, console, opened, show
from cascade.db import outbox as store
from cascade.db import webhook_endpoints
from cascade.db.database import Conn
from cascade.db.webhook_endpoints import Endpoint
from cascade.domain.delivery_states import VENICE
from cascade.domain.order_events import EventType
from cascade.errors import InvalidInput, NotFound

_ENDPOINT = click.argument("endpoint_id", metavar="ENDPOINT")


@click.group(invoke_without_command=True)
@click.option("--destination", help="Only to message, email or webhook:ENDPOINT.")
@listing_options
def outbox(listing: Listing) -> None:
    """List messages, letters and webhooks that wait for an operator, with the next step for each."""
    if listing.destination == VENICE:
        raise InvalidInput("destination", "the outbox holds no credits: `cascade credits` lists and replays them")
    listing.show(store.QUEUE, store.QUEUE.replay, "deliveries")


outbox.add_command(log_command(store.QUEUE, "delivery"))


@outbox.command()
@number_argument
def redeliver(number: int) -> None:
    """Send a webhook once more that was delivered."""
    with opened() as app, app.database.transaction() as connection:
        if not store.redeliver(connection, number):
            raise NotFound(f"no delivered webhook has the number {number}")
    console.print(f"Delivery {number} is sent once more.")


@click.group()
def webhooks() -> None:
    """Manage the platform's endpoints, which hear of events."""


@webhooks.command("list")
@as_json_option
def list_endpoints(as_json: bool) -> None:
    """List all endpoints, and how they are."""
    with opened() as app, app.database.transaction() as connection:
        found = webhook_endpoints.all_of(connection)
    records: list[Record] = [
        {"endpoint": one.id, "url": one.url, "events": one.event_types or ["all"], "state": _state(one)}
        for one in found
    ]
    show(records, "There are no endpoints. `cascade webhooks add URL` adds one.", as_json=as_json)


@webhooks.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, type=click.Choice([str(kind) for kind in EventType]))
def add(url: str, events: tuple[str, ...]) -> None:
    """Add an endpoint for all events, or for those that --event names. Prints its secret, once."""
    endpoint_id, secret = new_endpoint_id(), new_secret()
    with opened() as app, app.database.transaction() as connection:
        checked = check_url(url, app.settings.webhooks_allow_private)
        webhook_endpoints.insert(connection, endpoint_id, checked, [EventType(kind) for kind in events], secret)
    console.print(f"{endpoint_id} hears of events from now on. It verifies them with this secret, shown only now:")
    console.print(secret)


@webhooks.command()
@_ENDPOINT
@click.option("--overlap-hours", default=24.0, show_default=True, help="How long the old secret signs as well.")
def rotate(endpoint_id: str, overlap_hours: float) -> None:
    """Give an endpoint a new secret, and print it, once."""
    secret = new_secret()
    with opened() as app, app.database.transaction() as connection:
        _known(connection, endpoint_id)
        webhook_endpoints.rotate(connection, endpoint_id, secret, overlap_hours * 3600)
    console.print(f"{endpoint_id} has a new secret; the old one signs too for {overlap_hours:g} hours:")
    console.print(secret)


@webhooks.command()
@_ENDPOINT
def enable(endpoint_id: str) -> None:
    """Let an endpoint hear of events again. What was kept for it waits in `cascade outbox` until it is replayed."""
    with opened() as app, app.database.transaction() as connection:
        _known(connection, endpoint_id)
        webhook_endpoints.set_enabled(connection, endpoint_id, True)
    console.print(
        f"{endpoint_id} is enabled. `cascade outbox --destination webhook:{endpoint_id} --replay` sends the rest."
    )


@webhooks.command()
@_ENDPOINT
def disable(endpoint_id: str) -> None:
    """Leave an endpoint alone. Events are kept for it."""
    with opened() as app, app.database.transaction() as connection:
        _known(connection, endpoint_id)
        webhook_endpoints.set_enabled(connection, endpoint_id, False, "by an operator")
    console.print(f"{endpoint_id} is disabled; events are kept for it.")


@webhooks.command()
@_ENDPOINT
def delete(endpoint_id: str) -> None:
    """Forget an endpoint, its secrets, and what was kept for it."""
    with opened() as app, app.database.transaction() as connection:
        _known(connection, endpoint_id)
        webhook_endpoints.delete(connection, endpoint_id)
    console.print(f"{endpoint_id} is deleted.")


def _known(connection: Conn, endpoint_id: str) -> None:
    if webhook_endpoints.by_id(connection, endpoint_id) is None:
        raise NotFound(f"there is no endpoint {endpoint_id}; `cascade webhooks list` shows all")


def _state(endpoint: Endpoint) -> str:
    if endpoint.disabled_at is not None:
        return f"disabled: {endpoint.disabled_why}"
    if endpoint.failing_since is not None:
        return f"failing since {endpoint.failing_since.isoformat(' ', 'minutes')}"
    return "well"
