"""A payment link from the message that it came in to its order, and what a link says that opens nothing."""

from __future__ import annotations

import re

import psycopg
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.polygon import LocalPolygon
from tests.browser.conftest import Opener, Shop, Watch
from tests.browser.payer_wallet import PayerWallet

DONE = "Done: 2,750 ducats were credited."


def test_one_click_pays(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.install(context)
    link = shop.link(citizen_id=shop.citizen)
    page.goto(link["url"])
    page.get_by_role("button", name="Pay with Test Wallet").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text(DONE)
    assert shop.balance() == "2750"
    page.goto(link["url"])  # again: the receipt, not a second purchase
    expect(page.get_by_role("status")).to_have_text(DONE)
    assert shop.orders() == 1


def test_a_link_for_anybody_asks_for_whom(shop: Shop, page: Page, watch: Watch) -> None:
    page.goto(shop.link()["url"])
    expect(page.get_by_role("heading")).to_have_text("2,750 ducats")
    expect(page.get_by_role("radio")).to_have_count(0)
    citizen = page.get_by_label("For which citizen of Venice?")
    citizen.fill("no citizen")
    page.get_by_role("button", name="Go on to pay").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no citizen of this name.")
    citizen.fill(shop.citizen)
    page.get_by_role("button", name="Go on to pay").click()
    expect(page.get_by_role("main")).to_contain_text(f"including 250 bonus, for {shop.citizen}")
    expect(page.get_by_role("status")).to_have_text("Waiting for your payment.")
    watch.forget("422")


def test_a_link_of_one_use_is_the_same_order_in_every_tab(shop: Shop, new_context: Opener) -> None:
    link = shop.link(citizen_id=shop.citizen, usd_amount="33.33", package=None)
    tabs = [new_context().new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto(link["url"])
        expect(tab.get_by_role("heading")).to_have_text("333.30 ducats")
    assert len({tab.url for tab in tabs}) == 1
    assert shop.orders() == 1


def test_a_link_of_many_uses_sells_to_many(shop: Shop, new_context: Opener) -> None:
    link = shop.link(single_use=False)
    for _ in range(2):
        tab = new_context().new_page()
        tab.goto(link["url"])
        tab.get_by_label("For which citizen of Venice?").fill(shop.citizen)
        tab.get_by_role("button").click()
        expect(tab.get_by_role("status")).to_have_text("Waiting for your payment.")
    assert shop.orders() == 2


def test_a_link_that_is_over_says_so_and_shows_a_way_on(shop: Shop, page: Page, watch: Watch) -> None:
    taken_back, late = shop.link(), shop.link(valid_minutes=5)
    shop.deactivate(taken_back)
    with psycopg.connect(shop.database_url) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")  # past the guards of the database
        connection.execute(
            "UPDATE payment_links SET created_at = created_at - interval '1 day', expires_at = expires_at - interval"
            " '1 day' WHERE id = %s",
            [late["id"]],
        )
    for link, heading in ((taken_back, "This payment link is closed"), (late, "This payment link is over")):
        page.goto(link["url"])
        expect(page.get_by_role("heading")).to_have_text(heading)
        expect(page.get_by_role("main")).to_contain_text("Nothing was paid.")
        page.get_by_role("link", name="Buy ducats").click()
        expect(page.get_by_role("heading")).to_have_text("Buy ducats")
    watch.forget("410")


def test_an_expired_order_is_had_again_by_one_click_in_two_tabs(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.install(context)
    order = shop.order()
    other = context.new_page()
    for tab in (page, other):
        tab.goto(order["payment_link"])
    shop.age(order, 3600)
    for tab in (page, other):
        tab.reload()
        expect(tab.get_by_role("status")).to_contain_text("This price has expired")
    page.get_by_role("button", name="Get today's price").click()
    expect(page.get_by_role("status")).to_have_text("Waiting for your payment.")
    other.get_by_role("button", name="Get today's price").click()
    expect(other).to_have_url(page.url)
    assert shop.orders() == 2
    page.get_by_role("button", name="Pay with Test Wallet").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    polygon.mine(3)
    for tab in (page, other):
        expect(tab.get_by_role("status")).to_have_text(DONE)
    page.goto(order["payment_link"])  # the old address leads on
    page.get_by_role("link", name=re.compile("Go on there")).click()
    expect(page.get_by_role("status")).to_have_text(DONE)
    assert shop.balance() == "2750"
