"""Plain transfers of any amount, with the real database: what each brings, and what goes back with it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import balances, ledger, orders, payments, reversals
from cascade.db.database import Database
from cascade.domain.money import DUCAT, USD, USDC, USDT, Money
from cascade.domain.orders import OrderStatus
from cascade.domain.payments import ConfirmedPayment, Outcome, Rail, SuspenseReason
from cascade.domain.postings import STRIPE, Kind, Posting, Transaction
from cascade.domain.reversals import Refund, Reversal, ReversalKind
from cascade.errors import LedgerConflict
from cascade.services.booking import book_payment, book_refund, book_reversal
from cascade.services.checkout import Checkout, expire_orders
from cascade.services.order_view import OrderView
from tests.support.concurrency import run_concurrently
from tests.support.delivery import DispatcherConfig, deliver_all, rows, told
from tests.support.purchases import CATALOGUE, NOWHERE, balance_of, collected, confirmed, open_order
from tests.support.purchases import refund as back

PRICE = 250_000_000
QUOTE = 2_750_000_000
DOLLAR = 1_000_000
LEDGER_MODE = DispatcherConfig()


@pytest.fixture
def view(database: Database) -> OrderView:
    return open_order(database)


def book(database: Database, payment: ConfirmedPayment) -> Outcome:
    with database.transaction() as connection:
        return book_payment(connection, payment)


def take_back(database: Database, reversal: Reversal) -> bool:
    with database.transaction() as connection:
        return book_reversal(connection, reversal)


def give_back(database: Database, view: OrderView, units: int, place: int = 1) -> list[tuple[str, int]]:
    """What the Safe sends, and which payments it is taken from."""
    key = view.terms[0].on_chain_order_id
    made = Refund(f"chain:137:{10**9 + place}:0", key, Money(USDC, units), "0xto", "0xhash")
    with database.transaction() as connection:
        assert book_refund(connection, made) == Money(USDC, 0)
        booked = payments.of_order(connection, view.order.id)
        done = reversals.of_payments(connection, [payment.reference for payment in booked])
    return [(r.payment, r.amount.units) for r in done if r.reference.startswith(made.reference)]


def now(database: Database, view: OrderView) -> OrderView:
    with database.transaction() as connection:
        return Checkout(CATALOGUE, NOWHERE, 15).view(connection, view.order)


def ducats(database: Database) -> int:
    return balance_of(database, "citizen:Marco_Polo")


def events(database: Database, view: OrderView) -> list[str]:
    with database.transaction() as connection:
        found = connection.execute(
            "SELECT type FROM order_events WHERE order_id = %s ORDER BY number", (view.order.id,)
        )
        return [row["type"] for row in found.fetchall()]


def assert_sound(database: Database) -> None:
    with database.transaction() as connection:
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []


def test_a_part_is_credited_and_the_last_brings_the_rest_with_the_bonus(database: Database, view: OrderView) -> None:
    terms = view.terms[0]
    assert book(database, collected(terms, 83_333_333)) is Outcome.CREDITED
    assert ducats(database) == 833_333_330
    assert book(database, collected(terms, 83_333_333, USDT)) is Outcome.CREDITED  # a dollar is a dollar
    stands = now(database, view)
    assert (stands.status, stands.missing) == (OrderStatus.OPEN, Money(USDC, 83_333_334))
    assert book(database, collected(terms, 83_333_334)) is Outcome.FULFILLED
    assert ducats(database) == QUOTE
    stands = now(database, view)
    assert (stands.status, stands.missing) == (OrderStatus.FULFILLED, None)
    assert [p.grant and p.grant.total.units for p in stands.payments] == [833_333_330, 833_333_330, 1_083_333_340]
    assert balance_of(database, "suspense", "USDC") == 0
    assert (balance_of(database, "sales", "USDC"), balance_of(database, "sales", "USDT")) == (166_666_667, 83_333_333)
    assert balance_of(database, "ducats:bonus") == -250_000_000
    assert_sound(database)


def test_an_excess_brings_its_share_without_bonus(database: Database, view: OrderView) -> None:
    assert book(database, collected(view.terms[0], PRICE + 5 * DOLLAR)) is Outcome.FULFILLED
    assert ducats(database) == QUOTE + 50_000_000
    assert now(database, view).status is OrderStatus.FULFILLED


@pytest.mark.parametrize(
    ("units", "late", "first", "reason"),
    [
        (2 * PRICE + 1, False, None, SuspenseReason.OVER),
        (2 * PRICE, False, DOLLAR, SuspenseReason.OVER),
        (PRICE, True, None, SuspenseReason.LATE),
        (PRICE - DOLLAR, True, DOLLAR, SuspenseReason.LATE),
        (DOLLAR, False, PRICE, SuspenseReason.DUPLICATE),
    ],
)
def test_what_does_not_fit_waits_as_a_whole(
    database: Database, view: OrderView, units: int, late: bool, first: int | None, reason: SuspenseReason
) -> None:
    if first:
        book(database, collected(view.terms[0], first))
    before = ducats(database)
    assert book(database, collected(view.terms[0], units, late=late)) is Outcome.SUSPENSE
    assert now(database, view).payments[-1].reason is reason
    assert ducats(database) == before
    assert balance_of(database, "suspense", "USDC") == units


def test_the_other_stablecoin_pays_as_well(database: Database, view: OrderView) -> None:
    assert book(database, collected(view.terms[0], PRICE, USDT)) is Outcome.FULFILLED
    assert ducats(database) == QUOTE


def test_other_payments_still_have_to_be_exact(database: Database, view: OrderView) -> None:
    terms = view.terms[0]
    for amount in (Money(USDC, PRICE - 1), Money(USDC, PRICE + 1), Money(USDT, PRICE)):
        assert book(database, confirmed(terms, amount=amount)) is Outcome.SUSPENSE
    assert ducats(database) == 0


def test_the_whole_price_by_wallet_after_a_part_brings_the_quote_as_well(database: Database, view: OrderView) -> None:
    terms = view.terms[0]
    part = collected(terms, 100 * DOLLAR)
    book(database, part)
    assert book(database, confirmed(terms)) is Outcome.FULFILLED
    assert ducats(database) == QUOTE + 1_000_000_000
    # The part was not needed, so a refund of just this much is meant for it.
    assert give_back(database, view, 100 * DOLLAR) == [(part.reference, 100 * DOLLAR)]
    assert ducats(database) == QUOTE


def test_the_same_part_again_changes_nothing(database: Database, view: OrderView) -> None:
    first, last = collected(view.terms[0], 100 * DOLLAR), collected(view.terms[0], 150 * DOLLAR)
    assert [book(database, first) for _ in range(3)] == [Outcome.CREDITED] * 3
    assert [book(database, last) for _ in range(2)] == [Outcome.FULFILLED] * 2
    assert book(database, first) is Outcome.CREDITED  # also when the order is fulfilled meanwhile
    assert ducats(database) == QUOTE
    with pytest.raises(LedgerConflict, match="compare the evidence"):
        book(database, replace(first, payer="0x" + "44" * 20))


@pytest.mark.parametrize("count", [2, 10])
def test_parts_that_are_booked_at_once_bring_exactly_the_quote(database: Database, view: OrderView, count: int) -> None:
    outcomes = run_concurrently(count, lambda _: book(database, collected(view.terms[0], PRICE // count)))
    assert sorted(outcomes) == [Outcome.CREDITED] * (count - 1) + [Outcome.FULFILLED]
    assert ducats(database) == QUOTE
    assert_sound(database)


def test_two_that_complete_at_once_complete_once(database: Database, view: OrderView) -> None:
    book(database, collected(view.terms[0], 100 * DOLLAR))
    outcomes = run_concurrently(4, lambda _: book(database, collected(view.terms[0], 150 * DOLLAR)))
    assert sorted(outcomes) == [Outcome.FULFILLED] + [Outcome.SUSPENSE] * 3
    assert ducats(database) == QUOTE


def _book_and_be_killed(database_url: str, payment: ConfirmedPayment) -> None:
    database = Database(database_url, connections=1)
    database.open()
    with database.transaction() as connection:
        book_payment(connection, payment)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_before_the_commit_leaves_nothing(
    database: Database, database_url: str, view: OrderView
) -> None:
    part = collected(view.terms[0], 100 * DOLLAR)
    process = get_context("spawn").Process(target=_book_and_be_killed, args=(database_url, part))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (ducats(database), now(database, view).payments, rows(database)) == (0, [], [])
    assert book(database, part) is Outcome.CREDITED
    assert ducats(database) == 1_000_000_000


def test_a_refund_of_a_part_takes_what_the_part_brought(database: Database, view: OrderView) -> None:
    part = collected(view.terms[0], 100 * DOLLAR)
    book(database, part)
    take_back(database, back(part, 25 * DOLLAR))
    assert ducats(database) == 750_000_000
    assert now(database, view).missing == Money(USDC, 175 * DOLLAR)
    # What went back counts no more: the same money again does not complete the price.
    assert book(database, collected(view.terms[0], 150 * DOLLAR)) is Outcome.CREDITED
    assert book(database, collected(view.terms[0], 25 * DOLLAR)) is Outcome.FULFILLED
    assert ducats(database) == QUOTE
    assert_sound(database)


def test_a_part_that_went_back_as_a_whole_leaves_the_order_as_it_was(database: Database, view: OrderView) -> None:
    part = collected(view.terms[0], 249 * DOLLAR)
    book(database, part)
    assert give_back(database, view, 249 * DOLLAR) == [(part.reference, 249 * DOLLAR)]
    stands = now(database, view)
    assert (ducats(database), stands.status, stands.missing) == (0, OrderStatus.OPEN, None)
    assert "order.reversed" not in events(database, view)
    assert book(database, collected(view.terms[0], DOLLAR)) is Outcome.CREDITED  # and brings no bonus
    assert ducats(database) == 10_000_000


def test_nobody_keeps_the_bonus_for_what_completed_the_price(database: Database, view: OrderView) -> None:
    part, last = collected(view.terms[0], 249 * DOLLAR), collected(view.terms[0], DOLLAR)
    book(database, part)
    book(database, last)
    taken = give_back(database, view, 249 * DOLLAR)
    assert sorted(taken) == sorted([(last.reference, DOLLAR), (part.reference, 248 * DOLLAR)])
    assert ducats(database) == 10_000_000  # the dollar that stays, at the rate
    assert now(database, view).status is OrderStatus.FULFILLED  # not all went back
    assert give_back(database, view, DOLLAR, 2) == [(part.reference, DOLLAR)]
    assert (ducats(database), now(database, view).status) == (0, OrderStatus.REVERSED)
    assert events(database, view).count("order.reversed") == 1
    assert book(database, collected(view.terms[0], PRICE)) is Outcome.SUSPENSE  # it was fulfilled once
    assert_sound(database)


def test_what_was_spent_of_a_part_is_its_own_debt(database: Database, view: OrderView) -> None:
    """A card payment whose refund failed settles what it owes itself, and not what a part owes."""
    part = collected(view.terms[0], 100 * DOLLAR)
    book(database, part)
    by_card = ConfirmedPayment(
        "stripe:pi_1", Rail.CARD, view.order.id.encode(), Money(USD, 25_000), {STRIPE: 25_000}, "", "pi_1"
    )
    assert book(database, by_card) is Outcome.FULFILLED
    _spend(database, QUOTE + 1_000_000_000)
    take_back(database, back(part))
    gone = back(by_card)
    take_back(database, gone)
    assert balance_of(database, f"receivable:{view.order.id}") == -QUOTE - 1_000_000_000
    again = Reversal("again", gone.payment, ReversalKind.REFUND_FAILED, gone.amount, gone.landed)
    assert take_back(database, again) is True
    assert balance_of(database, f"receivable:{view.order.id}") == -1_000_000_000
    assert_sound(database)


def _spend(database: Database, units: int) -> None:
    spent = Posting("citizen:Marco_Polo", "ducats:sold", Money(DUCAT, units))
    with database.transaction() as connection:
        ledger.post(connection, Transaction("spent", Kind.SALE, (spent,)))


def test_each_payment_is_credited_and_told_of_by_itself(database: Database, view: OrderView) -> None:
    first, last = collected(view.terms[0], 100 * DOLLAR), collected(view.terms[0], 155 * DOLLAR)
    for payment in (first, first, last, last):
        book(database, payment)
    sent = rows(database, destination="venice")
    assert [(row["reference"], row["ducat_units"]) for row in sent] == [
        (first.reference, 1_000_000_000),
        (last.reference, 1_800_000_000),
    ]
    assert told(database) == []  # not before they are credited
    deliver_all(database, LEDGER_MODE)
    in_part, whole = told(database)
    assert (in_part["type"], whole["type"]) == ("payment.credited_in_part", "order.fulfilled")
    assert (in_part["data"]["missing"], in_part["data"]["ducats_credited"]) == ("150", "1000")
    assert whole["data"]["ducats_credited"] == whole["data"]["ducats_due"] == "1800"
    assert (whole["data"]["ducats_before"], whole["data"]["ducats_beyond"]) == ("1000", "50")


def test_of_a_part_that_went_back_before_it_was_credited_only_the_refund_is_told(
    database: Database, view: OrderView
) -> None:
    part = collected(view.terms[0], 100 * DOLLAR)
    book(database, part)
    take_back(database, back(part))
    deliver_all(database, LEDGER_MODE)
    assert [notice["type"] for notice in told(database)] == ["payment.refunded"]


def _let_expire(database: Database, view: OrderView) -> OrderView:
    with database.transaction() as connection:
        connection.execute(
            "UPDATE orders SET created_at = created_at - interval '1 hour',"
            " expires_at = expires_at - interval '1 hour', expiry_due = expiry_due - interval '1 hour'"
        )
        order = orders.by_id(connection, view.order.id)
        return OrderView(order, view.terms, OrderStatus.OPEN)


def test_who_paid_a_part_is_told_that_the_time_is_over(database: Database, view: OrderView) -> None:
    book(database, collected(view.terms[0], 100 * DOLLAR))
    deliver_all(database, LEDGER_MODE)
    view = _let_expire(database, view)
    with database.transaction() as connection:
        assert expire_orders(connection, seconds=0) == 1
    assert told(database)[-1]["type"] == "order.expired"
    assert (told(database)[-1]["data"]["missing"], told(database)[-1]["data"]["token"]) == ("150", "USDC")
    stands = now(database, view)
    assert (stands.status, stands.missing) == (OrderStatus.EXPIRED, None)  # nobody is to send more
    assert ducats(database) == 1_000_000_000


def test_the_api_and_the_page_show_what_came_and_what_is_missing(environment: Path, database: Database) -> None:
    with TestClient(create_app()) as client:
        wish = {"citizen_id": "Marco_Polo", "package": "merchant"}
        intent = client.post("/api/payments/crypto-payment-intent", json=wish).json()
        link = intent["payment_link"].partition("/pay/")[2]
        with database.transaction() as connection:
            terms = orders.chain_terms(connection, intent["order_id"])[0]
        book(database, collected(terms, 99_499_999))
        order = client.get(f"/api/payments/orders/{intent['order_id']}").json()
        assert (order["status"], order["credit"]) == ("open", "credited")
        assert order["missing"] == {"token": "USDC", "amount": "150500001", "amount_display": "150.500001"}
        assert [(p["status"], p["ducats"]) for p in order["payments"]] == [("credited", "994.99999")]
        page = client.get(f"/pay/{link}").text
        assert "99.499999 USDC arrived, 150.500001 USDC is missing: send it to the same address" in page
        assert "994.99 ducats were credited for it" in page
        assert "<strong>250 USDC or USDT</strong>" in page
        book(database, collected(terms, 150_500_001))
        order = client.get(f"/api/payments/orders/{intent['order_id']}").json()
        assert (order["status"], order["missing"]) == ("fulfilled", None)
        assert [p["ducats"] for p in order["payments"]] == ["994.99999", "1755.00001"]
        page = client.get(f"/pay/{link}").text
        assert "Done: 2,750 ducats were credited." in page
        assert "missing" not in page
