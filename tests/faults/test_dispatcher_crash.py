"""A credit sender or a dispatcher is killed before each of its commits and each request that changes something."""

from __future__ import annotations

import signal

import pytest

from cascade.db import balances
from cascade.db.database import Database
from cascade.services.booking import book_payment
from sandbox.venice import VeniceDouble
from tests.faults.databases import copy_of
from tests.faults.dying_dispatcher import spawn
from tests.support.delivery import DispatcherConfig, dispatching, make_due, rows, told, until
from tests.support.purchases import confirmed, open_order


@pytest.mark.parametrize(("dying", "least"), [("credit sender", 6), ("dispatcher", 4)])
def test_killed_before_any_step_and_started_again_it_credits_once(
    database: Database, database_url: str, dying: str, least: int
) -> None:
    view = open_order(database, package="explorer")
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))
    killed, finished = 0, False
    while not finished:
        with copy_of(database_url) as url, VeniceDouble.start() as venice:
            wishes = DispatcherConfig(venice_url=venice.url, settle_seconds=0.1)
            if dying == "dispatcher":  # it has something to deliver only once the credit is confirmed
                _send_credits(url, wishes)
            first = spawn(url, wishes, killed + 1, signal.SIGKILL, only=dying)
            first.join(60)
            assert first.exitcode in (0, -signal.SIGKILL)
            finished = first.exitcode == 0  # it had less to say than that
            killed += not finished
            _deliver_and_check(url, wishes, venice)
    assert killed >= least  # it was killed inside its work, not only before it


def _send_credits(url: str, wishes: DispatcherConfig) -> None:
    database = Database(url, connections=5)
    database.open()
    with dispatching(database, wishes, only="credit sender"):
        until(lambda: not rows(database, "pending", "venice"))
    database.close()


def _deliver_and_check(url: str, wishes: DispatcherConfig, venice: VeniceDouble) -> None:
    database = Database(url, connections=1)
    database.open()
    try:
        make_due(database)
        again = spawn(url, wishes, None, 0)
        again.join(60)
        assert again.exitcode == 0
        assert len(venice.control.transfers()) == 1
        assert venice.control.balance("Marco_Polo") == 525
        assert [notice["type"] for notice in told(database)] == ["order.fulfilled"]
        assert {row["state"] for row in rows(database)} == {"delivered"}
        with database.transaction() as connection:
            assert balances.ducats_in_venice(connection, "Marco_Polo").units == 525_000_000
            assert not any(balances.totals(connection).values())
    finally:
        database.close()
