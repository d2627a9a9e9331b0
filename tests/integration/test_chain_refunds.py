"""What the Safe gives back through the router is booked without anybody typing a hash: real tokens, the real router."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from psycopg.errors import IntegrityError

from cascade.adapters.chain.router_logs import payment_calls
from cascade.chains import Deployment
from cascade.cli import cli
from cascade.db import balances, checkpoints, ledger, payments, reversals
from cascade.db.database import Database
from cascade.domain.money import DUCAT, USDC, Money
from cascade.domain.orders import OrderStatus
from cascade.domain.payments import Outcome, Rail, RefundedEvent
from cascade.domain.postings import Kind, Posting, Transaction
from cascade.domain.reversals import Refund
from cascade.errors import LedgerConflict
from cascade.services.booking import book_payment, book_refund
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.rpc import Rpc, calldata
from sandbox.wallet import Wallet
from tests.faults.chain_rail import collect, follow, indexer, refund
from tests.support.concurrency import run_concurrently
from tests.support.purchases import CATALOGUE, balance_of, confirmed, open_order, pay

PRICE = 250_000_000
DUCATS = 2_750_000_000


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def view(polygon: LocalPolygon, database: Database, router: Deployment) -> OrderView:
    """An order that is paid."""
    view = open_order(database, router)
    pay(polygon, view.terms[0])
    return view


def key_of(view: OrderView) -> bytes:
    return view.terms[0].on_chain_order_id


def outcomes(database: Database, view: OrderView) -> list[Outcome]:
    with database.transaction() as connection:
        return [payment.outcome for payment in payments.of_order(connection, view.order.id)]


def told(database: Database, view: OrderView, kind: str) -> list[dict[str, str]]:
    with database.transaction() as connection:
        query = "SELECT data FROM order_events WHERE order_id = %s AND type = %s ORDER BY number"
        return [row["data"] for row in connection.execute(query, (view.order.id, kind)).fetchall()]


def check_books(database: Database) -> None:
    with database.transaction() as connection:
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []


def test_a_whole_refund_takes_the_ducats_back(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    refund(polygon, router, key_of(view), "USDC", PRICE)
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.REVERSED]
    assert balance_of(database, "citizen:Marco_Polo") == 0
    # The treasury alone paid it: the partner keeps the half that it got.
    assert balance_of(database, "treasury", "USDC") == PRICE // 2
    assert balance_of(database, "partner", "USDC") == -PRICE // 2
    assert balance_of(database, "sales", "USDC") == 0
    (event,) = told(database, view, "payment.refunded")
    assert (event["amount"], event["token"], event["ducats_taken"]) == ("250", "USDC", "2750")
    assert len(told(database, view, "order.reversed")) == 1
    with database.transaction() as connection:
        assert Checkout(CATALOGUE, router, 15).view(connection, view.order).status is OrderStatus.REVERSED
        (booked,) = reversals.refunds(connection)
        log = connection.execute("SELECT * FROM chain_refund_logs").fetchone()
        messages = connection.execute("SELECT FROM outbox WHERE destination = 'message'").rowcount
    assert log is not None
    assert booked.refund.reference == f"chain:137:{log['block_number']}:{log['log_index']}"
    assert (booked.order_id, booked.unmatched.units) == (view.order.id, 0)
    assert booked.refund.recipient == polygon.accounts[1]
    assert messages > 0
    check_books(database)


def test_parts_take_their_share_and_what_was_spent_is_owed(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    follow(polygon, database, router)
    spent = Posting("citizen:Marco_Polo", "ducats:sold", Money(DUCAT, DUCATS - 100_000_000))
    with database.transaction() as connection:
        ledger.post(connection, Transaction("spent", Kind.SALE, (spent,)))
    for units in (PRICE // 4, PRICE // 4):
        refund(polygon, router, key_of(view), "USDC", units)
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.FULFILLED]
    assert balance_of(database, "citizen:Marco_Polo") == 0
    with database.transaction() as connection:
        (debt,) = reversals.receivables(connection)
    assert debt.owed.units == DUCATS // 2 - 100_000_000
    check_books(database)


def test_what_was_paid_twice_goes_back_before_what_gave_ducats(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    collect(polygon, router, key_of(view), "USDC", PRICE)
    refund(polygon, router, key_of(view), "USDC", PRICE)
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.FULFILLED, Outcome.REVERSED]
    assert balance_of(database, "citizen:Marco_Polo") == DUCATS
    assert balance_of(database, "suspense", "USDC") == 0
    refund(polygon, router, key_of(view), "USDC", PRICE)
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.REVERSED, Outcome.REVERSED]
    assert balance_of(database, "citizen:Marco_Polo") == 0
    check_books(database)


def test_one_refund_may_give_back_several_payments(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    collect(polygon, router, key_of(view), "USDC", 7_000_000)
    refund(polygon, router, key_of(view), "USDC", PRICE + 7_000_000)
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.REVERSED, Outcome.REVERSED]
    assert len(told(database, view, "payment.refunded")) == 2
    assert balance_of(database, "refunds:unmatched", "USDC") == 0
    assert balance_of(database, "citizen:Marco_Polo") == 0


def test_what_was_paid_under_the_orders_other_id_is_found(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    with database.transaction() as connection:
        other = Checkout(CATALOGUE, router, 15).terms(connection, view.order, "USDT")
    pay(polygon, other)
    refund(polygon, router, key_of(view), "USDT", PRICE)  # the operator named the first id
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.FULFILLED, Outcome.REVERSED]
    assert balance_of(database, "citizen:Marco_Polo") == DUCATS


def test_the_other_stablecoin_stands_for_the_one_that_was_paid(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    refund(polygon, router, key_of(view), "USDT", PRICE)
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.REVERSED]
    assert balance_of(database, "citizen:Marco_Polo") == 0
    assert balance_of(database, "treasury", "USDC") == -PRICE // 2  # as it came
    assert balance_of(database, "treasury", "USDT") == PRICE  # what left
    assert (balance_of(database, "exchange", "USDC"), balance_of(database, "exchange", "USDT")) == (PRICE, -PRICE)
    (event,) = told(database, view, "payment.refunded")
    assert (event["amount"], event["token"]) == ("250", "USDT")
    check_books(database)


@pytest.fixture
def command_line(
    polygon: LocalPolygon, database_url: str, deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> CliRunner:
    for name, value in (
        ("DATABASE_URL", database_url),
        ("CASCADE_RPC_URL", polygon.rpc_url),
        ("CASCADE_DEPLOYMENT", str(deployment)),
    ):
        monkeypatch.setenv(name, value)
    return CliRunner(env={"COLUMNS": "1000"})


def test_more_than_was_paid_waits_for_an_operator_and_stops_nothing(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView, command_line: CliRunner
) -> None:
    refund(polygon, router, key_of(view), "USDC", PRICE + 5_000_000)
    later = open_order(database, router, citizen="Niccolo")
    pay(polygon, later.terms[0])
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.REVERSED]
    assert outcomes(database, later) == [Outcome.FULFILLED]
    assert balance_of(database, "refunds:unmatched", "USDC") == -5_000_000  # a debit
    shown = command_line.invoke(cli, "suspense").output
    assert "5.000000 USDC" in shown
    assert "find out in the Safe who sent it" in shown
    assert view.order.id in command_line.invoke(cli, "refunds").output
    check_books(database)


def test_under_an_unknown_id_it_waits_for_an_operator(
    polygon: LocalPolygon, database: Database, router: Deployment, command_line: CliRunner
) -> None:
    assert "Nothing was refunded" in command_line.invoke(cli, "refunds").output
    refund(polygon, router, b"\7" * 32, "USDT", 9_000_000)
    follow(polygon, database, router)
    assert balance_of(database, "refunds:unmatched", "USDT") == -9_000_000
    assert balance_of(database, "treasury", "USDT") == 9_000_000
    shown = command_line.invoke(cli, "suspense").output
    assert "9.000000 USDT" in shown
    assert "0x" + "07" * 32 in shown
    check_books(database)


def test_what_nobody_ordered_is_found_by_the_id_under_which_it_came(
    polygon: LocalPolygon, database: Database, router: Deployment, command_line: CliRunner
) -> None:
    collect(polygon, router, b"\7" * 32, "USDT", 9_000_000)
    refund(polygon, router, b"\7" * 32, "USDT", 9_000_000)
    follow(polygon, database, router)
    assert balance_of(database, "suspense", "USDT") == 0
    assert balance_of(database, "refunds:unmatched", "USDT") == 0
    assert command_line.invoke(cli, "suspense").output == "Nothing is in suspense.\n"


def test_a_payment_by_card_does_not_go_back_on_chain(database: Database, router: Deployment) -> None:
    view = open_order(database, router)
    by_card = replace(
        confirmed(view.terms[0], reference="stripe:pi_1"),
        rail=Rail.CARD,
        order_key=view.order.id.encode(),
        received=Money(view.order.quote.price.asset, view.order.quote.price.units),
        landed={"stripe": view.order.quote.price.units},
    )
    with database.transaction() as connection:
        assert book_payment(connection, by_card) is Outcome.FULFILLED
        rest = book_refund(connection, Refund("chain:137:5:5", key_of(view), Money(USDC, PRICE), "0xto", "0xhash"))
    assert rest.units == PRICE
    assert outcomes(database, view) == [Outcome.FULFILLED]


def test_in_one_block_what_came_first_is_booked_first(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    view = open_order(database, router)
    terms, rpc = view.terms[0], Rpc(polygon.rpc_url)
    usdc = TOKENS["USDC"].address
    polygon.mint("USDC", polygon.accounts[1], PRICE)
    polygon.mint("USDC", router.treasury, PRICE)
    wallet = Wallet(polygon.rpc_url, polygon.keys[1])
    approve, call = payment_calls(terms)
    wallet.receipt(wallet.send(approve.to, approve.data))
    rpc.receipt(rpc.submit_as(router.treasury, usdc, calldata("approve(address,uint256)", router.router, PRICE)))
    back = calldata("refund(bytes32,address,address,uint256)", key_of(view), usdc, wallet.address, PRICE)
    polygon.rpc("evm_setAutomine", False)
    try:
        sent = wallet.send(call.to, call.data)
        polygon.rpc("anvil_impersonateAccount", router.treasury)
        cheaper = {"from": router.treasury, "to": router.router, "data": "0x" + back.hex(), "gas": hex(10**6)}
        base_fee = int(polygon.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        fees = {"maxPriorityFeePerGas": "0x1", "maxFeePerGas": hex(2 * base_fee + 1)}  # mined after the payment
        refunded = polygon.rpc("eth_sendTransaction", cheaper | fees)
        polygon.mine(1)
    finally:
        polygon.rpc("evm_setAutomine", True)
    places = [(r["blockNumber"], r["transactionIndex"]) for r in (rpc.receipt(sent), rpc.receipt(refunded))]
    assert places[0][0] == places[1][0]
    assert places[0] < places[1]
    wallet.close()
    rpc.close()
    follow(polygon, database, router)
    assert outcomes(database, view) == [Outcome.REVERSED]
    assert balance_of(database, "refunds:unmatched", "USDC") == 0


def booked_refund(database: Database, view: OrderView) -> Refund:
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))
    return Refund("chain:137:99999:7", key_of(view), Money(USDC, PRICE // 2), "0xto", "0xhash")


def test_the_same_refund_again_changes_nothing(database: Database) -> None:
    view = open_order(database)
    back = booked_refund(database, view)

    def book(_: int) -> int:
        with database.transaction() as connection:
            return book_refund(connection, back).units

    assert run_concurrently(6, book) == [0] * 6
    assert balance_of(database, "citizen:Marco_Polo") == DUCATS // 2
    too_much = replace(back, reference="chain:137:99999:8", amount=Money(USDC, PRICE))
    for _ in range(2):
        with database.transaction() as connection:
            assert book_refund(connection, too_much).units == PRICE // 2
    assert balance_of(database, "refunds:unmatched", "USDC") == -PRICE // 2


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": Money(USDC, 1)},
        {"order_key": b"\2" * 32},
        {"recipient": "0xother"},
        {"transaction": "0xother"},
    ],
)
def test_a_refund_with_other_contents_is_refused(database: Database, changes: dict[str, Any]) -> None:
    back = booked_refund(database, open_order(database))
    with database.transaction() as connection:
        book_refund(connection, back)
    with pytest.raises(LedgerConflict, match="compare the evidence"), database.transaction() as connection:
        book_refund(connection, replace(back, **changes))


def test_refunds_of_one_order_at_the_same_time_add_up(database: Database) -> None:
    back = booked_refund(database, open_order(database))

    def book(i: int) -> int:
        part = replace(back, reference=f"chain:137:5:{i}", amount=Money(USDC, PRICE // 5))
        with database.transaction() as connection:
            return book_refund(connection, part).units

    assert sum(run_concurrently(10, book)) == PRICE
    assert balance_of(database, "citizen:Marco_Polo") == 0


def test_refunds_of_a_strangers_payment_at_the_same_time_add_up(database: Database) -> None:
    stranger = replace(confirmed(open_order(database).terms[0]), order_key=b"\7" * 32)  # no order's lock to wait at
    with database.transaction() as connection:
        assert book_payment(connection, stranger) is Outcome.SUSPENSE

    def book(i: int) -> int:
        part = Refund(f"chain:137:6:{i}", stranger.order_key, Money(USDC, PRICE // 5), "0xto", "0xhash")
        with database.transaction() as connection:
            return book_refund(connection, part).units

    assert sum(run_concurrently(10, book)) == PRICE
    assert balance_of(database, "suspense", "USDC") == 0


@pytest.mark.parametrize("change", ["UPDATE {} SET units = 1", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["refunds", "chain_refund_logs"])
def test_what_is_told_of_refunds_is_append_only(database: Database, table: str, change: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"), database.transaction() as connection:
        connection.execute(change.format(table).encode())


def test_the_evidence_of_a_refund_is_not_replaced(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    refund(polygon, router, key_of(view), "USDC", PRICE)
    follow(polygon, database, router)
    with database.transaction() as connection:
        row = connection.execute("SELECT * FROM chain_refund_logs").fetchone()
    assert row is not None
    same = RefundedEvent(
        row["block_number"],
        row["log_index"],
        bytes(row["block_hash"]),
        bytes(row["transaction_hash"]),
        key_of(view),
        row["recipient"],
        row["token_address"],
        int(row["units"]),
    )
    with database.transaction() as connection:
        checkpoints.insert_logs(connection, 137, router.router, [same])
    for change in ({"units": 1}, {"recipient": "0xother"}, {"block_hash": b"\1" * 32}):
        with pytest.raises(LedgerConflict, match="other contents"), database.transaction() as connection:
            checkpoints.insert_logs(connection, 137, router.router, [replace(same, **change)])


def test_a_refund_that_is_not_final_is_not_booked_and_is_no_sighting(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView
) -> None:
    follow(polygon, database, router)
    refund(polygon, router, key_of(view), "USDC", PRICE)
    with indexer(database, router, polygon.rpc_url) as worker:
        while worker.step():
            pass
    assert outcomes(database, view) == [Outcome.FULFILLED]
    with database.transaction() as connection:
        assert reversals.refunds(connection) == []
        assert checkpoints.sightings_of_order(connection, view.order.id) == []
