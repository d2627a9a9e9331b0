"""Whatever happens to the page while somebody pays: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.wallet import Wallet
from tests.browser.conftest import Opener, Shop, Watch
from tests.browser.payer_wallet import PayerWallet

DONE = "Done: 2,750 ducats were credited."
SEEN = "Payment seen."
EVENTS = re.compile(r"/api/payments/orders/\w+/events")


def see_done(page: Page, polygon: LocalPolygon) -> None:
    expect(page.get_by_role("status")).to_contain_text(SEEN)
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text(DONE)


def paid_once(shop: Shop, polygon: LocalPolygon, wallet: PayerWallet) -> bool:
    reader = Wallet(polygon.rpc_url, wallet.key)
    try:
        held = [reader.balance(TOKENS[token].address) for token in ("USDC", "USDT")]
    finally:
        reader.close()
    return shop.balance() == "2750" and held == [750_000_000, 1_000_000_000]


def leave_at(page: Page, wallet: PayerWallet, transaction: int) -> None:
    """Let the page be left while its wallet sends a transaction: the first, the second."""

    def leave(method: str, params: list[Any]) -> None:
        if method == "eth_sendTransaction" and wallet.transactions_asked_for == transaction:
            page.evaluate("() => { setTimeout(() => location.replace('about:blank'), 0); }")

    wallet.on_request, wallet.signs = leave, False


def test_closed_after_the_signature_was_given_to_us(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, new_context: Opener, page: Page
) -> None:
    wallet.install(context)
    link = shop.order()["payment_link"]
    page.goto(link)
    with page.expect_response("**/authorization"):
        page.get_by_role("button").click()
    page.close()
    elsewhere = new_context(viewport={"width": 390, "height": 844}).new_page()  # without that wallet, on a phone
    elsewhere.goto(link)
    see_done(elsewhere, polygon)
    assert paid_once(shop, polygon, wallet)


@pytest.mark.parametrize("transaction", [1, 2], ids=["approval", "payment"])
def test_closed_while_the_wallet_sends(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page, transaction: int
) -> None:
    leave_at(page, wallet, transaction)
    wallet.install(context)
    link = shop.order()["payment_link"]
    page.goto(link)
    page.get_by_role("button").click()
    page.wait_for_url("about:blank")
    assert wallet.transactions_asked_for == transaction
    wallet.on_request = None
    polygon.mine(1)
    page.goto(link)
    if transaction == 1:
        page.get_by_role("button").click()
    see_done(page, polygon)
    expect(page.get_by_role("region", name="Pay")).to_be_hidden()
    assert wallet.transactions_asked_for == 2  # no second approval, and no second payment
    assert paid_once(shop, polygon, wallet)


def test_two_tabs_that_sign_at_once_pay_once(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page, watch: Watch
) -> None:
    wallet.install(context)
    link = shop.order()["payment_link"]
    other = context.new_page()
    for tab in (page, other):
        tab.goto(link)
        tab.get_by_role("button").wait_for()
    for tab in (page, other):
        tab.get_by_role("button").evaluate("(button) => button.click()")
    see_done(page, polygon)
    expect(other.get_by_role("status")).to_have_text(DONE)
    assert paid_once(shop, polygon, wallet)
    watch.tolerate("409")  # one of them may be told that the other was first


def test_a_payment_in_one_tab_shows_in_the_other(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, new_context: Opener, page: Page
) -> None:
    wallet.install(context)
    link = shop.order()["payment_link"]
    phone = new_context().new_page()
    phone.goto(link)
    page.goto(link)
    page.get_by_role("button").click()
    see_done(page, polygon)
    expect(phone.get_by_role("status")).to_have_text(DONE)


def test_without_a_stream_the_page_asks(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page, watch: Watch
) -> None:
    wallet.install(context)
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.abort()

    context.route(EVENTS, refuse)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    see_done(page, polygon)
    assert refused
    watch.forget("net::ERR_FAILED")


def test_a_stream_that_hangs_is_not_waited_for(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.install(context)
    held: list[Route] = []
    context.route(EVENTS, lambda route: held.append(route))  # and never answered
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    see_done(page, polygon)
    assert len(held) == 1


def test_a_connection_that_is_lost_while_paying_loses_nothing(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page, watch: Watch
) -> None:
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    with page.expect_response("**/authorization"):
        page.get_by_role("button").click()
    context.set_offline(True)  # a train goes into a tunnel
    expect(page.get_by_text("No connection to us at the moment.")).to_be_visible()
    context.set_offline(False)
    see_done(page, polygon)
    expect(page.get_by_text("No connection to us at the moment.")).to_be_hidden()
    assert paid_once(shop, polygon, wallet)
    watch.forget("ERR_INTERNET_DISCONNECTED")


def test_an_answer_that_is_lost_is_not_paid_again(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page, watch: Watch
) -> None:
    """We have the signature, but the page does not know that: the same again is the same payment."""
    wallet.install(context)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    context.route("**/authorization", lambda route: route.abort())
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("The connection broke off after you signed.")
    context.unroute("**/authorization")
    context.route("**/authorization", lose)
    page.get_by_role("button").click()
    see_done(page, polygon)
    assert paid_once(shop, polygon, wallet)
    watch.forget("net::ERR_FAILED")
