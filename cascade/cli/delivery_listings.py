"""Share the commands of credits and of the outbox: listings with their filters, replays, and the tries of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from cascade.cli.terminal import Record, as_json_option, opened, show
from cascade.db.database import Conn
from cascade.db.delivery_queue import D, DeliveryQueue, Filter
from cascade.domain.delivery_states import DeliveryEntry, Problem

_OPTIONS = (
    click.option("--id", "number", type=int, help="Only the one with this number."),
    click.option("--citizen", help="Only about this citizen."),
    click.option("--order", help="Only of this order."),
    click.option("--problem", type=click.Choice([str(problem) for problem in Problem]), help="Only with this problem."),
    click.option("--waiting", is_flag=True, help="Show what is tried again by itself instead of what is parked."),
    click.option("--replay", is_flag=True, help="Try those that are parked and match once more."),
    click.option("--limit", default=100, show_default=True, help="Most to show."),
    as_json_option,
)
number_argument = click.argument("number", metavar="ID", type=int)
"""The number of a delivery, as its listing shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The deliveries that an operator wants to see, or to have tried once more."""

    number: int | None
    citizen: str | None
    order: str | None
    problem: str | None
    waiting: bool
    replay: bool
    limit: int
    as_json: bool
    destination: str | None = None

    def show(self, queue: DeliveryQueue[D], replay: Callable[[Conn, Filter], int], nouns: str) -> None:
        """Replay what is parked and matches, if asked to, and print what waits or is parked.

        Args:
            queue: of which the deliveries are.
            replay: tries parked ones of it once more.
            nouns: what its deliveries are called.
        """
        wanted = Filter(self.number, self.destination, self.citizen, self.order, self.problem)
        with opened() as app, app.database.transaction() as connection:
            if self.replay:
                click.echo(f"{replay(connection, wanted)} {nouns} are tried once more.", err=self.as_json)
            entries = (queue.waiting if self.waiting else queue.parked)(connection, wanted, limit=self.limit)
        nothing = "Nothing waits." if self.waiting else "Nothing is parked."
        show([_record(entry, waiting=self.waiting) for entry in entries], nothing, as_json=self.as_json)


def listing_options(command: Callable[[Listing], None]) -> Callable[..., None]:
    """Give a group of commands the options of a listing, which it prints when no command of it is named."""

    @wraps(command)
    def listing(**options: Any) -> None:
        if click.get_current_context().invoked_subcommand is None:
            command(Listing(**options))

    for option in reversed(_OPTIONS):
        listing = option(listing)
    return listing


def log_command(queue: DeliveryQueue[D], noun: str) -> click.Command:
    """Return the command that lists the tries of a delivery."""

    @click.command("log", help=f"List the tries of a {noun}, the newest first.")
    @number_argument
    @as_json_option
    def log(number: int, as_json: bool) -> None:
        with opened() as app, app.database.transaction() as connection:
            attempts = queue.attempts(connection, number)
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

    return log


def _record(entry: DeliveryEntry, *, waiting: bool) -> Record:
    return {
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
