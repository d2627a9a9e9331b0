"""The keeper of the rate, with the real database: one unbroken chain, each tick of what was known at its own moment."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest

from cascade.db import orders
from cascade.db.database import Conn, Database
from cascade.domain.ducat_rate import Rate
from cascade.domain.signal_kinds import OUR_LEDGER, SignalKind
from cascade.errors import SettingsError
from cascade.rate import signal_store, tick_store
from cascade.rate.parameters import Formula
from cascade.rate.rule import InputState, Tick, next_rate
from cascade.rate.signals import HOUR, MICRO, Input, Observation, Signal
from cascade.rate.tick_service import TICKS_AT_ONCE, ReplayResult, collect_inputs, replay, write_due_ticks
from tests.support.concurrency import run_concurrently

SHIPPED = Formula.from_toml((files("cascade") / "formula.toml").read_text())
BASE = Rate(SHIPPED.base_nano_usd)
USD = SHIPPED.data["usd_per_ducat"]
DAY = timedelta(days=1)


def formula(version: str, **changes: Any) -> Formula:
    """The shipped formula under another name, but for some constants."""
    return Formula.from_data({**SHIPPED.data, "version": version, **changes})


EVERY_SECOND = formula("every-second", tick_seconds=1)
HOURLY = formula("hourly", tick_seconds=3_600)
"""A test that takes less than a second sees at most one of its ticks come due, and hardly ever that."""


@dataclass(frozen=True)
class Report:
    """A signal, and when we received it."""

    source: str
    kind: SignalKind
    micro: int
    occurred_at: datetime
    received_at: datetime


def clock(database: Database) -> datetime:
    with database.transaction() as connection:
        return orders.clock(connection)


def keep(database: Database, formula: Formula) -> list[Tick]:
    with database.transaction() as connection:
        return write_due_ticks(connection, formula)


def begin(database: Database, formula: Formula, ago: timedelta) -> Tick:
    """A first tick in the past, as a keeper would have written it then."""
    with database.transaction() as connection:
        now, seconds = orders.clock(connection) - ago, formula.tick_seconds
        at = datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)
        inputs = collect_inputs(connection, at)
        tick_store.remember(connection, formula)
        tick = Tick(at, None, formula.version, inputs, next_rate(formula, None, inputs))
        assert tick_store.insert(connection, tick)
    return tick


def report(database: Database, reports: Sequence[Report]) -> None:
    """Stores reports as if they had come when they say."""
    with database.transaction() as connection:
        for r in reports:
            connection.execute(
                "INSERT INTO signals (source, sender_id, kind, micro, occurred_at, received_at)"
                " VALUES (%s, gen_random_uuid()::text, %s, %s, %s, %s)",
                (r.source, r.kind, r.micro, r.occurred_at, r.received_at),
            )


def history(connection: Conn) -> list[Tick]:
    return list(tick_store.ticks_between(connection, None, None))


def stored(database: Database) -> list[Tick]:
    with database.transaction() as connection:
        return history(connection)


def assert_unbroken(ticks: Sequence[Tick], *steps: int) -> None:
    """Each tick follows the one before it, these seconds later."""
    assert ticks[0].previous is None
    for before, tick in pairwise(ticks):
        assert tick.previous == (before.at, before.rate)
        assert (tick.at - before.at).total_seconds() in steps


def level(micro: int, received_at: datetime, *, source: str = "venice", occurred_at: datetime | None = None) -> Report:
    return Report(source, SignalKind.CONSCIOUSNESS, micro, occurred_at or received_at, received_at)


def test_the_first_tick_is_at_the_base_at_the_newest_whole_slot(database: Database) -> None:
    long_ago = clock(database) - HOUR
    report(database, [level(10 * MICRO, long_ago)])
    with database.transaction() as connection:
        now = orders.clock(connection)
        (tick,) = write_due_ticks(connection, SHIPPED)
    assert now - SHIPPED.tick < tick.at <= now
    assert tick.at.timestamp() % 300 == 0
    assert (tick.previous, tick.rate, tick.formula) == (None, BASE, "venice-1")
    assert tick.move.target > BASE  # what it saw is told, and moves only the next one
    assert [o.now_micro for o in tick.inputs[Input.CONSCIOUSNESS]] == [10 * MICRO]
    (kept,) = stored(database)
    assert kept.computed_at is not None
    assert kept.computed_at >= now
    assert replace(kept, computed_at=None) == tick


def test_the_same_slot_is_not_written_again(database: Database) -> None:
    (first,) = keep(database, HOURLY)
    for _ in range(3):
        assert keep(database, HOURLY) == []
    assert [tick.at for tick in stored(database)] == [first.at]


def test_rival_keepers_write_each_tick_once(database: Database) -> None:
    report(database, [level(10 * MICRO, clock(database) - HOUR)])
    begin(database, EVERY_SECOND, timedelta(seconds=40))
    written = 1
    for _ in range(4):
        written += sum(len(ticks) for ticks in run_concurrently(8, lambda _: keep(database, EVERY_SECOND)))
        time.sleep(1.1)
    ticks = stored(database)
    assert written == len(ticks) >= 44
    assert_unbroken(ticks, 1)
    assert replay(database, None, None) == ReplayResult(len(ticks))


def test_rival_keepers_write_one_first_tick(database: Database) -> None:
    written = [tick for ticks in run_concurrently(8, lambda _: keep(database, HOURLY)) for tick in ticks]
    assert len(written) == len(stored(database)) == 1


def test_keepers_of_two_formulas_make_one_chain(database: Database) -> None:
    # As during a rolling upgrade. Their slots are not the same ones, so a fork would not be the same tick twice.
    rivals = [formula(f"every-{seconds}", tick_seconds=seconds) for seconds in (2, 3)]
    begin(database, rivals[0], timedelta(seconds=60))
    for _ in range(3):
        run_concurrently(8, lambda i: keep(database, rivals[i % 2]))
        time.sleep(2.1)
    ticks = stored(database)
    assert_unbroken(ticks, 1, 2, 3, 4)
    assert replay(database, None, None) == ReplayResult(len(ticks))


def test_a_rival_has_the_tick_or_nothing(database: Database) -> None:
    first = begin(database, HOURLY, 2 * HOUR)
    with database.transaction() as connection:
        inputs = collect_inputs(connection, first.at + HOUR)
        move = next_rate(HOURLY, first.rate, inputs)
        tick = Tick(first.at + HOUR, (first.at, first.rate), HOURLY.version, inputs, move)
        assert [tick_store.insert(connection, tick) for _ in range(3)] == [True, False, False]
        assert not tick_store.insert(connection, replace(tick, at=first.at + 2 * HOUR))  # it follows the same one
        assert not tick_store.insert(connection, replace(tick, at=first.at + 3 * HOUR, previous=None))


CATCHING_UP = formula("catching-up", tick_seconds=20)


def random_reports(start: datetime, end: datetime) -> list[Report]:
    """Three sources that report every ten minutes or so; what they say comes at once, late, or before its time."""
    lot = random.Random(11)  # noqa: S311 - the same reports each time
    reports = []
    for source in ("rialto", "tessere", "venice"):
        for kind in (SignalKind.CONSCIOUSNESS, SignalKind.COHERENCE, SignalKind.RECOGNITION):
            moment = start + lot.random() * HOUR
            while moment < end:
                micro = lot.randrange(60) * MICRO if kind is SignalKind.RECOGNITION else lot.randrange(10 * MICRO)
                delay = timedelta(seconds=lot.choice([-115.5, 0, 0.5, 30, 600.25, 7_000]))
                reports.append(Report(source, kind, micro, moment, moment + delay))
                moment += lot.random() * timedelta(minutes=20)
    return reports


def expected_inputs(reports: Sequence[Report], at: datetime) -> dict[Input, list[Observation]]:
    """What the rule must see at a moment, said once more in the simplest way."""
    seen: dict[Input, list[Observation]] = {name: [] for name in Input}
    seen[Input.VOLUME].append(Observation(OUR_LEDGER, 0, 0))  # nothing was ever sold
    known = [r for r in reports if r.received_at <= at and r.occurred_at <= at]
    for source in sorted({r.source for r in known}):
        for kind, name in (
            (SignalKind.CONSCIOUSNESS, Input.CONSCIOUSNESS),
            (SignalKind.COHERENCE, Input.COHERENCE),
        ):
            told = [r for r in known if (r.source, r.kind) == (source, kind) and r.occurred_at > at - 30 * DAY]
            if told:
                reading = max(told, key=lambda r: r.occurred_at)
                age = int((at - reading.occurred_at).total_seconds())
                seen[name].append(Observation(source, reading.micro, age))
        told = [r for r in known if (r.source, r.kind) == (source, SignalKind.RECOGNITION)]
        told = [r for r in told if r.occurred_at > at - 7 * DAY]
        oldest, newest = (end((r.occurred_at for r in told), default=at) for end in (min, max))
        if newest - oldest < 2 * HOUR:
            continue
        last, before = (
            sum(r.micro for r in told if newest - (n + 1) * HOUR < r.occurred_at <= newest - n * HOUR) for n in (0, 1)
        )
        age = int((at - newest).total_seconds())
        after = (r.micro for r in told if r.occurred_at > oldest)  # the first report is of what was before
        usual = sum(after) * 3_600 // int((newest - oldest).total_seconds())
        seen[Input.RECOGNITION].append(Observation(source, last, age, usual))
        seen[Input.ACCELERATION].append(Observation(source, last, age, before))
    return seen


def test_a_keeper_that_was_down_writes_what_it_would_have_written(database: Database) -> None:
    now = clock(database)
    reports = random_reports(now - 8 * HOUR, now)
    report(database, reports)
    first = begin(database, CATCHING_UP, 500 * CATCHING_UP.tick)
    pieces = [keep(database, CATCHING_UP) for _ in range(3)]
    assert len(pieces[0]) == TICKS_AT_ONCE == 300  # then it lets go, so that nobody waits for long
    assert 200 <= len(pieces[1]) <= 202
    assert len(pieces[2]) <= 1
    ticks = stored(database)
    assert [first, *pieces[0], *pieces[1], *pieces[2]] == [replace(tick, computed_at=None) for tick in ticks]
    assert_unbroken(ticks, 20)
    assert clock(database) - ticks[-1].at < 2 * CATCHING_UP.tick
    for tick in ticks:
        assert {name: list(tick.inputs[name]) for name in Input} == expected_inputs(reports, tick.at)
    assert len({tick.rate for tick in ticks}) > 400
    assert {part.state for tick in ticks for part in tick.move.contributions} > {InputState.FRESH, InputState.FADING}


def test_the_last_second_counts_and_the_next_one_does_not(database: Database) -> None:
    first = begin(database, HOURLY, 3 * HOUR)
    slots, moment = [first.at + n * HOUR for n in range(4)], timedelta(microseconds=1)
    report(
        database,
        [
            level(7 * MICRO, slots[1]),  # received at the very moment of the tick
            level(8 * MICRO, slots[2] + moment, occurred_at=slots[2] - HOUR / 2),  # a moment late
            level(9 * MICRO, slots[2], occurred_at=slots[2] + moment, source="early"),  # before its time
        ],
    )
    keep(database, HOURLY)
    seen = [[(o.source, o.now_micro, o.age_seconds) for o in t.inputs[Input.CONSCIOUSNESS]] for t in stored(database)]
    assert seen[:4] == [
        [],
        [("venice", 7 * MICRO, 0)],
        [("venice", 7 * MICRO, 3_600)],
        [("early", 9 * MICRO, 3_599), ("venice", 8 * MICRO, 5_400)],
    ]


def test_what_arrives_late_changes_no_tick_that_is_written(database: Database) -> None:
    begin(database, EVERY_SECOND, timedelta(seconds=20))
    keep(database, EVERY_SECOND)
    before = stored(database)
    with database.transaction() as connection:
        told = Signal("late", SignalKind.CONSCIOUSNESS, 10 * MICRO, before[3].at)
        assert signal_store.insert(connection, "venice", [told]).accepted == 1
    time.sleep(1.1)
    keep(database, EVERY_SECOND)
    after = stored(database)
    assert after[: len(before)] == before
    assert not any(tick.inputs[Input.CONSCIOUSNESS] for tick in before)
    assert [o.now_micro for o in after[-1].inputs[Input.CONSCIOUSNESS]] == [10 * MICRO]
    assert replay(database, None, None) == ReplayResult(len(after))


def test_a_version_never_changes_its_meaning(database: Database) -> None:
    begin(database, EVERY_SECOND, timedelta(seconds=20))
    for change in ({"pull_ppm": 80_001}, {"tick_seconds": 2}, {"usd_per_ducat": {**USD, "ceiling": "0.51"}}):
        with pytest.raises(SettingsError, match="CASCADE_RATE_FORMULA: version every-second was used with other"):
            keep(database, Formula.from_data({**EVERY_SECOND.data, **change}))
    assert len(stored(database)) == 1
    # The order in which it is written says nothing.
    backwards = Formula.from_data(dict(reversed(list(EVERY_SECOND.data.items()))))
    assert len(keep(database, backwards)) >= 20


def test_a_new_formula_goes_on_from_the_rate_of_the_old_one(database: Database) -> None:
    first = begin(database, HOURLY, 3 * HOUR)
    report(database, [level(10 * MICRO, first.at + HOUR)])
    with database.transaction() as connection:
        inputs = collect_inputs(connection, first.at + HOUR)
        move = next_rate(HOURLY, first.rate, inputs)
        last = Tick(first.at + HOUR, (first.at, first.rate), HOURLY.version, inputs, move)
        assert tick_store.insert(connection, last)
    assert last.rate == Rate(100_500_000)
    new = formula("gentle", tick_seconds=1_800, usd_per_ducat={**USD, "ceiling": "0.20"}, step_ppm=1_000)
    ticks = [last, *keep(database, new)]
    assert ticks[1].rate == Rate(100_600_500)  # half as often, a tenth of a percent
    assert all(tick.previous == (before.at, before.rate) for before, tick in pairwise(ticks))
    assert {tick.formula for tick in ticks[1:]} == {"gentle"}
    with database.transaction() as connection:
        assert tick_store.formulas(connection) == {"hourly": HOURLY, "gentle": new}
    assert replay(database, None, None) == ReplayResult(len(stored(database)))
