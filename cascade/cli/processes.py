"""Run the API and the workers, together or each alone."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click

from cascade import bootstrap, readiness
from cascade.app import App
from cascade.cli.http_server import Application, Server, listen, server_config
from cascade.cli.terminal import console, opened
from cascade.db.database import WORKERS
from cascade.db.database import migrate as apply_migrations
from cascade.errors import CascadeError, SettingsError
from cascade.workers.heartbeat import Heartbeat
from cascade.workers.supervisor import supervise


@click.command()
@click.pass_obj
def up(application: Application) -> None:
    """Migrate, then run the API and the workers until Ctrl-C."""
    with opened(WORKERS, migrates=True) as app:
        sockets = listen(app.settings)
        _migrate(app)
        readiness.require(app)
        endpoints = app.settings.home / "endpoints.json"
        server = Server(server_config(application, app.settings), sockets, lambda: _write_endpoints(app, endpoints))
        crew = WorkerGroup(app, server.end)  # the API must not go on selling alone
        _hear_signals(lambda: None)  # the server raises again what stopped it; we still have to stop the workers
        crew.start("indexer", _index)
        if app.card is not None:
            if app.card.stripe.test_mode:
                logging.getLogger(__name__).warning("Stripe is in test mode: ducats are credited for test cards")
            crew.start("card", _book_cards)
        crew.start("credit sender", _send_credits)
        crew.start("dispatcher", _dispatch)
        if app.settings.has_relayer:
            crew.start("relayer", _relay)
            crew.start("watcher", _watch)
        _start_rate(app, crew)
        try:
            server.run()
        finally:
            endpoints.unlink(missing_ok=True)
            crew.stop()
        if crew.exc is not None:
            raise crew.exc  # told again, so that it is the last line
        if not server.started:
            raise CascadeError("the API did not start; its last message above says why")


@click.command()
@click.pass_obj
def api(application: Application) -> None:
    """Run only the API; many may run side by side."""
    with opened() as app:
        server = Server(server_config(application, app.settings), listen(app.settings))
        server.run()
        if not server.started:
            raise CascadeError("the API did not start; its last message above says why")


@click.command()
def indexer() -> None:
    """Run only the indexer; a second one waits and takes over when the first is gone."""
    with opened(WORKERS) as app:
        _work_alone(app, "indexer", _index)


@click.command()
@click.option("--since", default=0, show_default=True, metavar="BLOCK", help="The first block to read again.")
def rescan(since: int) -> None:
    """Read the router's final blocks once more and book what a node hid; set CASCADE_RPC_URL to another provider."""
    with opened() as app:
        node = bootstrap.node(app.settings)
        try:
            found = bootstrap.indexer(app, node).rescan(since)
        finally:
            node.close()
    for reference in found:
        console.print(f"{reference} was not booked, and is now.")
    console.print(f"{len(found)} were found." if found else "Nothing was hidden.")


@click.command()
def relayer() -> None:
    """Run only the relayer, which sends what payers signed; a second one waits and takes over."""
    with opened(WORKERS) as app:
        if not app.settings.has_relayer:
            raise SettingsError("CASCADE_RELAYER_KEYSTORE or CASCADE_RELAYER_KEY: is required to send for others")
        _work_alone(app, "relayer", _relay)


@click.command()
def watcher() -> None:
    """Run only the watcher of deposit addresses; a second one waits and takes over."""
    with opened(WORKERS) as app:
        _work_alone(app, "watcher", _watch)


@click.command()
def card() -> None:
    """Run only the worker that books what Stripe tells; many may run side by side."""
    with opened(WORKERS) as app:
        if app.card is None:
            raise SettingsError("STRIPE_SECRET_KEY: is required to book payments by card")
        _work_alone(app, "card", _book_cards)


@click.command("credit-sender")
def credit_sender() -> None:
    """Run only the sender of credits to Venice; many may run side by side."""
    with opened(WORKERS) as app:
        _work_alone(app, "credit sender", _send_credits)


@click.command()
def dispatcher() -> None:
    """Run only the dispatcher, which delivers messages, letters and webhooks; many may run side by side."""
    with opened(WORKERS) as app:
        _work_alone(app, "dispatcher", _dispatch)


@click.command("rate-keeper")
def rate_keeper() -> None:
    """Run only what moves the rate: asking Venice, and a tick every few minutes; many may run side by side."""
    stop = threading.Event()
    _hear_signals(stop.set)
    with opened(WORKERS) as app:
        crew = WorkerGroup(app, stop.set)
        _start_rate(app, crew)
        stop.wait()
        crew.stop()
        if crew.exc is not None:
            raise crew.exc


@click.command()
def migrate() -> None:
    """Bring the database to this release's shape."""
    with opened(migrates=True) as app:
        _migrate(app)


def _hear_signals(act: Callable[[], None]) -> None:
    """Act on Ctrl-C and SIGTERM instead of dying of them."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        act()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _migrate(app: App) -> None:
    for name in apply_migrations(app.database):
        logging.getLogger(__name__).info("applied migration %s", name)


def _work_alone(app: App, name: str, run: _Work) -> None:
    """Run one worker in this process until a signal stops it."""
    stop = threading.Event()
    _hear_signals(stop.set)
    supervise(lambda stop, heartbeat: run(app, stop, heartbeat), stop, Heartbeat(name, app.database))


def _index(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    node = bootstrap.node(app.settings)
    try:
        bootstrap.indexer(app, node).run(stop, heartbeat)
    finally:
        node.close()


def _relay(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    node = bootstrap.node(app.settings)
    try:
        worker = bootstrap.relayer(app, node)
        if worker is not None:
            worker.run(stop, heartbeat)
    finally:
        node.close()


def _watch(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    node = bootstrap.node(app.settings)
    try:
        bootstrap.watcher(app, node).run(stop, heartbeat)
    finally:
        node.close()


def _book_cards(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    worker = bootstrap.card_worker(app)
    if worker is not None:
        worker.run(stop, heartbeat)


def _send_credits(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    bootstrap.credit_sender(app).run(stop, heartbeat)


def _dispatch(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    bootstrap.dispatcher(app).run(stop, heartbeat)


def _observe(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    worker = bootstrap.observer(app)
    if worker is not None:
        worker.run(stop, heartbeat)


def _keep_rate(app: App, stop: threading.Event, heartbeat: Heartbeat) -> None:
    bootstrap.rate_keeper(app).run(stop, heartbeat)


def _start_rate(app: App, crew: WorkerGroup) -> None:
    if app.settings.venice_url is not None:
        crew.start("observer", _observe)
    crew.start("rate keeper", _keep_rate)


_Work = Callable[[App, threading.Event, Heartbeat], None]
"""Makes a worker and runs it until told to stop."""


class WorkerGroup:
    """Workers, each in a thread and started again whatever ends it; only a start that fails for good ends all.

    Args:
        app: what they work on.
        on_end: called when one of them cannot be started.
    """

    def __init__(self, app: App, on_end: Callable[[], None]) -> None:
        self._cascade = app
        self._on_end = on_end
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.exc: CascadeError | None = None

    def start(self, name: str, run: _Work) -> None:
        """Run until told to stop."""
        heartbeat = Heartbeat(name, self._cascade.database)

        def work() -> None:
            try:
                supervise(lambda stop, heart: run(self._cascade, stop, heart), self._stop, heartbeat)
            except CascadeError as exc:
                logging.getLogger(__name__).error("%s", exc)
                self.exc = self.exc or exc
                self._on_end()

        thread = threading.Thread(target=work, name=name)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Tell all to stop, and wait for them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def _write_endpoints(app: App, path: Path) -> None:
    """Tell local tools where everything is; only the owner may read it, since the database URL may hold a password."""
    deployment, configured = app.deployment, app.settings
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
    if configured.venice_url is not None:
        content["venice"] = configured.venice_url
    if configured.test_payer_key is not None:
        content["funded_key"] = configured.test_payer_key.get_secret_value()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    temporary.replace(path)
