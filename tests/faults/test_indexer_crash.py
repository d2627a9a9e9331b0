"""The indexer is killed (SIGKILL) before each of its commits, and restarted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from cascade.chains import Deployment
from cascade.db.database import Database
from sandbox.polygon import LocalPolygon
from tests.faults.chain_rail import (
    assert_booked_once,
    assert_given_back_once,
    give_back,
    indexer,
    is_booked,
    pay_orders,
)
from tests.faults.databases import copy_of
from tests.faults.dying_indexer import spawn


def test_killed_before_any_commit_and_restarted_it_books_once(
    polygon: LocalPolygon, deployment: Path, database_url: str, database: Database
) -> None:
    router = Deployment.load(deployment)
    paid = pay_orders(polygon, database, router, count=3)
    database.close()  # PostgreSQL copies only a database that nobody uses
    killed = kill_before_each_commit(polygon, router, database_url, check=lambda copy: assert_booked_once(copy, paid))
    assert killed >= 8  # it was killed inside bookings, not only before them


def test_killed_before_any_commit_and_restarted_it_books_a_refund_once(
    polygon: LocalPolygon, deployment: Path, database_url: str, database: Database
) -> None:
    router = Deployment.load(deployment)
    paid = pay_orders(polygon, database, router, count=1)
    with indexer(database, router, polygon.rpc_url, lease_seconds=0.01) as worker:
        while worker.step():
            pass
    give_back(polygon, router, paid)
    database.close()
    killed = kill_before_each_commit(
        polygon, router, database_url, check=lambda copy: assert_given_back_once(copy, paid)
    )
    assert killed >= 4


def kill_before_each_commit(
    polygon: LocalPolygon, router: Deployment, database_url: str, *, check: Callable[[Database], None]
) -> int:
    """Kills an indexer before its first commit, another one before its second, and so on, each on a copy of the
    database; restarts each and checks what is booked then. Returns how many were killed."""
    killed, finished = 0, False
    while not finished:
        with copy_of(database_url) as url:
            first = spawn(url, router, polygon, killed + 1, signal.SIGKILL)
            first.join(60)
            assert first.exitcode in (0, -signal.SIGKILL)
            finished = first.exitcode == 0  # it had less to say than that
            killed += not finished
            again = spawn(url, router, polygon, None, 0)
            again.join(60)
            assert again.exitcode == 0
            copy = Database(url, connections=1)
            copy.open()
            check(copy)
            copy.close()
    return killed


def test_a_leader_that_was_stopped_inside_a_booking_is_refused_when_it_wakes(
    polygon: LocalPolygon, deployment: Path, database_url: str, database: Database
) -> None:
    router = Deployment.load(deployment)
    paid = pay_orders(polygon, database, router, count=2)
    sleeper = spawn(database_url, router, polygon, 40, signal.SIGSTOP, every=True)  # in the midst of a booking
    try:
        assert sleeper.pid is not None
        _await_stopped(sleeper.pid)
        with indexer(database, router, polygon.rpc_url, lease_seconds=0.01) as successor:
            deadline = time.monotonic() + 30
            while not is_booked(database, paid) and time.monotonic() < deadline:
                successor.step()  # waits until the database ends the sleeper's transaction
        assert_booked_once(database, paid)
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join(60)
        assert sleeper.exitcode == 1  # its transaction is gone
    finally:
        sleeper.kill()  # asleep it would keep this run from ending
    assert_booked_once(database, paid)


def _await_stopped(pid: int) -> None:
    while True:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state in "Tt":
            return
