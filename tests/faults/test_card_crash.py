"""The card worker is killed (SIGKILL) before each of its commits, and each request that changes something at Stripe."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from cascade.db import orders
from cascade.db.database import Database
from cascade.services.booking import book_payment
from tests.faults.databases import copy_of
from tests.faults.dying_card_worker import spawn
from tests.support.card_shop import CardShop
from tests.support.purchases import confirmed


@pytest.fixture
def told(card_shop: CardShop) -> CardShop:
    """A paid order, one that was refunded in part and disputed, and one that was paid from a wallet beside an open
    page; every webhook was lost."""
    card_shop.worker().catch_up()
    card_shop.double.control.set_chaos(drop_webhooks=1.0)
    card_shop.paid(citizen_id="paid", package="starter")
    session = card_shop.paid(citizen_id="returned", package="starter")
    intent = card_shop.intent_of(session)
    card_shop.stripe.v1.refunds.create({"payment_intent": intent, "amount": 250})
    card_shop.double.control.open_dispute(intent, amount=500)
    other = card_shop.session(citizen_id="wallet", package="starter")
    with card_shop.database.transaction() as connection:
        book_payment(connection, confirmed(orders.chain_terms(connection, other["order_id"])[0]))
    return card_shop


def test_killed_before_any_step_and_started_again_it_books_once(told: CardShop, database_url: str) -> None:
    killed, finished = 0, False
    while not finished:
        with copy_of(database_url) as url:
            first = spawn(url, told.double, killed + 1, signal.SIGKILL)
            first.join(60)
            assert first.exitcode in (0, -signal.SIGKILL)
            finished = first.exitcode == 0  # it had less to say than that
            killed += not finished
            again = spawn(url, told.double, None, 0)
            again.join(60)
            assert again.exitcode == 0
            _assert_booked_once(told, url)
    assert killed >= 12  # it was killed inside bookings, not only before them


def _assert_booked_once(told: CardShop, url: str) -> None:
    database = Database(url, connections=1)
    database.open()
    try:
        shop = replace(told, database=database)
        assert {name: shop.ducats(f"{name}") for name in ("paid", "returned", "wallet")} == {
            "paid": 100_000_000,
            "returned": 25_000_000,
            "wallet": 100_000_000,
        }
        shop.assert_books_balance()
        assert all(event["handled_at"] for event in shop.events())
        with database.transaction() as connection:
            rows = connection.execute("SELECT count(*) AS open FROM card_attempts WHERE closed_at IS NULL").fetchone()
        assert rows == {"open": 0}
    finally:
        database.close()
