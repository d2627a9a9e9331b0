"""An expired order again, at the price of the moment: once, whoever asks, and never when money came or may come."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg import errors

from cascade.db import card_attempts, orders, payment_links, receipt_contacts, relay_queue
from cascade.db.database import Database
from cascade.domain.card_payments import CardAttempt, Flow
from cascade.domain.ducat_rate import Rate
from cascade.domain.money import USD, Money
from cascade.domain.orders import Order, OrderStatus
from cascade.domain.payments import Outcome, Rail
from cascade.errors import NotFound, NotPayable
from cascade.services.booking import book_payment
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from cascade.services.payment_links import PaymentLinks
from tests.integration.test_payment_links import SHOP, come, count, expire
from tests.support.concurrency import run_concurrently
from tests.support.purchases import CATALOGUE, NOWHERE, balance_of, collected, confirmed, open_order


def renew(database: Database, order: Order) -> OrderView:
    with database.transaction() as connection:
        return SHOP.renew(connection, order)


def test_the_price_is_that_of_the_moment(database: Database) -> None:
    dearer = PaymentLinks(Checkout(CATALOGUE, NOWHERE, order_minutes=15, start=Rate(200_000_000)))
    package, dollars = open_order(database), open_order(database, usd="25.01", citizen="Niccolo")
    for view in (package, dollars):
        expire(database, view)
    with database.transaction() as connection:
        again = [dearer.renew(connection, view.order).order for view in (package, dollars)]
    assert [order.quote.price for order in again] == [Money(USD, 50_000), Money(USD, 2501)]
    assert again[0].quote.package == "merchant"
    assert again[1].quote.ducats.units * 2 == dollars.order.quote.ducats.units
    assert [order.citizen_id for order in again] == ["Marco_Polo", "Niccolo"]
    assert [order.renewal_of for order in again] == [package.order.id, dollars.order.id]


def test_an_open_order_is_given_back(database: Database) -> None:
    view = open_order(database)
    assert renew(database, view.order).order == view.order
    assert count(database) == 1


def test_many_clicks_at_once_get_one_new_order(database: Database) -> None:
    view = open_order(database)
    expire(database, view)
    renewed = {order.id for order in run_concurrently(8, lambda _: renew(database, view.order).order)}
    assert len(renewed) == 1
    assert renewed != {view.order.id}
    assert count(database) == 2


def test_the_database_lets_an_order_be_followed_once(database: Database) -> None:
    view = open_order(database)
    for name, refused in (("a", False), ("b", True)):
        follower = replace(view.order, id="ord_" + name * 26, link_token=name * 22, renewal_of=view.order.id)
        if refused:
            with pytest.raises(errors.UniqueViolation), database.transaction() as connection:
                orders.insert(connection, follower)
        else:
            with database.transaction() as connection:
                orders.insert(connection, follower)


def test_the_newest_of_a_line_is_renewed_and_shown(database: Database) -> None:
    first = open_order(database)
    with database.transaction() as connection:
        assert orders.newest_renewal(connection, first.order.id) is None
    expire(database, first)
    second = renew(database, first.order)
    assert renew(database, first.order).order.id == second.order.id
    expire(database, second)
    third = renew(database, first.order)
    assert third.order.renewal_of == second.order.id
    with database.transaction() as connection:
        found = [orders.newest_renewal(connection, view.order.id) for view in (first, second, third)]
    assert [order.id if order else None for order in found] == [third.order.id, third.order.id, None]


def test_a_paid_order_is_given_back(database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))
    expire(database, view)
    stands = renew(database, view.order)
    assert (stands.order.id, stands.status) == (view.order.id, OrderStatus.FULFILLED)


def test_a_booking_that_is_under_way_is_waited_for(database: Database) -> None:
    view = open_order(database)
    expire(database, view)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            book_payment(connection, confirmed(view.terms[0]))
            asked = pool.submit(renew, database, view.order)
            with pytest.raises(TimeoutError):
                asked.result(0.5)
        assert asked.result(10).order.id == view.order.id
    assert count(database) == 1


def test_an_order_whose_payment_is_being_sent_is_given_back(database: Database) -> None:
    view = open_order(database)
    terms = view.terms[0]
    with database.transaction() as connection:
        relay_queue.enqueue_collect(
            connection,
            order_id=view.order.id,
            on_chain_order_id=terms.on_chain_order_id,
            token_address=terms.token_address,
        )
    expire(database, view)
    assert renew(database, view.order).order.id == view.order.id
    with database.transaction() as connection:
        connection.execute("UPDATE relay_items SET state = 'refused', reason = 'expired'")
    assert renew(database, view.order).order.id != view.order.id


def test_parts_stay_with_their_order(database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        assert book_payment(connection, collected(view.terms[0], 100_000_000)) is Outcome.CREDITED
    expire(database, view)
    renewed = renew(database, view.order)
    assert (renewed.order.renewal_of, renewed.missing) == (view.order.id, None)
    assert renewed.terms[0].units == view.terms[0].units
    with database.transaction() as connection:
        before = SHOP.checkout.view(connection, view.order)
    assert [payment.outcome for payment in before.payments] == [Outcome.CREDITED]
    assert balance_of(database, "citizen:Marco_Polo") == 1_000_000_000


def test_who_renews_gives_the_old_price_up(database: Database) -> None:
    view = open_order(database)
    expire(database, view)
    with database.transaction() as connection:
        now = orders.clock(connection)
        attempt = CardAttempt(view.order.id, Flow.CHECKOUT_SESSION, 1, now + timedelta(minutes=20), "cs_1")
        card_attempts.insert_attempt(connection, attempt)
        card_attempts.name_attempt(connection, attempt, "cs_1")
    renew(database, view.order)
    with database.transaction() as connection:
        assert [each.stripe_id for each in card_attempts.attempts_to_close(connection, limit=9)] == ["cs_1"]
    by_card = replace(
        confirmed(view.terms[0], reference="stripe:pi_1", amount=view.order.quote.price),
        rail=Rail.CARD,
        order_key=view.order.id.encode(),
        landed={"stripe": view.order.quote.price.units},
        payer="card",
    )
    with database.transaction() as connection:  # it slipped through before the page was closed
        late = replace(by_card, paid_at=orders.clock(connection) + timedelta(seconds=1))
        assert book_payment(connection, late) is Outcome.SUSPENSE


def test_what_was_paid_before_the_click_is_taken_at_the_old_price(database: Database) -> None:
    view = open_order(database)
    expire(database, view)
    with database.transaction() as connection:
        paid_at = orders.clock(connection)
        card_attempts.insert_attempt(
            connection, CardAttempt(view.order.id, Flow.CHECKOUT_SESSION, 1, paid_at + timedelta(minutes=20))
        )
    renew(database, view.order)
    by_card = replace(
        confirmed(view.terms[0], reference="stripe:pi_1", amount=view.order.quote.price),
        rail=Rail.CARD,
        order_key=view.order.id.encode(),
        landed={"stripe": view.order.quote.price.units},
        payer="card",
        paid_at=paid_at,
    )
    with database.transaction() as connection:
        assert book_payment(connection, by_card) is Outcome.FULFILLED


def test_receipts_go_where_they_went(database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        receipt_contacts.insert(connection, view.order.id, "marco@example.org")
    expire(database, view)
    renewed = renew(database, view.order)
    with database.transaction() as connection:
        assert receipt_contacts.email_of(connection, renewed.order.id) == "marco@example.org"


def test_an_order_of_a_link_is_renewed_within_it(database: Database) -> None:
    with database.transaction() as connection:
        link = SHOP.create(connection, package="merchant", usd_amount=None, citizen_id="Marco_Polo")
    view = come(database, link)
    expire(database, view)
    both = run_concurrently(6, lambda i: (renew(database, view.order) if i % 2 else come(database, link)).order)
    assert len({order.id for order in both}) == 1
    assert both[0].link_id == link.id
    expire(database, renew(database, view.order))
    with database.transaction() as connection:
        payment_links.deactivate(connection, link.id)
    with pytest.raises(NotPayable, match="was deactivated"):
        renew(database, view.order)
    assert count(database) == 2


def test_a_link_for_a_citizen_has_one_open_order_also_by_renewal(database: Database) -> None:
    with database.transaction() as connection:
        link = SHOP.create(connection, package="merchant", usd_amount=None, citizen_id="Marco_Polo", single_use=False)
    first = come(database, link)
    expire(database, first)
    second = come(database, link)
    assert (second.order.id != first.order.id, second.order.renewal_of) == (True, None)
    assert renew(database, first.order).order.id == second.order.id


def test_an_unknown_order_is_not_renewed(database: Database) -> None:
    view = open_order(database)
    with pytest.raises(NotFound):
        renew(database, replace(view.order, id="ord_" + "a" * 26))
