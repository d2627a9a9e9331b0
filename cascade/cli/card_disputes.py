"""List what waits for an operator on the card rail: disputes to answer, and events of Stripe that cannot be booked."""

from __future__ import annotations

import click

from cascade.cli.terminal import Record, as_json_option, opened, show
from cascade.db import card_attempts as card_store
from cascade.db import stripe_inbox as inbox_store
from cascade.errors import NotFound


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
