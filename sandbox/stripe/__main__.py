"""The double on its own: `python -m sandbox.stripe`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from sandbox.stripe.double import StripeDouble


@click.command()
@click.option("--port", default=12111, show_default=True, help="Of 127.0.0.1; 0 for a free one.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Keeps everything across restarts.")
@click.option("--webhook-url", help="Is told of every event.")
@click.option("--webhook-secret", envvar="STRIPE_WEBHOOK_SECRET", help="Signs the webhooks; by default one of its own.")
@click.option("--seed", default=0, show_default=True, help="Gives the keys, and the luck of chaos.")
def main(port: int, directory: Path | None, webhook_url: str | None, webhook_secret: str | None, seed: int) -> None:
    """A double of Stripe in TEST MODE, until Ctrl-C. Its keys open nothing but itself."""
    over = threading.Event()
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, lambda *_: over.set())
    with StripeDouble.start(directory, port, webhook_url, webhook_secret, seed) as double:
        click.echo(f"TEST MODE: a double of Stripe on {double.url}")
        click.echo(f"secret key {double.secret_key}\npublishable key {double.publishable_key}")
        if webhook_url is not None and webhook_secret is None:
            click.echo(f"webhook secret {double.webhook_secret}")
        over.wait()


if __name__ == "__main__":
    main()
