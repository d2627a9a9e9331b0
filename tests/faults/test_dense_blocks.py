"""Blocks full of payments: no booking transaction is large or long, others write in between, and a stop is heeded."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from cascade.adapters.chain.log_reader import Block, LogRange, Node
from cascade.chains import Deployment
from cascade.db import balances, ledger, payments
from cascade.db.checkpoints import Cursor
from cascade.db.database import Conn, Database
from cascade.domain.payments import ConfirmedPayment, Outcome, PaidEvent
from cascade.services.booking import book_payment
from cascade.workers import chunk_sizing
from cascade.workers import indexer as module
from cascade.workers.chunk_sizing import EVENTS_A_READ, checkpoint_after, next_range, piece_end
from cascade.workers.indexer import Indexer
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.rpc import Rpc, calldata
from tests.faults.chain_rail import indexer
from tests.support.purchases import balance_of

PAYER = 3
UNITS = 20_000
SMALL = 6
"""Events that a transaction books in most of these tests; the real bound would need thousands of payments."""
DENSITIES = (4, 4, 1, 17, 3, 0, 6, 6)
"""Payments in each block: one has more than a transaction may book."""
ALL = sum(DENSITIES)

PAY_SELECTOR = "0x" + keccak(text="pay((address,uint256,uint64,bytes32))")[:4].hex()
_salts = itertools.count(1)


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_sizing, "EVENTS_AT_ONCE", SMALL)


@pytest.fixture
def dense(polygon: LocalPolygon, router: Deployment) -> None:
    """Blocks with so many payments each, of orders that nobody here knows, all final."""
    usdc = TOKENS["USDC"].address
    rpc = Rpc(polygon.rpc_url)
    payer = polygon.accounts[PAYER]
    polygon.mint("USDC", payer, UNITS * ALL)
    rpc.receipt(rpc.submit(payer, usdc, calldata("approve(address,uint256)", router.router, 2**256 - 1)))
    polygon.rpc("evm_setAutomine", False)
    for density in DENSITIES:
        for _ in range(density):
            order = (usdc, UNITS, 2**40, next(_salts).to_bytes(32))
            data = PAY_SELECTOR + encode(["(address,uint256,uint64,bytes32)"], [order]).hex()
            polygon.rpc("eth_sendTransaction", {"from": payer, "to": router.router, "data": data, "gas": hex(200_000)})
        polygon.mine(1)
    polygon.rpc("evm_setAutomine", True)
    polygon.mine(3)
    rpc.close()


def events_a_transaction(database: Database) -> list[int]:
    """How many payments each transaction of the database has booked, in their order."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT count(*) AS events FROM payments p JOIN ledger.transactions t USING (reference)"
            " GROUP BY t.written_by ORDER BY min(t.id)"
        ).fetchall()
    return [row["events"] for row in rows]


def checkpoint(database: Database) -> tuple[int, int]:
    """Height and number of the last payment."""
    with database.transaction() as connection:
        row = connection.execute("SELECT height, last_seq FROM chain_cursors").fetchone()
    assert row is not None
    return row["height"], row["last_seq"]


def assert_all_booked(database: Database, expected: int = ALL) -> None:
    with database.transaction() as connection:
        assert len(payments.in_suspense(connection, limit=1000)) == expected
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []
        logs = connection.execute("SELECT count(*) AS count, max(seq) AS last FROM chain_logs").fetchone()
    assert logs is not None
    assert logs["count"] == logs["last"] == expected == checkpoint(database)[1]


@pytest.mark.usefixtures("small", "dense")
def test_no_transaction_books_more_than_its_bound(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    with indexer(database, router, polygon.rpc_url) as worker:
        while worker.step():
            pass
    assert_all_booked(database)
    # At block borders where one is within reach; the block of 17 in parts.
    assert events_a_transaction(database) == [4, 5, 6, 6, 5, 3, 6, 6]
    assert balance_of(database, "suspense", "USDC") == UNITS * ALL


@pytest.mark.usefixtures("small", "dense")
@pytest.mark.parametrize("stops_after", range(1, 8))
def test_wherever_it_is_stopped_the_next_one_goes_on(
    polygon: LocalPolygon, database: Database, router: Deployment, stops_after: int
) -> None:
    with indexer(database, router, polygon.rpc_url, lease_seconds=0.01) as worker:
        book, stop = worker._book_piece, threading.Event()
        booked = itertools.count(1)

        def stopping(cursor: Cursor, log_range: LogRange, done: int) -> tuple[Cursor, int]:
            result = book(cursor, log_range, done)
            if next(booked) == stops_after:
                stop.set()
            return result

        worker._book_piece = stopping  # type: ignore[method-assign]
        worker.run(stop)
    assert len(events_a_transaction(database)) == stops_after
    with indexer(database, router, polygon.rpc_url) as successor:
        while successor.step():
            pass
    assert_all_booked(database)


@pytest.mark.usefixtures("small", "dense")
def test_another_writer_of_the_ledger_gets_in_between(
    polygon: LocalPolygon, database: Database, router: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    asked, go = threading.Event(), threading.Event()

    def write() -> None:
        go.wait(30)
        with database.transaction() as connection:
            asked.set()
            ledger.lock(connection)
            row = connection.execute("SELECT count(*) AS booked FROM payments").fetchone()
            assert row is not None
            seen.append(row["booked"])

    other = threading.Thread(target=write)
    other.start()

    def interrupted(connection: Conn, payment: ConfirmedPayment) -> Outcome:
        result = book_payment(connection, payment)
        if not go.is_set():  # inside the first transaction, which has the ledger
            go.set()
            asked.wait(30)
            wait_for_a_waiter(database)
        return result

    monkeypatch.setattr(module, "book_payment", interrupted)
    with indexer(database, router, polygon.rpc_url) as worker:
        while worker.step():
            pass
    other.join(30)
    assert seen == [4]
    assert_all_booked(database)


def wait_for_a_waiter(database: Database) -> None:
    """Return when somebody waits for the ledger's lock."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with database.transaction() as connection:
            waits = connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if waits.fetchone() is not None:
                return
    raise AssertionError("nobody waits")


@pytest.mark.usefixtures("small", "dense")
def test_a_slow_database_gets_smaller_transactions(
    polygon: LocalPolygon, database: Database, router: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_sizing, "SECONDS_AT_ONCE", 0.0)  # everything takes too long
    with indexer(database, router, polygon.rpc_url) as worker:
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=[stop])
        thread.start()
        until = time.monotonic() + 60
        while len(events_a_transaction(database)) < ALL and time.monotonic() < until:
            time.sleep(0.05)
        stop.set()
        thread.join()
    assert events_a_transaction(database) == [1] * ALL
    assert_all_booked(database)


@pytest.mark.usefixtures("small", "dense")
def test_a_second_look_books_in_bounded_transactions_too(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    node = Node(polygon.rpc_url)
    final, _ = node.tips()
    node.close()
    with database.transaction() as connection:  # everything was hidden
        connection.execute(
            "INSERT INTO chain_cursors (stream, height, hash, finalized_height, finalized_at)"
            " VALUES (%s, %s, %s, %s, now())",
            (f"chain:137:{router.router}", final.number, final.hash, final.number),
        )
    with indexer(database, router, polygon.rpc_url) as worker:
        assert len(worker.rescan(0)) == ALL
    assert max(events_a_transaction(database)) <= SMALL


def paid(block: int, seq: int) -> PaidEvent:
    hashed = block.to_bytes(32)
    return PaidEvent(block, seq, hashed, hashed, hashed, "0x", "0x", 1, 0, seq)


@pytest.mark.parametrize("size", range(1, 9))
def test_pieces_cover_every_event_once_and_move_the_checkpoint_to_complete_blocks(size: int) -> None:
    blocks = [block for block, density in enumerate(DENSITIES, 10) for _ in range(density)]
    events = tuple(paid(block, seq) for seq, block in enumerate(blocks, 1))
    stretch = LogRange(Block(30, b"\x1e" * 32, 0), events)
    cursor, done = Cursor("s", 9, b"\x09" * 32, 0, 1), 0
    while done < len(events):
        upto = piece_end(events, done, size)
        assert done < upto <= done + size
        cursor = checkpoint_after(cursor, stretch, upto)
        complete = [event for event in events if event.block_number <= cursor.height]
        assert len(complete) <= upto
        assert cursor.last_seq == len(complete)
        done = upto
    assert (cursor.height, cursor.hash, cursor.last_seq) == (30, b"\x1e" * 32, len(events))


def test_ranges_grow_where_little_is_told_and_shrink_where_much_is() -> None:
    assert next_range(100, 2000, blocks=100, events=0) == 200
    assert next_range(1500, 2000, blocks=1500, events=3) == 2000
    assert next_range(100, 2000, blocks=100, events=50 * 100) == EVENTS_A_READ // 50
    assert next_range(40, 2000, blocks=40, events=50 * 40) == 40
    assert next_range(100, 2000, blocks=1, events=10**6) == 1
    assert next_range(8, 2000, blocks=1, events=2) == 16  # at the head


def test_the_first_range_is_a_short_one(database: Database, router: Deployment, polygon: LocalPolygon) -> None:
    with indexer(database, router, polygon.rpc_url) as worker:
        assert isinstance(worker, Indexer)
        assert worker._range == chunk_sizing.FIRST_RANGE_BLOCKS
