"""The rule of the rate under anything that can be seen; and a year of history, computed again from what was stored."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cascade.db.database import Conn, Database
from cascade.domain.ducat_rate import Rate
from cascade.rate import tick_store
from cascade.rate.parameters import PPM, Formula
from cascade.rate.rule import InputState, Tick, next_rate
from cascade.rate.signals import MICRO, Input, Inputs, Observation
from cascade.rate.tick_service import ReplayResult, collect_inputs, replay
from tests.support.soak import histories

SHIPPED = Formula.from_toml((files("cascade") / "formula.toml").read_text())
BASE = SHIPPED.base_nano_usd
LEVELS = (Input.CONSCIOUSNESS, Input.COHERENCE)
FLOWS = (Input.RECOGNITION, Input.ACCELERATION, Input.VOLUME)
TICKS_IN_A_YEAR = 365 * 86_400 // SHIPPED.tick_seconds

amounts = st.one_of(st.integers(0, 100 * MICRO), st.integers(0, 10**12), st.just(0))
shares = st.integers(0, PPM)
ages = st.one_of(st.just(0), st.integers(0, 90_000), st.integers(0, 30 * 86_400))


def decimal(units: int, places: int) -> str:
    """So many smallest units, as a formula writes them."""
    return f"{units // 10**places}.{units % 10**places:0{places}d}"


@st.composite
def formulas(draw: st.DrawFn) -> Formula:
    """Any valid formula: steep and flat ones, ones that never move, and weights up to exactly one."""
    floor, base, ceiling = sorted(draw(st.lists(st.integers(1, 10 * BASE), min_size=3, max_size=3)))
    cuts = sorted(draw(st.lists(st.integers(0, PPM), min_size=len(Input), max_size=len(Input))))
    weights = [cut - before for cut, before in zip(cuts, [0, *cuts], strict=False)]
    if draw(st.booleans()):
        weights[-1] += PPM - cuts[-1]
    inputs: dict[str, dict[str, Any]] = {}
    for name, weight in zip(Input, weights, strict=True):
        fresh = draw(st.integers(0, 86_400))
        inputs[name] = {
            "weight_ppm": weight,
            "fresh_seconds": fresh,
            "stale_seconds": draw(st.integers(fresh + 1, 10**6)),
        }
        positive = decimal(draw(st.integers(1, 2_000 * MICRO)), 6)
        if name in LEVELS:
            inputs[name] |= {"neutral": decimal(draw(st.integers(0, 100 * MICRO)), 6), "span": positive}
        else:
            inputs[name] |= {"damping": positive}
    return Formula.from_data(
        {
            "version": "any",
            "rule": 1,
            "tick_seconds": 300,
            "pull_ppm": draw(st.integers(1, PPM)),
            "step_ppm": draw(st.integers(1, 100_000)),
            "usd_per_ducat": {"floor": decimal(floor, 9), "base": decimal(base, 9), "ceiling": decimal(ceiling, 9)},
            "inputs": inputs,
        }
    )


@st.composite
def observations(draw: st.DrawFn, name: Input) -> tuple[Observation, ...]:
    """What up to four sources say of an input."""
    usual = st.none() if name in LEVELS else st.one_of(amounts, st.none())
    return tuple(
        Observation(f"source{i}", draw(amounts), draw(ages), draw(usual)) for i in range(draw(st.integers(0, 4)))
    )


anything = st.fixed_dictionaries({name: observations(name) for name in Input})
calculations = histories(100)


def within(formula: Formula, share: int) -> Rate:
    """A rate between the floor and the ceiling."""
    return Rate(formula.floor_nano_usd + (formula.ceiling_nano_usd - formula.floor_nano_usd) * share // PPM)


@calculations
@given(formulas(), shares, st.lists(anything, min_size=1, max_size=6))
def test_no_sequence_leaves_the_band_or_breaks_the_step(formula: Formula, share: int, seen: list[Inputs]) -> None:
    rate, base = within(formula, share), formula.base_nano_usd
    for inputs in seen:
        move = next_rate(formula, rate, inputs)
        assert formula.floor_nano_usd <= move.rate.nano_usd <= formula.ceiling_nano_usd
        assert formula.floor_nano_usd <= move.target.nano_usd <= formula.ceiling_nano_usd
        assert abs(move.rate.nano_usd - rate.nano_usd) * PPM <= rate.nano_usd * formula.step_ppm
        assert abs(move.rate.nano_usd - rate.nano_usd) * 10 <= rate.nano_usd  # what the database asks for
        assert min(rate, move.target) <= move.rate <= max(rate, move.target)  # neither past its target nor away
        assert sum(part.nano_usd for part in move.contributions) == move.target.nano_usd - base
        assert [part.input for part in move.contributions] == list(Input)
        for part in move.contributions:
            assert -PPM <= part.pressure_ppm <= PPM
            if part.state in (InputState.MISSING, InputState.STALE):
                assert part.pressure_ppm == 0
            known = [o for o in inputs[part.input] if part.input in LEVELS or o.usual_micro is not None]
            assert (part.state is InputState.MISSING) == (not known)
        assert next_rate(formula, None, inputs).rate == Rate(base)
        rate = move.rate


@calculations
@given(formulas(), shares, anything, st.sampled_from(list(Input)), st.integers(0, 3), amounts)
def test_more_of_anything_never_lowers_the_rate(
    formula: Formula, share: int, inputs: Inputs, name: Input, which: int, more: int
) -> None:
    assume(which < len(inputs[name]))
    told = list(inputs[name])
    told[which] = replace(told[which], now_micro=told[which].now_micro + more)
    before, after = (next_rate(formula, within(formula, share), i) for i in (inputs, {**inputs, name: tuple(told)}))
    assert before.target <= after.target
    assert before.rate <= after.rate


@calculations
@given(formulas(), shares, anything, st.sampled_from(FLOWS), st.integers(0, 3), amounts)
def test_the_more_is_usual_the_less_it_takes(
    formula: Formula, share: int, inputs: Inputs, name: Input, which: int, more: int
) -> None:
    assume(which < len(inputs[name]) and inputs[name][which].usual_micro is not None)
    told = list(inputs[name])
    told[which] = replace(told[which], usual_micro=(told[which].usual_micro or 0) + more)
    before, after = (next_rate(formula, within(formula, share), i) for i in (inputs, {**inputs, name: tuple(told)}))
    assert before.target >= after.target
    assert before.rate >= after.rate


@calculations
@given(formulas(), st.integers(1, 10**10), st.integers(0, 10**6), anything)
def test_a_higher_rate_never_becomes_the_lower_one(formula: Formula, low: int, more: int, inputs: Inputs) -> None:
    before, after = (next_rate(formula, Rate(nano), inputs) for nano in (low, low + more))
    assert before.target == after.target
    assert before.rate <= after.rate


@calculations
@given(formulas(), st.sampled_from(list(Input)), amounts, amounts, ages, ages)
def test_what_is_older_counts_for_less(
    formula: Formula, name: Input, now: int, usual: int, age: int, older: int
) -> None:
    one = Observation("source", now, age, None if name in LEVELS else usual)
    moves = [next_rate(formula, None, {name: (o,)}) for o in (one, replace(one, age_seconds=age + older))]
    young, old = (move.target.nano_usd - formula.base_nano_usd for move in moves)
    assert abs(old) <= abs(young)
    assert old * young >= 0


@st.composite
def quiet(draw: st.DrawFn, formula: Formula) -> Inputs:
    """Inputs that move nothing: neutral levels, flows that are as usual, or nothing at all; by up to three sources."""
    inputs = {}
    for name in Input:
        told = [draw(amounts) for _ in range(draw(st.integers(0, 3)))]
        neutral = formula.weighings[name].neutral_micro
        inputs[name] = tuple(
            Observation(f"source{i}", neutral if name in LEVELS else n, draw(ages), None if name in LEVELS else n)
            for i, n in enumerate(told)
        )
    return inputs


@calculations
@given(st.data())
def test_at_the_base_nothing_moves_without_a_reason(data: st.DataObject) -> None:
    formula = data.draw(formulas())
    move = next_rate(formula, Rate(formula.base_nano_usd), data.draw(quiet(formula)))
    assert move.rate == move.target == Rate(formula.base_nano_usd)
    assert {(part.pressure_ppm, part.nano_usd) for part in move.contributions} == {(0, 0)}


@calculations
@given(formulas(), st.integers(0, 10**9), st.lists(st.integers(0, 10**8), min_size=2, max_size=6), ages)
def test_up_and_down_are_treated_alike(formula: Formula, room: int, offsets: list[int], age: int) -> None:
    base = formula.base_nano_usd
    room = min(room, base - 1)
    even = replace(formula, floor_nano_usd=base - room, ceiling_nano_usd=base + room)

    def mirrored(sign: int) -> Inputs:
        return {
            name: tuple(
                Observation(f"source{i}", formula.weighings[name].neutral_micro + sign * offset, age)
                for i, offset in enumerate(offsets[k::2])
            )
            for k, name in enumerate(LEVELS)
        }

    up, down = (next_rate(even, Rate(base), mirrored(sign)) for sign in (1, -1))
    assert up.target.nano_usd - base == base - down.target.nano_usd
    assert up.rate.nano_usd - base == base - down.rate.nano_usd
    for there, back in zip(up.contributions, down.contributions, strict=True):
        assert (there.pressure_ppm, there.nano_usd, there.state) == (-back.pressure_ppm, -back.nano_usd, back.state)


def a_year(start: int, seen: Sequence[Inputs]) -> list[int]:
    """The rate after each tick of a year in which these inputs take turns by lot."""

    @cache
    def after(nano: int, turn: int) -> int:
        return next_rate(SHIPPED, Rate(nano), seen[turn]).rate.nano_usd

    lot, history = random.Random(1), [start]  # noqa: S311 - the same year each time
    for _ in range(TICKS_IN_A_YEAR):
        history.append(after(history[-1], lot.randrange(len(seen))))
    return history


def ordinary_days() -> Sequence[Inputs]:
    """Neutral levels and flows as usual, from a dead to a busy city, from fresh to stale."""
    lot, days = random.Random(2), []  # noqa: S311 - the same days each time
    for day in range(20):
        age, events, usd = lot.choice([0, 300, 5_000, 30_000]), lot.randrange(500) * MICRO, lot.randrange(10**10)
        days.append(
            {
                Input.CONSCIOUSNESS: (Observation("venice", 5 * MICRO, age), Observation("tessere", 5 * MICRO, 0)),
                Input.COHERENCE: (Observation("venice", 50 * MICRO, age),),
                Input.RECOGNITION: (Observation("venice", events, age, events),),
                Input.ACCELERATION: (Observation("venice", events, age, events),),
                Input.VOLUME: (Observation("ledger", usd, 0, usd),) if day % 3 else (),
            }
        )
    return days


def test_a_year_in_which_nothing_happens_stays_at_the_base() -> None:
    assert TICKS_IN_A_YEAR == 105_120
    assert set(a_year(BASE, ordinary_days())) == {BASE}


@pytest.mark.parametrize("seen", [ordinary_days(), [{}]], ids=["neutral", "nothing known"])
def test_from_anywhere_the_rate_comes_back_to_the_base(seen: Sequence[Inputs]) -> None:
    # A higher rate never becomes the lower one, so both ends hold for everything between them.
    for start in (SHIPPED.floor_nano_usd, SHIPPED.ceiling_nano_usd):
        history = a_year(start, seen)
        assert abs(history[-1] - BASE) * 100 <= BASE
        assert abs(history[-1] - BASE) < 10  # in fact it is there, but for what rounds to nothing
        assert history == sorted(history, reverse=start > BASE)
        back = next(hours for hours in range(365 * 24) if abs(history[hours * 12] - BASE) * 100 <= BASE)
        assert back <= 36  # hours: a day and a half at the very most


@calculations
@given(
    st.sampled_from(list(Input)),
    st.lists(st.tuples(amounts, amounts), min_size=3, max_size=3),
    st.tuples(st.one_of(amounts, st.just(10**15)), st.one_of(amounts, st.just(10**15))),
    st.lists(st.integers(0, 900), min_size=4, max_size=4),
    ages,
)
def test_no_single_source_outvotes_three_honest_ones(
    name: Input, honest: list[tuple[int, int]], lie: tuple[int, int], later: list[int], age: int
) -> None:
    # All four have reported within a quarter of an hour: whoever is silent for longer loses its say.
    def target(told: list[tuple[int, int]], after: list[int]) -> Rate:
        seen = tuple(
            Observation(f"source{i}", now, age + later, None if name in LEVELS else usual)
            for i, ((now, usual), later) in enumerate(zip(told, after, strict=True))
        )
        return next_rate(SHIPPED, None, {name: seen}).target

    alone = [target([one], [min(later)]) for one in honest]
    assert min(alone) <= target([*honest, lie], later) <= max(alone)


@calculations
@given(st.lists(st.sampled_from([0, 10**15]), min_size=1, max_size=100))
def test_a_flood_alone_is_no_faster_than_the_step(flood: list[int]) -> None:
    rate, slowest, fastest = BASE, BASE, BASE
    for now in flood:
        lie = {name: (Observation("liar", now, 0, None if name in LEVELS else 10**15 - now),) for name in Input}
        rate = next_rate(SHIPPED, Rate(rate), lie).rate.nano_usd
        slowest, fastest = slowest - slowest // 200, fastest + fastest // 200  # half a percent
        assert slowest <= rate <= fastest


YEAR = datetime(2025, 1, 1, tzinfo=UTC)
HISTORY_TICKS = 5_000


def report_a_year(connection: Conn, lot: random.Random) -> int:
    """Signals of three sources, each silent for days now and then; some late, some before their time. How many?"""
    rows: list[tuple[object, ...]] = []
    for source, kinds in (
        ("venice", ("consciousness", "coherence", "recognition", "reported_acceleration")),
        ("tessere", ("consciousness", "recognition")),
        ("rialto", ("coherence", "recognition")),
    ):
        for kind in kinds:
            moment = YEAR + timedelta(days=lot.random() * 30)
            while moment < YEAR + timedelta(days=365):
                units = lot.randrange(200) * MICRO if kind == "recognition" else lot.randrange(10 * MICRO)
                late = lot.choice([-120, 0, 1, 1, 2, 30, 3_600, 86_400 * lot.random() * 5])
                received = moment + timedelta(seconds=late)
                rows.append((source, f"{source}{len(rows)}", kind, units, moment, received))
                moment += timedelta(days=lot.random() * 8) if lot.random() < 0.01 else timedelta(hours=lot.random() * 9)
    lot.shuffle(rows)
    columns = [list(column) for column in zip(*rows, strict=True)]
    connection.execute(
        "INSERT INTO signals (source, sender_id, kind, micro, occurred_at, received_at) SELECT * FROM"
        " unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[], %s::timestamptz[])",
        columns,
    )
    return len(rows)


def sell_a_year(connection: Conn, lot: random.Random) -> None:
    """Sales at any time of the second half of the year, written past our code, since ours are always of now."""
    connection.execute("INSERT INTO ledger.accounts (name, asset) VALUES ('treasury', 'USDC'), ('sales', 'USDC')")
    sales = [(YEAR + timedelta(days=180 + lot.random() * 185), lot.randrange(10, 5_000) * MICRO) for _ in range(400)]
    connection.execute(
        "WITH sold AS (SELECT * FROM unnest(%s::timestamptz[], %s::bigint[]) WITH ORDINALITY AS s (posted_at, units, n)"
        "), posted AS (INSERT INTO ledger.transactions (reference, kind, contents_hash, posted_at)"
        " SELECT 'sale:' || n, 'sale', sha256('x'), posted_at FROM sold RETURNING id, reference)"
        " INSERT INTO ledger.postings SELECT p.id, 0, 'USDC', d.id, c.id, s.units"
        " FROM posted p JOIN sold s ON p.reference = 'sale:' || s.n, ledger.accounts d, ledger.accounts c"
        " WHERE d.name = 'treasury' AND c.name = 'sales'",
        [list(column) for column in zip(*sales, strict=True)],
    )


def keep_a_year(database: Database, lot: random.Random) -> list[Tick]:
    """Ticks at moments throughout the year, each from what was known by then."""
    slots = sorted(lot.sample(range(TICKS_IN_A_YEAR), HISTORY_TICKS))
    ticks: list[Tick] = []
    with database.transaction() as connection:
        tick_store.remember(connection, SHIPPED)
        for slot in slots:
            at = YEAR + slot * SHIPPED.tick
            inputs = collect_inputs(connection, at)
            last = ticks[-1] if ticks else None
            previous = (last.at, last.rate) if last else None
            move = next_rate(SHIPPED, last.rate if last else None, inputs)
            ticks.append(Tick(at, previous, SHIPPED.version, inputs, move))
            assert tick_store.insert(connection, ticks[-1])
    return ticks


def tamper(database: Database, statement: str, at: datetime) -> None:
    """What only the database's owner could do: change one tick, with the guard of its table lifted."""
    with database.transaction() as connection:
        connection.execute("ALTER TABLE rate_ticks DISABLE TRIGGER append_only")
        assert connection.execute(f"{statement} WHERE at = %s".encode(), (at,)).rowcount == 1
        connection.execute("ALTER TABLE rate_ticks ENABLE TRIGGER append_only")


def test_a_year_of_history_is_reproduced_exactly(database: Database) -> None:
    lot = random.Random(3)  # noqa: S311 - the same year each time
    with database.transaction() as connection:
        assert report_a_year(connection, lot) > 10_000
        sell_a_year(connection, lot)
        connection.execute("ANALYZE")
    ticks = keep_a_year(database, lot)
    states = {(part.input, part.state) for tick in ticks for part in tick.move.contributions}
    assert states >= {(name, InputState.FRESH) for name in Input} | {(LEVELS[0], state) for state in InputState}
    with database.transaction() as connection:
        stored = list(tick_store.ticks_between(connection, None, None))  # more than one page
    assert [replace(tick, computed_at=None) for tick in stored] == ticks
    assert replay(database, None, None) == ReplayResult(HISTORY_TICKS)
    assert replay(database, ticks[100].at, ticks[199].at) == ReplayResult(100)

    # From the newest to the oldest: each time the first difference is the tick that was changed just now.
    priced = [i for i, tick in enumerate(ticks) if tick.inputs[Input.VOLUME][0].usual_micro]
    for i, statement in (
        (-1, "UPDATE rate_ticks SET nano_usd = nano_usd - 1"),
        (priced[-9], "UPDATE rate_ticks SET inputs = jsonb_set(inputs, '{volume,0,now_micro}', '9000000000')"),
        (priced[9], "UPDATE rate_ticks SET inputs = jsonb_set(inputs, '{volume}', '[]')"),
        (900, "UPDATE rate_ticks SET contributions = jsonb_set(contributions, '{1,nano_usd}', '-7')"),
        (40, "UPDATE rate_ticks SET target_nano_usd = target_nano_usd + 1"),
    ):
        tamper(database, statement, ticks[i].at)
        found = replay(database, None, None)
        assert (found.ticks, found.broken and found.broken.at) == (i % HISTORY_TICKS + 1, ticks[i].at)
        assert found.computed != (found.broken and found.broken.move)
    assert found.computed == ticks[40].move

    # The chain itself gives way to nobody who does not lift every guard; and then the gap is found.
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        tamper(database, "UPDATE rate_ticks SET nano_usd = nano_usd + 1", ticks[20].at)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        tamper(database, "DELETE FROM rate_ticks", ticks[20].at)
    with database.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM rate_ticks WHERE at = %s", (ticks[20].at,))
    found = replay(database, None, None)
    assert (found.ticks, found.broken and found.broken.at) == (21, ticks[21].at)
