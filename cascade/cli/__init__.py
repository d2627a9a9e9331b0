"""``cascade``: what an operator runs."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

import click
import psycopg

from cascade import __version__, settings
from cascade.cli import (
    api_keys,
    card_disputes,
    chain_streams,
    check,
    credits,
    ledger,
    outbox,
    payment_links,
    processes,
    rates,
    status,
    suspense,
)
from cascade.cli.http_server import Application
from cascade.db.connection_errors import await_database
from cascade.db.database import OUTAGES
from cascade.errors import CascadeError


@click.group()
@click.version_option(__version__, prog_name="cascade")
def cli() -> None:
    """Sell ducats for cards and stablecoins. Settings are environment variables; .env.example lists them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log the RPC URL, and with it a key
    logging.getLogger("stripe").setLevel(logging.WARNING)  # it would log what payers are told


for command in (
    check.check,
    *(processes.up, processes.api, processes.indexer, processes.card, processes.rate_keeper),
    *(processes.credit_sender, processes.dispatcher),
    *(
        processes.migrate,
        processes.relayer,
        processes.watcher,
        processes.rescan,
        suspense.suspense,
        suspense.refunds,
        card_disputes.disputes,
        ledger.receivables,
        card_disputes.inbox,
        status.status,
    ),
    *(
        ledger.audit,
        credits.credits,
        outbox.outbox,
        outbox.webhooks,
        rates.rate,
        api_keys.keys,
        payment_links.link,
        chain_streams.streams,
    ),
):
    cli.add_command(command)


def main(application: Application) -> None:
    """Run the command line.

    What can be expected to go wrong ends with its cause as the last line, and exit code 1.

    Args:
        application: what `up` and `api` serve.
    """
    try:
        cli(standalone_mode=False, obj=application)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CascadeError as error:
        _end(str(error))
    except OUTAGES as error:
        _end(_why_not(error))
    except psycopg.errors.UndefinedTable:
        _end("the database has not the schema of this release: run `cascade migrate`")


def _end(cause: str) -> NoReturn:
    click.echo(f"cascade: {cause}", err=True)
    sys.exit(1)


def _why_not(error: psycopg.Error) -> str:
    """Return why the database did not answer; ask it once more, since its pool of connections does not tell."""
    try:
        await_database(settings.load().database_url.get_secret_value(), 0)
    except CascadeError as cause:
        return str(cause)
    return f"the database did not answer ({type(error).__name__}), and does again: start once more"
