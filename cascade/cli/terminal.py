"""Share what all commands need: the system, opened for the time of a command, and listings."""

from __future__ import annotations

import json
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cascade import bootstrap, settings
from cascade.app import App
from cascade.db.connection_errors import await_database
from cascade.db.database import COMMANDS, Deadlines, check_schema
from cascade.domain.money import Money

console = Console(soft_wrap=True, markup=False, highlight=False)
"""Breaks no line by itself, so that what is copied is whole, and takes no value for markup."""

Cell = str | int | bool | Money | datetime | Sequence[str] | None
Record = Mapping[str, Cell]

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: stable names, amounts as text with their asset, times in UTC."
)
"""Every command that lists something takes it."""

_INDENT: Final = "  "
_BETWEEN: Final = 3
"""What a table puts between two columns."""


@contextmanager
def opened(deadlines: Deadlines = COMMANDS, *, migrates: bool = False) -> Iterator[App]:
    """Open the system as its settings say, connected to its database, which has this release's schema.

    Args:
        deadlines: how long the database may take.
        migrates: the schema is brought to this release's shape next, so it is not looked at.
    """
    app = bootstrap.assemble(settings.load(), deadlines)
    await_database(app.settings.database_url.get_secret_value())
    try:
        app.database.open()
        if not migrates:
            check_schema(app.database)
        yield app
    finally:
        app.database.close()


def show(records: Sequence[Record], nothing: str, *, as_json: bool = False) -> None:
    """Print a listing: for people on a terminal, separated by tabs in a pipe, or as a JSON array.

    Args:
        records: what is listed; all have the same names in the same order, the first one says what a record is.
        nothing: the sentence for an empty listing. In a pipe it goes to stderr: stdout holds records only.
        as_json: print JSON.
    """
    if as_json:
        show_json([dict(record) for record in records])
    elif not records:
        click.echo(nothing, err=not sys.stdout.isatty())
    elif sys.stdout.isatty():
        console.print(laid_out(records, console.width))
    else:
        for row in (list(records[0]), *([plain(cell) for cell in record.values()] for record in records)):
            click.echo("\t".join(row))


def show_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, default=_for_json))


def laid_out(records: Sequence[Record], width: int) -> Table | str:
    """Return a listing for a terminal: a table where every row fits in a line, else a block of lines for each record.

    No word is ever broken, so ids and hashes stay whole.
    """
    names = [name for name in records[0] if any(plain(record[name]) for record in records)]
    rows = [[plain(record[name]) for name in names] for record in records]
    titles = [name.replace("_", " ") for name in names]
    widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    if sum(widths) + _BETWEEN * len(widths) + 1 > width:
        return "\n\n".join(_block(titles, row, width) for row in rows)
    table = Table(*titles, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def plain(cell: Cell) -> str:
    """Return a value as one line of text, without anything that steers a terminal or separates columns."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, Money):
        return f"{cell} {cell.asset.code}"
    if isinstance(cell, datetime):
        return _utc(cell)
    text = (
        ""
        if cell is None
        else cell
        if isinstance(cell, str)
        else str(cell)
        if isinstance(cell, int)
        else ", ".join(cell)
    )
    return "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text).strip()


def _block(titles: Sequence[str], row: Sequence[str], width: int) -> str:
    """Return a record as lines: its first value, and beneath it the others that there are, each with its title."""
    indent = " " * (len(_INDENT) + max(map(len, titles)) + 2)
    lines = [f"{titles[0]} {row[0]}"]
    for title, text in zip(titles[1:], row[1:], strict=True):
        if not text:
            continue
        label = f"{_INDENT}{title}".ljust(len(indent))
        if max(map(cell_len, text.split())) + len(indent) > width:  # a hash has 66 characters: a line of its own
            lines.append(label.rstrip())
            label = hanging = _INDENT * 2
        else:
            hanging = indent
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=label,
            subsequent_indent=hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _for_json(value: Any) -> object:
    if isinstance(value, Money):
        return {"amount": value.plain, "asset": value.asset.code, "units": str(value.units)}
    if isinstance(value, datetime):
        return _utc(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
