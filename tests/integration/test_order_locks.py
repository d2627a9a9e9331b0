"""One order has one state: every way to begin a payment asks the same check, under the order's lock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascade.adapters.chain.log_reader import Node
from cascade.db import orders, relay_queue
from cascade.db.database import Conn, Database
from cascade.domain.money import USDC
from cascade.domain.orders import OrderStatus
from cascade.domain.relay_items import RelayKind, RelayState
from cascade.errors import AuthorizationRefused, NotPayable
from cascade.services.booking import book_payment
from cascade.services.order_view import OrderView, lock_payable, lock_signable, view_of
from cascade.services.signed_payments import SignedPayments
from tests.support.card_shop import CardShop
from tests.support.concurrency import run_concurrently
from tests.support.purchases import NOWHERE, collected, confirmed, open_order

PAYERS = ("0x" + "22" * 20, "0x" + "33" * 20)
HALF = 125_000_000
PART = "A part of the price has come by transfer, 125 USDC is missing: send that to the order's deposit address."


@pytest.fixture
def signed_payments() -> Iterator[SignedPayments]:
    made = SignedPayments(Node("http://127.0.0.1:1"), NOWHERE, per_payer_per_day=10_000)
    yield made
    made.close()


def sign(signed_payments: SignedPayments, connection: Conn, view: OrderView, token: int = 0, payer: int = 0) -> None:
    """Queue what a payer has signed in one of the stablecoins, as the route does after its look at the chain."""
    signature = bytes([token + 1, payer + 1]) * 32 + b"\x1b"
    signed_payments.queue(connection, view.order.id, view.terms[token], PAYERS[payer], signature, False)


def now(database: Database, view: OrderView) -> OrderView:
    with database.transaction() as connection:
        return view_of(connection, orders.by_id(connection, view.order.id))


def lay(connection: Conn, view: OrderView, units: int) -> None:
    """A plain transfer that is seen at the order's address and not collected yet."""
    connection.execute(
        "INSERT INTO deposit_transfers (chain_id, block_number, log_index, block_hash, transaction_hash,"
        " on_chain_order_id, token_address, sender, units) VALUES (137, 1, 0, %s, %s, %s, %s, %s, %s)",
        (b"\1" * 32, b"\2" * 32, view.terms[0].on_chain_order_id, view.terms[0].token_address, PAYERS[0], units),
    )


def book_half(connection: Conn, view: OrderView) -> None:
    book_payment(connection, collected(view.terms[0], HALF))


def lay_half(connection: Conn, view: OrderView) -> None:
    lay(connection, view, HALF)


@pytest.mark.parametrize("come", [book_half, lay_half])
@pytest.mark.parametrize("token", [0, 1], ids=["USDC", "USDT"])
def test_an_order_that_is_paid_in_part_says_what_is_missing_and_takes_no_signature(
    signed_payments: SignedPayments, database: Database, come: Callable[[Conn, OrderView], None], token: int
) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        come(connection, view)
    after = now(database, view)
    assert after.missing is not None
    assert (after.status, after.missing.units) == (OrderStatus.OPEN, HALF)
    with pytest.raises(AuthorizationRefused) as refused, database.transaction() as connection:
        sign(signed_payments, connection, view, token)
    assert (refused.value.reason, refused.value.next_step) == ("part_paid", PART)
    with database.transaction() as connection:
        assert relay_queue.of_order(connection, view.order.id) == []
        assert lock_payable(connection, view.order.id, in_parts=True).missing == after.missing


def test_dust_stops_nobody(signed_payments: SignedPayments, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        lay(connection, view, 9_999)
        sign(signed_payments, connection, view)
    assert now(database, view).being_sent


def test_no_card_is_asked_for_the_whole_price_after_a_part(card_shop: CardShop, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        book_half(connection, view)
    for way in ("checkout-session", "payment-intent"):
        answer = card_shop.client.post(f"/api/payments/{way}", json={"order_id": view.order.id})
        assert (answer.status_code, answer.json()["detail"]) == (409, PART)
    page = card_shop.client.post(f"/pay/{view.order.link_token}/card")
    assert page.status_code == 409
    assert "125 USDC is missing" in page.text


def test_a_signature_in_one_stablecoin_excludes_all_others(signed_payments: SignedPayments, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        sign(signed_payments, connection, view, token=0)
    for token, payer in ((1, 0), (1, 1), (0, 1)):
        with pytest.raises(NotPayable, match="being sent"), database.transaction() as connection:
            sign(signed_payments, connection, view, token, payer)
    with database.transaction() as connection:
        sign(signed_payments, connection, view, token=0)  # the same one again
        assert len(relay_queue.of_order(connection, view.order.id)) == 1


def test_no_card_is_begun_while_a_signature_is_being_sent(
    signed_payments: SignedPayments, card_shop: CardShop, database: Database
) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        sign(signed_payments, connection, view)
    for way in ("checkout-session", "payment-intent", "crypto-payment-intent"):
        answer = card_shop.client.post(f"/api/payments/{way}", json={"order_id": view.order.id})
        assert answer.status_code == 409
        assert "being sent" in answer.json()["detail"]
    assert card_shop.client.post(f"/pay/{view.order.link_token}/card").status_code == 409
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) AS n FROM card_attempts").fetchone() == {"n": 0}


def test_what_begins_waits_for_what_is_being_booked(
    signed_payments: SignedPayments, card_shop: CardShop, database: Database
) -> None:
    """The check is made under the order's lock: what another transaction has not committed yet is waited for."""
    view = open_order(database)

    def begin(_: int) -> str:
        with pytest.raises(AuthorizationRefused) as refused, database.transaction() as connection:
            sign(signed_payments, connection, view)
        return refused.value.reason

    def begin_by_card(_: int) -> str:
        answer = card_shop.client.post("/api/payments/checkout-session", json={"order_id": view.order.id})
        return str(answer.json().get("detail"))

    with ThreadPoolExecutor(2) as pool:
        with database.transaction() as connection:
            orders.lock(connection, view.order.id)
            book_half(connection, view)
            signed, carded = pool.submit(begin, 0), pool.submit(begin_by_card, 0)
            with pytest.raises(TimeoutError):
                signed.result(0.5)
            assert not carded.done()
        assert signed.result(20) == "part_paid"
        assert carded.result(20) == PART


@pytest.mark.parametrize("look", [lock_signable, lock_payable])
def test_the_check_itself_is_made_under_the_lock(database: Database, look: Callable[[Conn, str], OrderView]) -> None:
    view = open_order(database)

    def begin() -> OrderView:
        with database.transaction() as connection:
            return look(connection, view.order.id)

    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            orders.lock(connection, view.order.id)
            book_half(connection, view)
            begun = pool.submit(begin)
            with pytest.raises(TimeoutError):
                begun.result(0.5)
        with pytest.raises(NotPayable):
            begun.result(20)


ACTS = ("usdc", "usdt", "other payer", "part", "price", "lock")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_begins_at_once_one_signature_is_queued_and_no_reason_is_wrong(
    signed_payments: SignedPayments, database: Database, seed: int
) -> None:
    view = open_order(database)
    chosen = random.Random(seed).choices(ACTS, k=8)  # noqa: S311

    deeds: dict[str, Callable[[Conn], object]] = {
        "usdc": lambda connection: sign(signed_payments, connection, view),
        "usdt": lambda connection: sign(signed_payments, connection, view, token=1),
        "other payer": lambda connection: sign(signed_payments, connection, view, token=seed % 2, payer=1),
        "part": lambda connection: book_payment(connection, collected(view.terms[0], 10_000_000)),
        "price": lambda connection: book_payment(connection, confirmed(view.terms[1])),
        "lock": lambda connection: lock_signable(connection, view.order.id),
    }

    def act(i: int) -> str:
        try:
            with database.transaction() as connection:
                deeds[chosen[i]](connection)
        except AuthorizationRefused as error:
            return error.reason
        except NotPayable as error:
            return str(error)
        return "done"

    results = run_concurrently(len(chosen), act)
    told = set(results)
    with database.transaction() as connection:
        items = relay_queue.of_order(connection, view.order.id)
    assert len([item for item in items if item.kind is not RelayKind.COLLECT]) <= 1
    assert all(item.state is RelayState.QUEUED for item in items)
    signed = {act for act, result in zip(chosen, results, strict=True) if result == "done"} & {*ACTS[:3]}
    assert len(signed) == len(items)
    assert ("already_paid" not in told) or "price" in chosen
    assert ("part_paid" not in told) or "part" in chosen
    assert not any("being sent" in one for one in told) or items
    after = now(database, view)
    assert (after.status is OrderStatus.FULFILLED) == ("price" in chosen)
    if after.status is OrderStatus.OPEN and "part" in chosen:
        assert after.missing is not None
        assert after.missing.asset == USDC
