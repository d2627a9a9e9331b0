"""Keys for programs: made, listed and revoked by the operator."""

from __future__ import annotations

import click

from cascade.cli.terminal import console, opened, table_of
from cascade.store import keys as store
from cascade.store.keys import Scope


@click.group()
def keys() -> None:
    """Keys for programs, each with what it may do."""


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice([*Scope]), multiple=True, required=True, help="What it may do.")
def add(name: str, scopes: tuple[str, ...]) -> None:
    """Make a key. It is shown once; what it reports is stored under NAME."""
    with opened() as cascade, cascade.database.transaction() as connection:
        key = store.add(connection, name, [Scope(scope) for scope in scopes])
    console.print(key, soft_wrap=True, highlight=False)
    console.print("Keep it now: only its hash is stored, and it is never shown again.")


@keys.command("list")
def list_keys() -> None:
    """Every key there is or was."""
    with opened() as cascade, cascade.database.transaction() as connection:
        known = store.all_keys(connection)
    table = table_of("name", "scopes", "made", "last used", "revoked")
    for key in known:
        table.add_row(
            key.name,
            ", ".join(key.scopes),
            f"{key.created_at:%Y-%m-%d %H:%M}",
            f"{key.used_at:%Y-%m-%d %H:00}" if key.used_at else "never",
            f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
        )
    console.print(table if known else "There are no keys.")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Let nobody in with this key any more; what it has reported stays."""
    with opened() as cascade, cascade.database.transaction() as connection:
        store.revoke(connection, name)
    console.print(f"{name} is revoked.")
