"""What holds a rate's history and a locked quote whoever asks; and what counts as sold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import psycopg
import pytest

from cascade.db import balances, orders
from cascade.db.database import Database
from cascade.domain.ducat_rate import START, Rate
from cascade.domain.money import Money
from cascade.domain.payments import ConfirmedPayment, Outcome, Rail
from cascade.domain.postings import SalesVolume
from cascade.domain.reversals import Reversal
from cascade.domain.signal_kinds import OUR_LEDGER, SignalKind
from cascade.errors import InvalidInput
from cascade.rate import signal_store, tick_store
from cascade.rate.parameters import Formula
from cascade.rate.rule import Tick, next_rate
from cascade.rate.signals import MICRO, Input, Observation, Signal
from cascade.rate.tick_service import ReplayResult, collect_inputs, replay, write_due_ticks
from cascade.services.booking import book_payment, book_reversal
from tests.support.purchases import balance_of, came_again, confirmed, open_order, refund

SHIPPED = Formula.from_toml((files("cascade") / "formula.toml").read_text())
FORMULA = Formula.from_data({**SHIPPED.data, "version": "minutely", "tick_seconds": 60})
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE, DAY, MOMENT = timedelta(minutes=1), timedelta(days=1), timedelta(microseconds=1)

Execute = Callable[..., None]

TICK = (
    "INSERT INTO rate_ticks (at, previous_at, previous_nano_usd, nano_usd, target_nano_usd, formula, inputs,"
    " contributions) VALUES (%s, %s, %s, %s, %s, %s, '{}', '[]')"
)


@pytest.fixture
def execute(database: Database) -> Execute:
    """Runs one statement in a transaction, after two ticks: at noon 100,000,000, a minute later 100,400,000."""

    def run(statement: str, *values: object) -> None:
        with database.transaction() as connection:
            connection.execute(statement.encode(), values)

    with database.transaction() as connection:
        tick_store.remember(connection, FORMULA)
        told = Signal("first", SignalKind.COHERENCE, 50 * MICRO, NOON)
        signal_store.insert(connection, "venice", [told])
    run(TICK, NOON, None, None, 100_000_000, 100_000_000, "minutely")
    run(TICK, NOON + MINUTE, NOON, 100_000_000, 100_400_000, 100_000_000, "minutely")
    return run


@pytest.mark.parametrize("table", ["rate_ticks", "rate_formulas", "signals"])
def test_what_was_known_and_made_of_it_is_append_only(execute: Execute, table: str) -> None:
    column = {"rate_ticks": "target_nano_usd", "rate_formulas": "data", "signals": "micro"}[table]
    for statement in (
        f"UPDATE {table} SET {column} = {column}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
    ):
        with pytest.raises(psycopg.errors.IntegrityError, match=f"{table} is append-only"):
            execute(statement)


@pytest.mark.parametrize(
    ("minute", "previous_minute", "previous", "error", "constraint"),
    [
        (2, 0, 100_000_000, "UniqueViolation", "previous_at"),  # a second one that follows the same
        (2, None, None, "UniqueViolation", "previous_at"),  # a second first one
        (-1, None, None, "UniqueViolation", "previous_at"),
        (2, 1, 100_000_000, "ForeignKeyViolation", "previous_at"),  # begins with another rate than was left
        (2, 1, 100_400_001, "ForeignKeyViolation", "previous_at"),
        (3, 2, 100_400_000, "ForeignKeyViolation", "previous_at"),  # follows nothing
        (2, 1, None, "ForeignKeyViolation", "previous_at"),  # knows half of what it follows
        (2, None, 100_400_000, "IntegrityError", "previous_at"),
        (-1, 1, 100_400_000, "CheckViolation", "check"),  # comes before what it follows
        (2, 2, 100_400_000, "CheckViolation", "check"),  # follows itself
        (1, 0, 100_000_000, "UniqueViolation", "rate_ticks"),
    ],
)
def test_there_is_one_chain(
    execute: Execute, minute: int, previous_minute: int | None, previous: int | None, error: str, constraint: str
) -> None:
    before = None if previous_minute is None else NOON + previous_minute * MINUTE
    with pytest.raises(getattr(psycopg.errors, error), match=constraint):
        execute(TICK, NOON + minute * MINUTE, before, previous, 100_400_000, 100_000_000, "minutely")


def test_no_tick_moves_by_more_than_a_tenth(execute: Execute) -> None:
    second = (NOON + 2 * MINUTE, NOON + MINUTE, 100_400_000)
    for nano in (110_440_001, 90_359_999, 0, -100_400_000, 10**17):
        with pytest.raises(psycopg.errors.CheckViolation):
            execute(TICK, *second, nano, 100_000_000, "minutely")
    execute(TICK, *second, 110_440_000, 100_000_000, "minutely")
    execute(TICK, NOON + 3 * MINUTE, NOON + 2 * MINUTE, 110_440_000, 99_396_000, 100_000_000, "minutely")


def test_a_tick_names_a_formula_that_is_kept_and_a_target(execute: Execute) -> None:
    second = (NOON + 2 * MINUTE, NOON + MINUTE, 100_400_000, 100_400_000)
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="formula"):
        execute(TICK, *second, 100_000_000, "unknown")
    with pytest.raises(psycopg.errors.CheckViolation, match="target"):
        execute(TICK, *second, 0, "minutely")


def test_a_report_is_taken_once_from_each_source(database: Database) -> None:
    told = [Signal(f"id{i}", SignalKind.COHERENCE, i * MICRO, NOON) for i in range(3)]
    with database.transaction() as connection:
        assert signal_store.insert(connection, "venice", [*told, told[0]]) == signal_store.Taken(3, 1)
        assert signal_store.insert(connection, "venice", told) == signal_store.Taken(0, 3)
        assert signal_store.insert(connection, "tessere", told[:1]) == signal_store.Taken(1, 0)
    for batch in ([replace(told[0], micro=7)], [told[1], replace(told[1], occurred_at=NOON + MOMENT)]):
        with pytest.raises(InvalidInput, match="was used for another signal"), database.transaction() as connection:
            signal_store.insert(connection, "venice", batch)


# What was sold.


def sold(database: Database, at: datetime | None = None) -> SalesVolume:
    """Up to a moment; by default up to now."""
    with database.transaction() as connection:
        return balances.sold(connection, at or orders.clock(connection))


def book(database: Database, payment: ConfirmedPayment) -> Outcome:
    with database.transaction() as connection:
        return book_payment(connection, payment)


def go_back(database: Database, reversal: Reversal) -> None:
    with database.transaction() as connection:
        assert book_reversal(connection, reversal)


def by_card(database: Database, usd: str) -> ConfirmedPayment:
    order = open_order(database, usd=usd).order
    price = order.quote.price
    return ConfirmedPayment(
        "stripe:pi_1", Rail.CARD, order.id.encode(), price, {"stripe": price.units}, "cus_1", "pi_1"
    )


def test_a_sale_on_every_rail_counts_in_millionths_of_a_dollar(database: Database) -> None:
    assert sold(database) == SalesVolume(0, 0, None)
    assert book(database, confirmed(open_order(database).terms[0])) is Outcome.FULFILLED
    assert sold(database).last_day == 250_000_000  # USDC, six decimals
    assert book(database, confirmed(open_order(database, usd="25.01", token="USDT").terms[0])) is Outcome.FULFILLED
    assert sold(database).last_day == 275_010_000
    assert book(database, by_card(database, "10.99")) is Outcome.FULFILLED  # dollars, two decimals
    assert sold(database).last_day == 286_000_000


def test_what_goes_back_was_not_sold(database: Database) -> None:
    payment, card = confirmed(open_order(database).terms[0]), by_card(database, "10.99")
    book(database, payment)
    book(database, card)
    some = refund(payment, 100_000_001)
    go_back(database, some)
    assert sold(database).last_day == 160_989_999
    go_back(database, came_again(some))
    assert sold(database).last_day == 260_990_000
    go_back(database, refund(payment))
    assert sold(database).last_day == 10_990_000
    go_back(database, refund(card, 98))
    assert sold(database).last_day == 10_010_000


def test_money_in_suspense_is_not_sold(database: Database) -> None:
    terms = open_order(database).terms[0]
    short = confirmed(terms, amount=Money(terms.token, terms.units - 1))
    assert book(database, short) is Outcome.SUSPENSE
    assert sold(database) == SalesVolume(0, 0, None)
    book(database, confirmed(terms))
    assert book(database, confirmed(terms)) is Outcome.SUSPENSE  # paid twice
    go_back(database, refund(short))
    assert sold(database).last_day == 250_000_000


def test_a_sale_is_of_the_last_day_and_then_of_the_week_before(database: Database) -> None:
    book(database, confirmed(open_order(database).terms[0]))
    at = sold(database).first_at
    assert at is not None
    usd = 250_000_000
    assert [sold(database, at + later) for later in (-MOMENT, timedelta(0), DAY - MOMENT)] == [
        SalesVolume(0, 0, None),
        SalesVolume(usd, 0, at),
        SalesVolume(usd, 0, at),
    ]
    assert [sold(database, at + later) for later in (DAY, 8 * DAY - MOMENT, 8 * DAY)] == [
        SalesVolume(0, usd, at),
        SalesVolume(0, usd, at),
        SalesVolume(0, 0, None),
    ]
    with database.transaction() as connection:
        seen = [collect_inputs(connection, at + days * DAY)[Input.VOLUME] for days in (1, 2, 3)]
    # Nothing to compare with; 250 dollars in one day; in two days: 125 in each.
    assert seen == [(Observation(OUR_LEDGER, 0, 0, usual),) for usual in (None, usd, usd // 2)]


# What an order keeps.


@pytest.fixture
def first_tick(database: Database) -> Tick:
    """The first tick, two hours ago, in a city at its best."""
    with database.transaction() as connection:
        at = (orders.clock(connection) - timedelta(hours=2)).replace(second=0, microsecond=0)
        connection.execute(
            "INSERT INTO signals (source, sender_id, kind, micro, occurred_at, received_at)"
            " VALUES ('venice', 'best', 'consciousness', 10000000, %(at)s, %(at)s)",
            {"at": at},
        )
        inputs = collect_inputs(connection, at)
        tick = Tick(at, None, FORMULA.version, inputs, next_rate(FORMULA, None, inputs))
        tick_store.remember(connection, FORMULA)
        assert tick_store.insert(connection, tick)
    return tick


def keep(database: Database) -> list[Tick]:
    with database.transaction() as connection:
        return write_due_ticks(connection, FORMULA)


def test_before_the_first_tick_ducats_cost_what_they_cost_at_the_start(database: Database) -> None:
    order = open_order(database).order
    assert (order.quote.tick, order.quote.rate) == (None, START)
    with database.transaction() as connection:
        assert orders.by_id(connection, order.id) == order


def test_an_order_keeps_its_quote_whatever_happens_to_the_rate(database: Database, first_tick: Tick) -> None:
    package, custom = open_order(database), open_order(database, usd="100", citizen="Niccolo")
    for view in (package, custom):
        assert (view.order.quote.tick, view.order.quote.rate) == (first_tick.at, Rate(100_000_000))
    ticks = keep(database)
    assert len(ticks) >= 120
    with database.transaction() as connection:
        assert tick_store.current(connection) == (ticks[-1].at, ticks[-1].rate)
        assert ticks[-1].rate > Rate(150_000_000)
        for view in (package, custom):
            assert orders.by_id(connection, view.order.id) == view.order
            assert orders.chain_terms(connection, view.order.id) == view.terms
    later = open_order(database, usd="100").order.quote
    assert (later.tick, later.rate) == (ticks[-1].at, ticks[-1].rate)
    assert later.ducats == ticks[-1].rate.ducats_for(later.price) < custom.order.quote.ducats
    # Paid now, at the price of then, for the ducats of then.
    for view in (package, custom):
        assert book(database, confirmed(view.terms[0])) is Outcome.FULFILLED
    assert balance_of(database, "citizen:Marco_Polo") == 2_750_000_000
    assert balance_of(database, "citizen:Niccolo") == 1_075_000_000  # with the bonus rate that 100 dollars reach
    assert replay(database, None, None) == ReplayResult(1 + len(ticks))


@pytest.mark.parametrize(
    "change",
    [
        "price_cents = price_cents - 1",
        "ducat_units = ducat_units + 1",
        "bonus_units = bonus_units + 1",
        "rate_nano_usd = rate_nano_usd - 1",
        "rate_tick = NULL",
        "package = 'noble'",
        "citizen_id = 'Niccolo'",
        "expiry_due = NULL, price_cents = 1",
    ],
)
def test_the_database_holds_a_quote(database: Database, first_tick: Tick, change: str) -> None:
    order = open_order(database).order
    with pytest.raises(psycopg.errors.IntegrityError, match=f"order {order.id}"):  # noqa: SIM117 - it is the change
        with database.transaction() as connection:
            connection.execute(f"UPDATE orders SET {change}".encode())
    with database.transaction() as connection:
        connection.execute("UPDATE orders SET expiry_due = expiry_due + interval '1 hour'")
        orders.forget_expiry(connection, order.id)
        assert orders.by_id(connection, order.id) == order


def test_an_order_names_no_rate_that_its_tick_does_not_have(database: Database, first_tick: Tick) -> None:
    order = open_order(database).order
    for tick, rate in ((first_tick.at, Rate(99_999_999)), (first_tick.at + MINUTE, first_tick.rate)):
        other = replace(
            order,
            id="ord_" + "a" * 26,
            link_token="x" * 22,
            quote=replace(order.quote, tick=tick, rate=rate),
        )
        with pytest.raises(psycopg.errors.ForeignKeyViolation, match="rate_tick"), database.transaction() as connection:
            orders.insert(connection, other)
