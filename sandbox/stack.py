"""The whole system in one folder: PostgreSQL, a local Polygon, the router, doubles of Stripe and Venice, and on them
what an operator starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

from sandbox.child_process import Program
from sandbox.deploy import PAYER, RELAYER, ROOT, deploy_router
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.postgres import EmbeddedPostgres
from sandbox.signal_reporter import Observatory
from sandbox.stripe import StripeDouble
from sandbox.venice import VeniceDouble
from sandbox.wallet import Wallet

BLOCK_SECONDS = 2.0
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_PURSE_UNITS = 1_000_000 * 10**6
"""What the payer's wallet starts with, of each token: a million dollars."""


class StackFailed(Exception):
    """The system did not start, or a part of it ended by itself. The message says where to look."""


@dataclass(frozen=True)
class Parts:
    """What runs inside."""

    postgres: EmbeddedPostgres
    polygon: LocalPolygon
    cascade: subprocess.Popen[bytes]


class Stack:
    """A running system; everything it knows lies in `home` and is found again at the next start."""

    def __init__(self, home: Path, parts: Parts, endpoints: dict[str, Any], undo: contextlib.ExitStack) -> None:
        self.home = home
        self.endpoints = endpoints
        self._parts = parts
        self._undo = undo

    @classmethod
    def start(cls, home: Path, port: int, rpc_port: int = 0, stripe_port: int = 0, venice_port: int = 0) -> Self:
        """Starts all parts and returns when the API answers. `rpc_port`, `stripe_port`, `venice_port` 0 take free ones.

        A double of Stripe is among them unless STRIPE_SECRET_KEY is set: then it is Stripe itself. So it is with Venice
        and CASCADE_VENICE_URL; the double's city has an observatory that reports of it.

        Raises StackFailed when a part does not start.
        """
        home = home.resolve()
        home.mkdir(parents=True, exist_ok=True)
        (home / "endpoints.json").unlink(missing_ok=True)
        with contextlib.ExitStack() as undo:
            postgres = EmbeddedPostgres.start(home / "postgres")
            undo.callback(postgres.stop)
            polygon = LocalPolygon.start(home / "polygon", rpc_port, BLOCK_SECONDS)
            undo.callback(polygon.stop)
            record = home / "deployments" / "137.json"
            deploy_router(polygon, record)
            _fill_purse(polygon)
            stripe = None
            if "STRIPE_SECRET_KEY" not in os.environ:
                stripe = undo.enter_context(_start_stripe(home, port, stripe_port))
            environment = _environment(home, port, polygon, record, _database(postgres), stripe)
            if "CASCADE_VENICE_URL" not in os.environ:
                venice = undo.enter_context(VeniceDouble.start(home / "venice", venice_port, open_city=True))
                environment["CASCADE_VENICE_URL"] = venice.url
                environment["CASCADE_SELLER_HOME_URL"] = os.environ.get("CASCADE_SELLER_HOME_URL", venice.url)
            cascade = _start_cascade(home, environment)
            undo.callback(_stop_cascade, cascade)
            endpoints = _await_up(home, cascade)
            if "CASCADE_VENICE_URL" not in os.environ:
                undo.enter_context(Observatory.start(home, endpoints["api"], environment))
            return cls(home, Parts(postgres, polygon, cascade), endpoints, undo.pop_all())

    @property
    def polygon(self) -> LocalPolygon:
        """The chain inside."""
        return self._parts.polygon

    def check(self) -> None:
        """Raises StackFailed when a part has ended by itself."""
        parts = {
            "cascade": self._parts.cascade.poll() is None,
            "postgres": self._parts.postgres.running,
            "polygon": self._parts.polygon.running,
        }
        for name, running in parts.items():
            if not running:
                raise StackFailed(f"{name} ended by itself; the last words are in {self.home}")

    def stop(self) -> None:
        """Stops everything in order: first who writes, then what is written to."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _database(postgres: EmbeddedPostgres) -> str:
    with contextlib.suppress(psycopg.errors.DuplicateDatabase):
        postgres.create_database("cascade")
    return postgres.url_of("cascade")


def _fill_purse(polygon: LocalPolygon) -> None:
    wallet = Wallet(polygon.rpc_url, polygon.keys[PAYER])
    try:
        for symbol, token in TOKENS.items():
            missing = _PURSE_UNITS - wallet.balance(token.address)
            if missing > _PURSE_UNITS // 2:
                polygon.mint(symbol, wallet.address, missing)
    finally:
        wallet.close()


def _start_stripe(home: Path, port: int, stripe_port: int) -> StripeDouble:
    return StripeDouble.start(home / "stripe", stripe_port, f"http://127.0.0.1:{port}/api/payments/webhook")


def _environment(
    home: Path, port: int, polygon: LocalPolygon, record: Path, database_url: str, stripe: StripeDouble | None
) -> dict[str, str]:
    """What an operator sets, and nothing else."""
    environment = {
        "DATABASE_URL": database_url,
        "CASCADE_HOME": str(home),
        "CASCADE_PORT": str(port),
        "CASCADE_RPC_URL": polygon.rpc_url,
        "CASCADE_DEPLOYMENT": str(record),
        "CASCADE_PUBLIC_BALANCES": "true",
        "CASCADE_TEST_PAYER_KEY": polygon.keys[PAYER],
        "CASCADE_RELAYER_KEY": polygon.keys[RELAYER],
    }
    if stripe is not None:
        environment |= {
            "STRIPE_SECRET_KEY": stripe.secret_key,
            "STRIPE_WEBHOOK_SECRET": stripe.webhook_secret,
            "CASCADE_STRIPE_API_BASE": stripe.url,
        }
    return environment


def _start_cascade(home: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-m", "cascade", "up")
    with open(home / "cascade.log", "ab") as output:
        program = Program(command, output, signal.SIGTERM, cwd=ROOT, environment=os.environ | environment)
        return program.start()


def _stop_cascade(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _await_up(home: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The endpoints that the system writes when it is up; then waits until it says of itself that all is well."""
    written, deadline = home / "endpoints.json", time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if written.exists():
            endpoints: dict[str, Any] = json.loads(written.read_text())
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{endpoints['api']}/health", timeout=5, trust_env=False).status_code == 200:
                    return endpoints
        time.sleep(0.1)
    why = "was not up in time" if process.poll() is None else f"ended with code {process.returncode}"
    log = (home / "cascade.log").read_text(errors="replace")[-2000:]
    raise StackFailed(f"cascade up {why}; {home / 'cascade.log'} ends with:\n{log}")
