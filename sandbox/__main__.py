"""`python -m sandbox run`, `env` and `demo`: the whole system on this machine, nothing else needed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
import httpx
from rich.console import Console

from sandbox import demo as purchases
from sandbox.deploy import ROOT, DeploymentFailed
from sandbox.polygon import AnvilFailed, ChainInUse, ChainUnreadable, NodeError, PackagesMissing
from sandbox.ports import is_free
from sandbox.postgres import DatabaseFailed, DatabaseInUse
from sandbox.stack import Stack, StackFailed

console = Console(highlight=False, soft_wrap=True)

_EXPECTED = (
    *(StackFailed, DeploymentFailed, purchases.DemoFailed, AnvilFailed, ChainInUse, ChainUnreadable, NodeError),
    *(PackagesMissing, DatabaseFailed, DatabaseInUse),
)


@click.group()
def cli() -> None:
    """The world in a box."""


@cli.command()
@click.option("--home", envvar="CASCADE_HOME", type=click.Path(path_type=Path), default=ROOT / ".cascade")
@click.option("--port", envvar="CASCADE_PORT", default=8000, help="CASCADE_PORT: where the API listens.")
@click.option("--rpc-port", envvar="CASCADE_SANDBOX_RPC_PORT", default=8545, help="CASCADE_SANDBOX_RPC_PORT")
@click.option("--stripe-port", envvar="CASCADE_SANDBOX_STRIPE_PORT", default=12111, help="CASCADE_SANDBOX_STRIPE_PORT")
@click.option("--venice-port", envvar="CASCADE_SANDBOX_VENICE_PORT", default=12112, help="CASCADE_SANDBOX_VENICE_PORT")
def run(home: Path, port: int, rpc_port: int, stripe_port: int, venice_port: int) -> None:
    """Start everything, print where the shop is, and go on until Ctrl-C."""
    ports = {
        "CASCADE_PORT": port,
        "CASCADE_SANDBOX_RPC_PORT": rpc_port,
        "CASCADE_SANDBOX_STRIPE_PORT": stripe_port,
        "CASCADE_SANDBOX_VENICE_PORT": venice_port,
    }
    for variable, number in ports.items():
        if not is_free(number):
            raise click.ClickException(f"{variable}: port {number} is taken; stop what listens there, or set another")
    with _until_interrupted() as interrupted:
        with console.status(
            "Starting PostgreSQL, a local Polygon, the router, doubles of Stripe and Venice, and Cascade ..."
        ):
            box = Stack.start(home, port, rpc_port, stripe_port, venice_port)
        with box:
            _introduce(box)
            while not interrupted.wait(1):
                box.check()
            console.print("Stopping ...")
    console.print("Stopped. Nothing is lost: `make run` goes on where this left off.")


@cli.command()
@click.option("--home", envvar="CASCADE_HOME", type=click.Path(path_type=Path), default=ROOT / ".cascade")
def env(home: Path) -> None:
    """Print what a shell has to export so that `cascade` means the system that runs here."""
    home = home.resolve()  # the shell may go elsewhere
    written = home / "endpoints.json"
    if not written.exists():
        raise click.ClickException(f"{written} is not there: nothing runs in {home}; start it with `make run`")
    endpoints = json.loads(written.read_text())
    variables = {
        "DATABASE_URL": endpoints["database_url"],
        "CASCADE_HOME": str(home),
        "CASCADE_RPC_URL": endpoints["rpc_url"],
        "CASCADE_DEPLOYMENT": str(home / "deployments" / "137.json"),
        "CASCADE_PUBLIC_URL": endpoints["api"],
    }
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@cli.command()
def demo() -> None:
    """Buy twice with real transactions and once by card, in a system of its own; exit 0 when all is well."""
    purchases.run(console)
    console.print("[bold green]All is well.[/]")


def _introduce(box: Stack) -> None:
    endpoints = box.endpoints
    people = {
        "The shop": f"{endpoints['api']}/pay",
        "An order of 50 dollars": _payment_link(endpoints),
        "What a ducat is worth": f"{endpoints['api']}/rate",
        "The API's description": f"{endpoints['api']}/openapi.json",
        "Venice's purses, a double": endpoints["venice"],
    }
    programs = {
        "Polygon (local, chain 137)": endpoints["rpc_url"],
        "Stripe": f"{endpoints['stripe_double']}, a double in test mode"
        if "stripe_double" in endpoints
        else "the real one, by STRIPE_SECRET_KEY",
        "PostgreSQL": endpoints["database_url"],
        "PaymentRouter": endpoints["router"],
        "Safe, the treasury (2 of 3)": endpoints["safe"],
        "Partner": endpoints["partner"],
        "State, logs, endpoints.json": str(box.home),
    }
    console.print("\n[bold]Cascade is running[/], in test mode: the money on this chain is worth nothing.")
    for title, rows in (("Open in a browser", people), ("Behind it", programs)):
        console.print(f"\n[bold]{title}[/]")
        for name, value in rows.items():
            console.print(f"  {name:<28} {value}")
    console.print("\nTo pay by card, take 4242 4242 4242 4242, any date to come and any three digits.")
    console.print("To pay from a browser wallet, import funded_key of endpoints.json. Ctrl-C stops everything.\n")


def _payment_link(endpoints: dict[str, Any]) -> str:
    wish = {"citizen_id": "Marco_Polo", "package": "explorer", "token": "USDC"}
    url = f"{endpoints['api']}/api/payments/crypto-payment-intent"
    answer = httpx.post(url, json=wish, timeout=10, trust_env=False).raise_for_status()
    link: str = answer.json()["payment_link"]
    return link


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that all stops in order; a second Ctrl-C is heard as usual."""
    interrupted = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(number, signal.default_int_handler)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def main() -> None:
    """Run the command line; what can be expected to go wrong ends with a message and exit code 1."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except _EXPECTED as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
