"""What all commands share: the system, opened for the time of a command, and tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from cascade import bootstrap, settings
from cascade.bootstrap import Cascade

console = Console()


@contextmanager
def opened() -> Iterator[Cascade]:
    """The system as its settings say, connected to its database."""
    cascade = bootstrap.assemble(settings.load())
    try:
        cascade.database.open()
        yield cascade
    finally:
        cascade.database.close()


def table_of(*columns: str) -> Table:
    """A table that never cuts anything off: people copy from it."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
