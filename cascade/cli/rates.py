"""The rate: how it stands, and whether its history is what its inputs give."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.progress import Progress

from cascade.cli.terminal import Record, as_json_option, console, opened, show, show_json
from cascade.rate import tick_service, tick_store
from cascade.rate.quotation import current_quotation, explain
from cascade.rate.rule import Contribution
from cascade.rate.signals import MICRO, Observation
from cascade.rate.tick_service import ReplayResult

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@click.group()
def rate() -> None:
    """Show the ducat's rate: how it stands, and whether its history can be repeated."""


@rate.command("show")
@as_json_option
def show_rate(as_json: bool) -> None:
    """Show the rate of the moment, and why it is what it is."""
    with opened() as app, app.database.transaction() as connection:
        now = current_quotation(connection, app.formula)
    tick = now.tick
    reasons = [record for part, seen in explain(tick) for record in _reasons(part, seen)] if tick else []
    if as_json:
        told: dict[str, object] = {"usd_per_ducat": str(now.rate), "tick_at": tick and tick.at}
        told |= {"target_usd": tick and str(tick.move.target), "formula": tick and tick.formula}
        show_json({**told, "late_s": now.overdue_seconds, "inputs": reasons})
        return
    if tick is None:
        console.print(f"{now.rate} USD per ducat; no tick was written yet: does a rate keeper run?")
        return
    console.print(
        f"{now.rate} USD per ducat since {tick.at:%Y-%m-%d %H:%M:%S} UTC, drawn to {tick.move.target};"
        f" formula {tick.formula}."
    )
    if now.overdue_seconds:
        console.print(f"The next tick is {now.overdue_seconds} s late: does a rate keeper run?")
    show(reasons, "The tick saw nothing.")


def _reasons(part: Contribution, seen: Sequence[Observation]) -> list[Record]:
    """Return an input with what was seen of it, a record for each source; one without a source where nothing was
    seen."""
    said: Record = {"input": part.input, "state": part.state}
    adds: Record = {"adds_usd": f"{part.nano_usd / 10**9:+.6f}"}
    if not seen:
        return [{**said, "source": None, "now": None, "usual": None, "age_s": None, **adds}]
    return [
        {
            **said,
            "source": one.source,
            "now": _plain(one.now_micro),
            "usual": _usual(one),
            "age_s": one.age_seconds,
            **adds,
        }
        for one in seen
    ]


@rate.command()
@click.option("--since", type=_TIME, help="First tick, UTC; default: the very first.")
@click.option("--until", type=_TIME, help="Last tick, UTC; default: the newest.")
def replay(since: datetime | None, until: datetime | None) -> None:
    """Compute history again from its stored inputs; exit 1 at the first tick that differs."""
    start, end = (moment and moment.replace(tzinfo=UTC) for moment in (since, until))
    with opened() as app:
        with app.database.transaction() as connection:
            total = tick_store.count(connection, start, end)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Replaying", total=total)
            replayed = tick_service.replay(app.database, start, end, lambda: progress.advance(task))
    if replayed.broken is not None:
        _say_difference(replayed)
        sys.exit(1)
    console.print(f"{replayed.ticks:,} ticks: each is what its inputs give, and follows the one before.")


def _say_difference(replayed: ReplayResult) -> None:
    tick, move = replayed.broken, replayed.computed
    assert tick is not None  # noqa: S101 - the caller has looked
    assert move is not None  # noqa: S101 - both are there or none
    console.print(f"Tick {replayed.ticks:,}, of {tick.at:%Y-%m-%d %H:%M:%S} UTC, formula {tick.formula}, differs:")
    records: list[Record] = [
        {"differs": "rate", "stored": str(tick.rate), "computed": str(move.rate)},
        {"differs": "target", "stored": str(tick.move.target), "computed": str(move.target)},
    ]
    for stored, computed in zip(tick.move.contributions, move.contributions, strict=False):
        if stored != computed:
            both = (f"{one.nano_usd} nano-USD" for one in (stored, computed))
            records.append({"differs": stored.input, **dict(zip(("stored", "computed"), both, strict=True))})
    show(records, "Nothing differs.")
    if move == tick.move:
        console.print("Its numbers are right, but it does not follow the tick before it: a tick in between is missing.")


def _plain(micro: int) -> str:
    return f"{micro / MICRO:,.6g}"


def _usual(one: Observation) -> str:
    return "" if one.usual_micro is None else _plain(one.usual_micro)
