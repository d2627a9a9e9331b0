"""The double on its own: `python -m sandbox.venice`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from sandbox.venice.double import VeniceDouble


@click.command()
@click.option("--port", default=12112, show_default=True, help="Of 127.0.0.1; 0 for a free one.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Keeps everything across restarts.")
@click.option("--closed", is_flag=True, help="Only who was added is a citizen; else whoever has a proper name.")
def main(port: int, directory: Path | None, closed: bool) -> None:
    """A double of Venice, until Ctrl-C."""
    over = threading.Event()
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, lambda *_: over.set())
    with VeniceDouble.start(directory, port, open_city=not closed) as double:
        click.echo(f"A double of Venice on {double.url}")
        over.wait()


if __name__ == "__main__":
    main()
