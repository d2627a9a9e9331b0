"""``cascade``: what an operator runs."""

from __future__ import annotations

import logging
import sys

import click
import psycopg
from psycopg_pool import PoolTimeout

from cascade import __version__
from cascade.cli import books, deliveries, keys, links, rates, running, streams
from cascade.errors import CascadeError


@click.group()
@click.version_option(__version__, prog_name="cascade")
def cli() -> None:
    """Sells ducats for cards and stablecoins. Settings are environment variables; .env.example lists them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log the RPC URL, and with it a key
    logging.getLogger("stripe").setLevel(logging.WARNING)  # it would log what payers are told


for command in (
    *(running.up, running.api, running.indexer, running.card, running.dispatcher, running.rate_keeper),
    *(
        running.migrate,
        running.relayer,
        running.watcher,
        running.rescan,
        books.suspense,
        books.refunds,
        books.disputes,
        books.receivables,
        books.inbox,
        books.status,
    ),
    *(books.audit, deliveries.outbox, deliveries.webhooks, rates.rate, keys.keys, links.link, streams.streams),
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; what can be expected to go wrong ends with one sentence and exit code 1."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as fault:
        fault.show()
        sys.exit(fault.exit_code)
    except CascadeError as fault:
        click.echo(f"cascade: {fault}", err=True)
        sys.exit(1)
    except (psycopg.OperationalError, PoolTimeout):
        click.echo(
            "cascade: DATABASE_URL: the database does not answer: is it running, and is the URL right?", err=True
        )
        sys.exit(1)
