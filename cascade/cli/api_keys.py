"""Keys for programs: made, listed and revoked by the operator."""

from __future__ import annotations

import click

from cascade.cli.terminal import Record, as_json_option, console, opened, show
from cascade.db import api_keys as store
from cascade.db.api_keys import Scope


@click.group()
def keys() -> None:
    """Manage keys for programs, each with what it may do."""


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice([*Scope]), multiple=True, required=True, help="What it may do.")
def add(name: str, scopes: tuple[str, ...]) -> None:
    """Make a key. It is shown once; what it reports is stored under NAME."""
    with opened() as app, app.database.transaction() as connection:
        key = store.add(connection, name, [Scope(scope) for scope in scopes])
    console.print(key)
    console.print("Keep it now: only its hash is stored, and it is never shown again.")


@keys.command("list")
@as_json_option
def list_keys(as_json: bool) -> None:
    """List every key there is or was."""
    with opened() as app, app.database.transaction() as connection:
        known = store.all_keys(connection)
    records: list[Record] = [
        {
            "name": key.name,
            "scopes": list(key.scopes),
            "made_at": key.created_at,
            "last_used": f"{key.used_at:%Y-%m-%dT%H:00Z}" if key.used_at else None,
            "revoked_at": key.revoked_at,
        }
        for key in known
    ]
    show(records, "There are no keys.", as_json=as_json)


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Let nobody in with this key any more; what it has reported stays."""
    with opened() as app, app.database.transaction() as connection:
        store.revoke(connection, name)
    console.print(f"{name} is revoked.")
