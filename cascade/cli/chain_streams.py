"""List how far each stream of the chain is read, and drop one that is followed no more."""

from __future__ import annotations

import click

from cascade import bootstrap
from cascade.cli.terminal import as_json_option, console, opened, show
from cascade.db import checkpoints
from cascade.errors import InvalidInput, NotFound


@click.group(invoke_without_command=True)
@as_json_option
@click.pass_context
def streams(context: click.Context, as_json: bool) -> None:
    """Show how far each stream is read, and which of them this configuration follows."""
    if context.invoked_subcommand is not None:
        return
    with opened() as app, app.database.transaction() as connection:
        found, followed = checkpoints.health(connection), bootstrap.followed_streams(app)
    records = [
        {
            "stream": stream.stream,
            "height": stream.height,
            "behind_blocks": stream.behind_blocks,
            "last_final_block_at": stream.finalized_at,
            "configured": stream.stream in followed,
            "led": stream.led,
            "alarm": stream.alarm,
        }
        for stream in found
    ]
    show(records, "No router has been followed yet.", as_json=as_json)


@streams.command()
@click.argument("name")
def retire(name: str) -> None:
    """Forget a stream that is followed no more, e.g. of a router that CASCADE_DEPLOYMENT named by mistake.

    What is booked stays. If it is configured again, it is read from its beginning, and nothing is booked twice.
    """
    with opened() as app, app.database.transaction() as connection:
        if name in bootstrap.followed_streams(app):
            raise InvalidInput(
                "name",
                f"{name} is what this configuration follows: set CASCADE_DEPLOYMENT to the other router's record first",
            )
        known = [stream.stream for stream in checkpoints.health(connection)]
        if name not in known:
            raise NotFound(f"there is no stream {name}: the streams are {', '.join(known) or 'none'}")
        if not checkpoints.retire(connection, name):
            raise InvalidInput("name", f"{name} is followed by a running process: stop that one first")
    console.print(f"{name} is retired.")
