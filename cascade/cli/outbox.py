"""Outgoing deliveries: those that wait or are parked, and the platform's webhook endpoints."""

from __future__ import annotations

import click

from cascade.adapters.webhooks import check_url, new_endpoint_id, new_secret
from cascade.cli.terminal import Record, as_json_option, console, opened, show
from cascade.db import outbox as store
from cascade.db import webhook_endpoints
from cascade.db.database import Conn
from cascade.db.delivery_queue import Filter
from cascade.db.webhook_endpoints import Endpoint
from cascade.domain.deliveries import Problem
from cascade.domain.events import EventType
from cascade.errors import NotFound
from cascade.services.credits import confirm_credit

_ENDPOINT = click.argument("endpoint_id", metavar="ENDPOINT")


@click.group(invoke_without_command=True)
@click.option("--id", "number", type=int, help="Only this delivery.")
@click.option("--destination", help="Only to venice, message, email or webhook:ENDPOINT.")
@click.option("--citizen", help="Only about this citizen.")
@click.option("--order", help="Only of this order.")
@click.option("--problem", type=click.Choice([str(problem) for problem in Problem]), help="Only with this problem.")
@click.option("--waiting", is_flag=True, help="Show what is tried again by itself instead of what is parked.")
@click.option("--replay", is_flag=True, help="Try the parked deliveries that match once more.")
@click.option("--limit", default=100, show_default=True, help="Most deliveries to show.")
@as_json_option
@click.pass_context
def outbox(
    context: click.Context,
    number: int | None,
    destination: str | None,
    citizen: str | None,
    order: str | None,
    problem: str | None,
    waiting: bool,
    replay: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List deliveries that wait for an operator, with the next step for each."""
    if context.invoked_subcommand is not None:
        return
    wanted = Filter(number, destination, citizen, order, problem)
    with opened() as app, app.database.transaction() as connection:
        if replay:
            click.echo(f"{store.replay(connection, wanted)} deliveries are tried once more.", err=as_json)
        entries = (store.QUEUE.waiting if waiting else store.QUEUE.parked)(connection, wanted, limit=limit)
    records: list[Record] = [
        {
            "id": entry.id,
            "to": entry.destination,
            "citizen_id": entry.citizen_id,
            "order_id": entry.order_id,
            "reference": entry.reference,
            "tries": entry.attempts,
            "next_try_at": entry.due_at if waiting else None,
            "problem": entry.problem,
            "error": entry.error,
            "next_step": entry.problem.next_step if entry.problem else None,
        }
        for entry in entries
    ]
    show(records, "Nothing waits." if waiting else "Nothing is parked.", as_json=as_json)


@outbox.command()
@click.argument("number", metavar="ID", type=int)
@as_json_option
def log(number: int, as_json: bool) -> None:
    """List the tries of a delivery, the newest first."""
    with opened() as app, app.database.transaction() as connection:
        attempts = store.QUEUE.attempts(connection, number)
    records: list[Record] = [
        {
            "try": attempt["number"],
            "ended_at": attempt["ended_at"],
            "seconds": f"{attempt['seconds']:.1f}",
            "error": attempt["error"] or "delivered",
        }
        for attempt in attempts
    ]
    show(records, "It was never tried.", as_json=as_json)


@outbox.command()
@click.argument("number", metavar="ID", type=int)
def settle(number: int) -> None:
    """Take a parked credit as delivered, when you have seen in Venice that the citizen has the ducats."""
    with opened() as app, app.database.transaction() as connection:
        delivery = store.QUEUE.take_parked(connection, number)
        if delivery is None or delivery.destination != "venice":
            raise NotFound(f"no credit {number} is parked")
        if app.settings.venice_url is not None and delivery.handed is None:
            # They are in our ledger again: settled, they would be in both, and a refund would take the wrong ones.
            raise NotFound(f"the ducats of credit {number} surely did not reach Venice: replay it instead")
        confirm_credit(connection, delivery)
    console.print(f"Delivery {number} is settled, and the citizen is told.")


@outbox.command()
@click.argument("number", metavar="ID", type=int)
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
