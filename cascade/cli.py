"""``cascade``: what an operator runs."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import psycopg
import uvicorn
from psycopg_pool import PoolTimeout
from rich.console import Console
from rich.table import Table

from cascade import __version__, bootstrap, settings
from cascade.bootstrap import Cascade
from cascade.errors import CascadeError, NotFound, SettingsError
from cascade.store import balances, cursors, payments, reversals
from cascade.store import card as card_store
from cascade.store import inbox as inbox_store
from cascade.store.database import migrate as apply_migrations

console = Console()


@click.group()
@click.version_option(__version__, prog_name="cascade")
def cli() -> None:
    """Sells ducats for cards and stablecoins. Settings are environment variables; .env.example lists them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log the RPC URL, and with it a key
    logging.getLogger("stripe").setLevel(logging.WARNING)  # it would log what payers are told


@cli.command()
def up() -> None:
    """Migrate, then run the API and the workers until Ctrl-C."""
    with _opened() as cascade:
        _migrate(cascade)
        endpoints = cascade.settings.home / "endpoints.json"
        server = _Server(_server_config(cascade), lambda: _write_endpoints(cascade, endpoints))
        crew = _Crew(lambda: setattr(server, "should_exit", True))  # the API must not go on selling alone
        _hear_signals(lambda: None)  # the server raises again what stopped it; we still have to stop the workers
        crew.start("indexer", lambda stop: _index(cascade, stop))
        card_worker = bootstrap.card_worker(cascade)
        if cascade.card is not None and cascade.card.stripe.test_mode:
            logging.getLogger(__name__).warning("Stripe is in test mode: ducats are credited for test cards")
        if card_worker is not None:
            crew.start("card", card_worker.run)
        try:
            server.run()
        finally:
            endpoints.unlink(missing_ok=True)
            crew.stop()
        if crew.failed or not server.started:
            sys.exit(1)


@cli.command()
def api() -> None:
    """Run only the API; many may run side by side."""
    with _opened() as cascade:
        server = uvicorn.Server(_server_config(cascade))
        server.run()
        if not server.started:
            sys.exit(1)


@cli.command()
def indexer() -> None:
    """Run only the indexer; a second one waits and takes over when the first is gone."""
    stop = threading.Event()
    _hear_signals(stop.set)
    with _opened() as cascade:
        _index(cascade, stop)


@cli.command()
def card() -> None:
    """Run only the worker that books what Stripe tells; many may run side by side."""
    stop = threading.Event()
    _hear_signals(stop.set)
    with _opened() as cascade:
        worker = bootstrap.card_worker(cascade)
        if worker is None:
            raise SettingsError("STRIPE_SECRET_KEY: is required to book payments by card")
        worker.run(stop)


@cli.command()
def migrate() -> None:
    """Bring the database to this release's shape."""
    with _opened() as cascade:
        _migrate(cascade)


@cli.command()
@click.option("--limit", default=100, show_default=True, help="Most payments to show.")
def suspense(limit: int) -> None:
    """Money that fits no order, with the next step for each."""
    with _opened() as cascade, cascade.database.transaction() as connection:
        waiting = payments.in_suspense(connection, limit=limit)
    table = _table("payment", "amount", "payer", "transaction", "order", "reason", "next step")
    for payment in waiting:
        reason = payment.reason
        table.add_row(
            payment.reference,
            f"{payment.received} {payment.received.asset.code}",
            payment.payer,
            payment.transaction,
            payment.order_id or "unknown",
            reason or "",
            reason.next_step(payment.rail) if reason else "",
        )
    console.print(table if waiting else "Nothing is in suspense.")


@cli.command()
@click.option("--limit", default=100, show_default=True, help="Most cases to show.")
def disputes(limit: int) -> None:
    """Disputes, inquiries and fraud warnings that can still be answered, the most urgent first."""
    with _opened() as cascade, cascade.database.transaction() as connection:
        cases = card_store.open_cases(connection, limit=limit)
    table = _table("case", "kind", "payment", "amount", "reason", "answer by", "next step")
    for case in cases:
        table.add_row(
            case.case_id,
            case.kind,
            case.payment,
            f"{case.amount} {case.amount.asset.code}" if case.amount else "",
            case.reason,
            case.respond_by.isoformat() if case.respond_by else "",
            case.kind.next_step,
        )
    console.print(table if cases else "Nothing waits for an answer.")


@cli.command()
@click.option("--limit", default=100, show_default=True, help="Most debts to show.")
def receivables(limit: int) -> None:
    """Ducats that were spent before the money for them went back, the largest debt first."""
    with _opened() as cascade, cascade.database.transaction() as connection:
        owed = reversals.receivables(connection, limit=limit)
    table = _table("citizen", "order", "ducats owed")
    for debt in owed:
        table.add_row(debt.citizen_id, debt.order_id, debt.owed.display())
    console.print(table if owed else "Nobody owes any ducats.")


@cli.command()
@click.option("--limit", default=100, show_default=True, help="Most events to show.")
@click.option("--retry", is_flag=True, help="Try all of them again now.")
@click.option("--ignore", metavar="EVENT", help="Give one up, when you have seen to it in Stripe's Dashboard.")
def inbox(limit: int, retry: bool, ignore: str | None) -> None:
    """Events of Stripe's that wait to be looked at, and why the last attempt failed."""
    with _opened() as cascade, cascade.database.transaction() as connection:
        if ignore is not None and not inbox_store.ignore(connection, ignore):
            raise NotFound(f"no event {ignore} waits in the inbox")
        if retry:
            inbox_store.retry(connection)
        events = inbox_store.waiting(connection, limit=limit)
    table = _table("event", "type", "intent", "received", "attempts", "next attempt", "error")
    for event in events:
        times = (
            event.received_at.isoformat(" ", "seconds"),
            str(event.attempts),
            event.due_at.isoformat(" ", "seconds"),
        )
        table.add_row(event.event_id, event.type, event.intent_id, *times, event.error or "")
    console.print(table if events else "Nothing waits.")


@cli.command()
def status() -> None:
    """How far each router's and Stripe's payments are booked, and why something stands still."""
    with _opened() as cascade, cascade.database.transaction() as connection:
        streams = cursors.health(connection)
        stripe = inbox_store.health(connection)
    table = _table("stream", "height", "behind", "last final block", "led", "alarm")
    for stream in streams:
        table.add_row(
            stream.stream,
            str(stream.height),
            str(stream.behind_blocks),
            stream.finalized_at.isoformat(),
            "yes" if stream.led else "no",
            stream.alarm or "",
        )
    console.print(table if streams else "No router has been followed yet.")
    if cascade.card is not None:
        checked = "never" if stripe.checked_seconds is None else f"{stripe.checked_seconds} s ago"
        console.print(
            f"Stripe: {stripe.waiting} events wait, the oldest {stripe.oldest_seconds} s; list read {checked}."
        )
        if stripe.error:
            console.print(f"Stripe: an event cannot be booked, see `cascade inbox`: {stripe.error}")


@cli.command()
def audit() -> None:
    """Add up the whole ledger; exit 1 when a sum is not zero or a kept balance has drifted."""
    with _opened() as cascade, cascade.database.transaction() as connection:
        totals, drifts = balances.totals(connection), balances.drifts(connection)
    for drift in drifts:
        console.print(f"{drift.account} {drift.kept.asset.code}: kept {drift.kept}, posted {drift.posted}")
    for asset, units in totals.items():
        console.print(f"{asset}: all postings sum to {units}")
    if drifts or any(totals.values()):
        sys.exit(1)


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


def _hear_signals(act: Callable[[], None]) -> None:
    """Act on Ctrl-C and SIGTERM instead of dying of them."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        act()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


@contextmanager
def _opened() -> Iterator[Cascade]:
    cascade = bootstrap.assemble(settings.load())
    try:
        cascade.database.open()
        yield cascade
    finally:
        cascade.database.close()


def _table(*columns: str) -> Table:
    """A table that never cuts anything off: people copy from it."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _migrate(cascade: Cascade) -> None:
    for name in apply_migrations(cascade.database):
        logging.getLogger(__name__).info("applied migration %s", name)


def _index(cascade: Cascade, stop: threading.Event) -> None:
    node = bootstrap.node(cascade.settings)
    try:
        bootstrap.indexer(cascade, node).run(stop)
    finally:
        node.close()


class _Crew:
    """Workers, each in a thread; when one ends, whatever ended it, the others are told."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failed = False

    def start(self, name: str, run: Callable[[threading.Event], None]) -> None:
        """Run until told to stop."""

        def work() -> None:
            try:
                run(self._stop)
            except CascadeError as fault:
                logging.getLogger(__name__).error("%s", fault)
                self.failed = True
            except BaseException:
                self.failed = True
                raise
            finally:
                self._on_end()

        thread = threading.Thread(target=work, name=name)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Tell all to stop, and wait for them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


class _Server(uvicorn.Server):
    """A server that says when it is up."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        if self.started:
            self._announce()


def _server_config(cascade: Cascade) -> uvicorn.Config:
    sys.path.insert(0, os.getcwd())  # `api` is an application beside the library, not an installed package
    if importlib.util.find_spec("api") is None:
        raise SettingsError(f"there is no api/ in {os.getcwd()}: start cascade in the folder of its repository")
    return uvicorn.Config(
        "api.main:app",
        host=cascade.settings.host,
        port=cascade.settings.port,
        proxy_headers=True,
        forwarded_allow_ips=cascade.settings.forwarded_allow_ips,
        access_log=False,  # paths hold payment links
        log_config=None,
        timeout_graceful_shutdown=5,
    )


def _write_endpoints(cascade: Cascade, path: Path) -> None:
    """Tell local tools where everything is; only the owner may read it, since the database URL may hold a password."""
    deployment, configured = cascade.deployment, cascade.settings
    content = {
        "api": configured.base_url,
        "rpc_url": configured.rpc_url.get_secret_value(),
        "database_url": configured.database_url.get_secret_value(),
        "chain_id": deployment.chain.chain_id,
        "router": deployment.router,
        "safe": deployment.treasury,
        "partner": deployment.partner,
        "tokens": {asset.code: address for asset, address in deployment.chain.stablecoins.items()},
    }
    if configured.stripe_api_base is not None:
        content["stripe_double"] = configured.stripe_api_base
    if configured.test_payer_key is not None:
        content["funded_key"] = configured.test_payer_key.get_secret_value()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    temporary.replace(path)
