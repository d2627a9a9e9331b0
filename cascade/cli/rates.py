"""The rate: how it stands, and whether its history is what its inputs give."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click
from rich.progress import Progress

from cascade import exchange
from cascade.cli.terminal import console, opened, table_of
from cascade.domain.signals import MICRO, Observation
from cascade.exchange import Replayed
from cascade.store import rates

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@click.group()
def rate() -> None:
    """The ducat's rate: how it stands, and whether its history can be repeated."""


@rate.command()
def show() -> None:
    """The rate of the moment, and why it is what it is."""
    with opened() as cascade, cascade.database.transaction() as connection:
        now = exchange.quotation(connection, cascade.formula)
    tick = now.tick
    if tick is None:
        console.print(f"{now.rate} USD per ducat; no tick was written yet: does a rate keeper run?")
        return
    console.print(
        f"{now.rate} USD per ducat since {tick.at:%Y-%m-%d %H:%M:%S} UTC, drawn to {tick.move.target};"
        f" formula {tick.formula}."
    )
    if now.overdue_seconds:
        console.print(f"The next tick is {now.overdue_seconds} s late: does a rate keeper run?")
    table = table_of("input", "state", "sources", "now", "usual", "age", "adds USD")
    for column in (table.columns[0], table.columns[1], table.columns[-1]):
        column.no_wrap = True  # in a narrow terminal the names of sources are folded instead
    for contribution, seen in exchange.explained(tick):
        table.add_row(
            contribution.input,
            contribution.state,
            "\n".join(one.source for one in seen),
            "\n".join(_plain(one.now_micro) for one in seen),
            "\n".join(_usual(one) for one in seen),
            "\n".join(f"{one.age_seconds} s" for one in seen),
            f"{contribution.nano_usd / 10**9:+.6f}",
        )
    console.print(table)


@rate.command()
@click.option("--since", type=_TIME, help="First tick, UTC; default: the very first.")
@click.option("--until", type=_TIME, help="Last tick, UTC; default: the newest.")
def replay(since: datetime | None, until: datetime | None) -> None:
    """Compute history again from its stored inputs; exit 1 at the first tick that differs."""
    start, end = (moment and moment.replace(tzinfo=UTC) for moment in (since, until))
    with opened() as cascade:
        with cascade.database.transaction() as connection:
            total = rates.count(connection, start, end)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Replaying", total=total)
            replayed = exchange.replay(cascade.database, start, end, lambda: progress.advance(task))
    if replayed.broken is not None:
        _say_difference(replayed)
        sys.exit(1)
    console.print(f"{replayed.ticks:,} ticks: each is what its inputs give, and follows the one before.")


def _say_difference(replayed: Replayed) -> None:
    tick, move = replayed.broken, replayed.computed
    assert tick is not None  # noqa: S101 - the caller has looked
    assert move is not None  # noqa: S101 - both are there or none
    console.print(f"Tick {replayed.ticks:,}, of {tick.at:%Y-%m-%d %H:%M:%S} UTC, formula {tick.formula}, differs:")
    table = table_of("", "stored", "computed")
    table.add_row("rate", str(tick.rate), str(move.rate))
    table.add_row("target", str(tick.move.target), str(move.target))
    for stored, computed in zip(tick.move.contributions, move.contributions, strict=False):
        if stored != computed:
            table.add_row(stored.input, f"{stored.nano_usd} nano-USD", f"{computed.nano_usd} nano-USD")
    console.print(table)
    if move == tick.move:
        console.print("Its numbers are right, but it does not follow the tick before it: a tick in between is missing.")


def _plain(micro: int) -> str:
    return f"{micro / MICRO:,.6g}"


def _usual(one: Observation) -> str:
    return "" if one.usual_micro is None else _plain(one.usual_micro)
