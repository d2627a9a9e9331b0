"""What opens when somebody comes with a payment link, by the real database, also when many come at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from psycopg import errors

from cascade.db import card_attempts, orders, payment_links
from cascade.db.database import Database
from cascade.domain.card_payments import CardAttempt, Flow
from cascade.domain.catalogue import Catalogue
from cascade.domain.money import USD, Money
from cascade.domain.orders import Order, OrderStatus
from cascade.domain.payment_links import LinkState, PaymentLink
from cascade.domain.payments import Outcome
from cascade.errors import InvalidInput, NotFound, NotPayable
from cascade.services.booking import book_payment
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from cascade.services.payment_links import PaymentLinks
from tests.support.concurrency import run_concurrently
from tests.support.purchases import CATALOGUE, NOWHERE, collected, confirmed

SHOP = PaymentLinks(Checkout(CATALOGUE, NOWHERE, order_minutes=15))
Make = Callable[..., PaymentLink]


@pytest.fixture
def make(database: Database) -> Make:
    """Makes links, by default for a Merchant package: 2,500 ducats and 250 bonus for 250 dollars."""

    def make(package: str | None = "merchant", usd_amount: str | None = None, **how: object) -> PaymentLink:
        with database.transaction() as connection:
            return SHOP.create(connection, package=package, usd_amount=usd_amount, **how)  # type: ignore[arg-type]

    return make


def come(database: Database, link: PaymentLink, citizen_id: str | None = None) -> OrderView:
    with database.transaction() as connection:
        return SHOP.open(connection, link.token, citizen_id)


def expire(database: Database, view: OrderView, *, minutes: int = 5) -> None:
    """Let an order's time be over for so long."""
    with database.transaction() as connection:
        connection.execute(
            "UPDATE orders SET created_at = now() - interval '1 day', expires_at = now() - %s * interval '1 minute'"
            " WHERE id = %s",
            (minutes, view.order.id),
        )


def count(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("SELECT count(*) AS orders FROM orders").fetchone()
    assert row is not None
    return int(row["orders"])


def state(database: Database, link: PaymentLink) -> tuple[LinkState, int, int]:
    with database.transaction() as connection:
        use = payment_links.by_id(connection, link.id)
        return SHOP.state(connection, use), use.opened, use.paid


def book(database: Database, view: OrderView) -> None:
    with database.transaction() as connection:
        assert book_payment(connection, confirmed(view.terms[0])) is Outcome.FULFILLED


def test_a_link_and_its_address_do_not_follow_from_each_other(make: Make) -> None:
    one, two = make(), make()
    assert len({one.id, one.token, two.id, two.token}) == 4
    assert one.token not in one.id
    assert len(one.token) == 22


def test_an_order_gets_the_price_of_the_moment_in_which_it_is_opened(database: Database, make: Make) -> None:
    package, dollars = make(citizen_id="Marco_Polo"), make(None, "25.01", citizen_id="Marco_Polo")
    assert (package.usd, dollars.usd, dollars.package) == (None, Money(USD, 2501), None)
    assert count(database) == 0
    view = come(database, package)
    assert (view.order.quote.package, view.order.quote.price) == ("merchant", Money(USD, 25_000))
    assert (view.order.link_id, view.order.citizen_id) == (package.id, "Marco_Polo")
    assert view.order.link_token != package.token
    assert come(database, dollars).order.quote.price == Money(USD, 2501)


def test_an_order_that_can_be_paid_is_given_back(database: Database, make: Make) -> None:
    for link in (make(citizen_id="Marco_Polo"), make(citizen_id="Marco_Polo", single_use=False), make()):
        first = come(database, link, "Marco_Polo").order
        assert come(database, link, "Marco_Polo").order == first
        if link.single_use or link.citizen_id:
            assert come(database, link).order == first


def test_a_link_for_everybody_opens_an_order_for_each_who_comes(database: Database, make: Make) -> None:
    link = make(single_use=False)
    views = [come(database, link, citizen) for citizen in ("Marco_Polo", "Niccolo", "Marco_Polo")]
    assert len({view.order.id for view in views}) == 3
    book(database, views[0])
    assert state(database, link) == (LinkState.ACTIVE, 3, 1)


def test_a_single_use_link_has_one_order_whoever_comes(database: Database, make: Make) -> None:
    link = make()
    first = come(database, link, "Marco_Polo")
    second = come(database, link, "Niccolo")
    assert (second.order.id, second.order.citizen_id) == (first.order.id, "Marco_Polo")
    expire(database, first)
    third = come(database, link, "Niccolo")
    assert (third.order.citizen_id, third.order.renewal_of) == ("Niccolo", first.order.id)


def test_whom_it_is_for_must_be_said_once(database: Database, make: Make) -> None:
    with pytest.raises(InvalidInput, match="Say which citizen"):
        come(database, make())
    with pytest.raises(InvalidInput, match="is for Marco_Polo, not for Niccolo"):
        come(database, make(citizen_id="Marco_Polo"), "Niccolo")
    with pytest.raises(InvalidInput, match="A citizen id is"):
        come(database, make(), "no body")
    assert count(database) == 0


@pytest.mark.parametrize("how", [{"single_use": True}, {"single_use": False}])
def test_many_tabs_at_once_get_one_order(database: Database, make: Make, how: dict[str, bool]) -> None:
    link = make(citizen_id="Marco_Polo", **how)
    opened = run_concurrently(8, lambda _: come(database, link).order.id)
    assert len(set(opened)) == 1
    assert count(database) == 1


def test_the_database_lets_a_single_use_link_have_one_line_of_orders(database: Database, make: Make) -> None:
    once, many = make(citizen_id="Marco_Polo"), make(citizen_id="Marco_Polo", single_use=False)
    first, other = come(database, once).order, come(database, many).order

    def insert(like: Order, letter: str, renewal_of: str | None) -> None:
        copy = replace(like, id="ord_" + letter * 26, link_token=letter * 22, renewal_of=renewal_of)
        with database.transaction() as connection:
            orders.insert(connection, copy)

    with pytest.raises(errors.UniqueViolation, match="single_use_is_one_line"):
        insert(first, "a", None)
    with pytest.raises(errors.ForeignKeyViolation, match="renewals_stay_with_their_link"):
        insert(first, "a", other.id)
    insert(first, "a", first.id)
    with pytest.raises(errors.UniqueViolation, match="orders_renewed_once"):
        insert(first, "b", first.id)
    insert(other, "c", None)


@pytest.mark.parametrize("column", ["link_id", "link_single_use", "renewal_of"])
def test_an_order_keeps_its_origin(database: Database, make: Make, column: str) -> None:
    come(database, make(citizen_id="Marco_Polo"))
    with pytest.raises(errors.IntegrityError, match="keeps its link"), database.transaction() as connection:
        connection.execute(f"UPDATE orders SET {column} = NULL".encode())


@pytest.mark.parametrize("change", ["package = 'explorer'", "citizen_id = 'Thief'", "single_use = false"])
def test_a_link_stays_what_it_is(database: Database, make: Make, change: str) -> None:
    make(citizen_id="Marco_Polo")
    with pytest.raises(errors.IntegrityError, match="make another link"), database.transaction() as connection:
        connection.execute(f"UPDATE payment_links SET {change}".encode())


def test_a_paid_link_shows_its_receipt_for_ever(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo", minutes=60)
    view = come(database, link)
    book(database, view)
    expire(database, view)
    with database.transaction() as connection:
        payment_links.deactivate(connection, link.id)
    stands = come(database, link)
    assert (stands.order.id, stands.status) == (view.order.id, OrderStatus.FULFILLED)
    assert state(database, link) == (LinkState.USED, 1, 1)


def test_a_link_that_may_be_paid_often_opens_another_order_after_each(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo", single_use=False)
    first = come(database, link)
    book(database, first)
    second = come(database, link)
    assert (second.order.id != first.order.id, second.order.renewal_of) == (True, None)
    assert come(database, link).order.id == second.order.id


def test_an_order_with_parts_of_its_price_is_given_back(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo")
    view = come(database, link)
    with database.transaction() as connection:
        assert book_payment(connection, collected(view.terms[0], 100_000_000)) is Outcome.CREDITED
    expire(database, view)
    stands = come(database, link)
    assert (stands.order.id, stands.status) == (view.order.id, OrderStatus.EXPIRED)
    with database.transaction() as connection:  # nor is there another way to a second one
        assert SHOP.renew(connection, view.order).order.id == view.order.id


def test_an_order_whose_money_may_still_come_is_given_back(database: Database, make: Make) -> None:
    for link in (make(citizen_id="Marco_Polo"), make(citizen_id="Marco_Polo", single_use=False)):
        view = come(database, link)
        expire(database, view, minutes=0)  # a block just before may be seen a moment later
        assert come(database, link).order.id == view.order.id
        expire(database, view)
        with database.transaction() as connection:
            until = replace(view.order, expires_at=orders.clock(connection)).expires_at
            attempt = CardAttempt(view.order.id, Flow.CHECKOUT_SESSION, 1, until.replace(year=until.year + 1))
            card_attempts.insert_attempt(connection, attempt)
        assert come(database, link).order.id == view.order.id  # a page of Stripe's is open
        with database.transaction() as connection:
            card_attempts.close_attempt(connection, attempt)
        assert come(database, link).order.id != view.order.id


def test_a_card_that_a_bank_is_at_keeps_the_order(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo")
    view = come(database, link)
    expire(database, view)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO card_intents (intent_id, order_id, status, evidence) VALUES ('pi_1', %s, 'processing', 1)",
            (view.order.id,),
        )
    stands = come(database, link)
    assert (stands.order.id, stands.status) == (view.order.id, OrderStatus.SEEN)


def test_an_order_that_nobody_paid_is_followed_by_another(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo")
    first = come(database, link)
    expire(database, first)
    second = come(database, link)
    assert second.order.renewal_of == first.order.id
    expire(database, second)
    followers = run_concurrently(6, lambda _: come(database, link).order)
    assert {order.renewal_of for order in followers} == {second.order.id}
    assert state(database, link) == (LinkState.ACTIVE, 3, 0)


def test_a_link_whose_time_is_over_opens_nothing_but_its_order_stays_payable(database: Database, make: Make) -> None:
    used, unused = make(citizen_id="Marco_Polo", minutes=60), make(citizen_id="Marco_Polo", minutes=60)
    first = come(database, used)
    with database.transaction() as connection:
        connection.execute("ALTER TABLE payment_links DISABLE TRIGGER link_stays")
        connection.execute("UPDATE payment_links SET created_at = now() - interval '2 h', expires_at = now()")
        connection.execute("ALTER TABLE payment_links ENABLE TRIGGER link_stays")
    with pytest.raises(NotPayable, match="was valid until"):
        come(database, unused)
    assert state(database, unused) == (LinkState.EXPIRED, 0, 0)
    stands = come(database, used)
    assert (stands.order.id, stands.status) == (first.order.id, OrderStatus.OPEN)
    book(database, first)
    assert state(database, used) == (LinkState.USED, 1, 1)


def test_deactivating_is_done_once(database: Database, make: Make) -> None:
    link = make()
    with database.transaction() as connection:
        first = payment_links.deactivate(connection, link.id)
    with database.transaction() as connection:
        assert payment_links.deactivate(connection, link.id) == first
        with pytest.raises(NotFound, match="no such payment link"):
            payment_links.deactivate(connection, "lnk_" + "a" * 26)
    with pytest.raises(NotPayable, match="was deactivated on"):
        come(database, link, "Marco_Polo")


def test_who_opens_waits_for_who_deactivates(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo")
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            payment_links.deactivate(connection, link.id)
            opening = pool.submit(come, database, link)
            with pytest.raises(TimeoutError):
                opening.result(0.5)
        with pytest.raises(NotPayable, match="was deactivated"):
            opening.result(10)
    assert count(database) == 0


def test_who_deactivates_waits_for_who_opens(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo")

    def deactivate() -> int:
        with database.transaction() as connection:
            return payment_links.deactivate(connection, link.id).opened

    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            view = SHOP.open(connection, link.token)
            ending = pool.submit(deactivate)
            with pytest.raises(TimeoutError):
                ending.result(0.5)
        assert ending.result(10) == 1
    assert come(database, link).order.id == view.order.id


def test_what_is_no_longer_sold_is_said(database: Database, make: Make) -> None:
    package, dollars = make(citizen_id="Marco_Polo"), make(None, "25", citizen_id="Marco_Polo")
    other = Catalogue({}, Money(USD, 5_000), Money(USD, 6_000))
    changed = PaymentLinks(Checkout(other, NOWHERE, order_minutes=15))
    with database.transaction() as connection:
        with pytest.raises(InvalidInput, match="There is no package 'merchant'"):
            changed.open(connection, package.token)
        with pytest.raises(InvalidInput, match="from 50 to 60 USD, not 25 USD"):
            changed.open(connection, dollars.token)
    assert count(database) == 0


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"package": "doge"}, "package"),
        ({"package": None}, "package"),
        ({"usd_amount": "25"}, "package"),  # and a package
        ({"package": None, "usd_amount": "9.99"}, "usd_amount"),
        ({"package": None, "usd_amount": "25.001"}, "usd_amount"),
        ({"citizen_id": "no body"}, "citizen_id"),
        ({"minutes": 0}, "valid_minutes"),
        ({"minutes": 10**8}, "valid_minutes"),
    ],
)
def test_what_cannot_be_sold_gets_no_link(make: Make, wish: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        make(**wish)
    assert error.value.field == field


def test_nobody_knows_another_token(database: Database, make: Make) -> None:
    link = make(citizen_id="Marco_Polo")
    for token in ("", "x" * 22, link.id):
        with database.transaction() as connection, pytest.raises(NotFound):
            SHOP.open(connection, token)
