"""The database's clock jumps ahead and comes back: the rate does not follow it, and nothing sleeps until then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.resources import files

import pytest

from cascade.db import checkpoints, orders, outbox, relay_transactions, stripe_inbox
from cascade.db.database import Conn, Database
from cascade.domain.delivery_states import MESSAGE
from cascade.errors import ClockFault
from cascade.rate import tick_store
from cascade.rate.parameters import Formula
from cascade.rate.quotation import current_quotation
from cascade.rate.tick_service import TICKS_AT_ONCE, collect_inputs, replay, write_due_ticks
from cascade.rate.tick_worker import TickWorker
from tests.support.purchases import open_order

FORMULA = Formula.from_toml((files("cascade") / "formula.toml").read_text())
YEAR, DAY = timedelta(days=365), timedelta(days=1)

Jump = Callable[[timedelta], None]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Let the database's clock say something else from now on."""
    genuine = orders.clock

    def to(ahead: timedelta) -> None:
        def clock(connection: Conn) -> datetime:
            return genuine(connection) + ahead

        monkeypatch.setattr(orders, "clock", clock)

    return to


def ticks(database: Database) -> int:
    with database.transaction() as connection:
        return tick_store.count(connection, None, None)


def keep(database: Database) -> int:
    with database.transaction() as connection:
        return len(write_due_ticks(connection, FORMULA))


@pytest.mark.parametrize("ahead", [YEAR, DAY, -DAY])
def test_no_tick_is_written_by_a_clock_that_has_jumped(database: Database, jump: Jump, ahead: timedelta) -> None:
    keeper = TickWorker(database, FORMULA)
    assert keeper.keep_once() == 1
    jump(ahead)
    for _ in range(3):
        with pytest.raises(ClockFault, match="set the wrong one right"):
            keeper.keep_once()
    assert ticks(database) == 1
    jump(timedelta(0))
    keeper.keep_once()


def test_a_tick_of_the_future_is_an_alarm_and_is_not_followed(database: Database, jump: Jump) -> None:
    assert keep(database) == 1
    with database.transaction() as connection:
        before = tick_store.current(connection)
    jump(DAY)
    assert keep(database) > 200
    jump(timedelta(0))
    with database.transaction() as connection:
        latest, current = tick_store.latest(connection), tick_store.current(connection)
        assert before is not None
        assert latest is not None
        assert current is not None
        assert latest.at == current[0] == current_quotation(connection, FORMULA).tick.at  # type: ignore[union-attr]
        assert latest.at <= before[0] + timedelta(hours=1, seconds=FORMULA.tick_seconds)
    with pytest.raises(ClockFault, match="it was ahead when the tick was written"):
        keep(database)


def test_after_a_year_only_the_newest_ticks_are_written(database: Database, jump: Jump) -> None:
    jump(-YEAR)
    assert keep(database) == 1
    jump(timedelta(0))
    assert keep(database) == TICKS_AT_ONCE
    assert keep(database) <= 1
    assert ticks(database) <= TICKS_AT_ONCE + 2
    assert replay(database, None, None).broken is None


def test_after_a_week_all_ticks_are_written(database: Database, jump: Jump) -> None:
    jump(timedelta(days=-2))
    keep(database)
    jump(timedelta(0))
    while keep(database):
        pass
    assert ticks(database) >= 2 * 86_400 // FORMULA.tick_seconds


def test_what_was_postponed_by_a_clock_that_was_ahead_is_due(database: Database) -> None:
    order = open_order(database).order
    with database.transaction() as connection:
        outbox.enqueue(connection, MESSAGE, order.citizen_id, order.id, "evt_x", {})
        connection.execute("UPDATE outbox SET due_at = now() + interval '26 hours'")
        connection.execute(
            "INSERT INTO stripe_events (event_id, type, created_at, object_id, intent_id, due_at)"
            " VALUES ('evt_1', 'charge.refunded', now(), 'ch_1', 'pi_1', now() + interval '1 day')"
        )
    with database.transaction() as connection:
        assert outbox.QUEUE.due(connection) == [MESSAGE]
        assert len(outbox.QUEUE.claim(connection, MESSAGE, limit=10, seconds=60)) == 1
        assert list(stripe_inbox.claim(connection, limit=10, seconds=60)) == ["pi_1"]
    with database.transaction() as connection:  # and what is claimed now waits
        assert outbox.QUEUE.due(connection) == []
        assert stripe_inbox.claim(connection, limit=10, seconds=60) == {}


def test_a_pause_of_an_hour_is_kept(database: Database) -> None:
    order = open_order(database).order
    with database.transaction() as connection:
        outbox.enqueue(connection, MESSAGE, order.citizen_id, order.id, "evt_x", {})
        connection.execute("UPDATE outbox SET due_at = now() + interval '1 hour'")
        assert outbox.QUEUE.due(connection) == []


def test_leases_that_were_taken_by_a_clock_that_was_ahead_are_free(database: Database) -> None:
    with database.transaction() as connection:
        checkpoints.start(connection, "s", 1, b"\1" * 32, 0)
        assert checkpoints.lease(connection, "s", "dead", 60) is not None
        assert relay_transactions.lease(connection, 137, "0x1", "dead", 60) is not None
        assert checkpoints.lease(connection, "s", "me", 60) is None
        assert relay_transactions.lease(connection, 137, "0x1", "me", 60) is None
        for table in ("chain_cursors", "relay_senders"):
            connection.execute(f"UPDATE {table} SET leased_until = now() + interval '1 year'".encode())
        assert checkpoints.lease(connection, "s", "me", 60) is not None
        assert relay_transactions.lease(connection, 137, "0x1", "me", 60) is not None


def test_numbers_that_are_too_large_are_bounded_where_they_are_read(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO signals (source, sender_id, kind, micro, occurred_at) SELECT 's', n::text, 'recognition',"
            " 9223372036854775807, now() - n * interval '10 minutes' FROM generate_series(1, 30) n"
        )
        inputs = collect_inputs(connection, orders.clock(connection) + timedelta(minutes=1))
    assert all(one.now_micro <= 10**15 for seen in inputs.values() for one in seen)
    assert keep(database) == 1
