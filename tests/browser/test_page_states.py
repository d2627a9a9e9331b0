"""The page can be closed and opened again in any state, and follows the order while it is open."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import psycopg
from playwright.sync_api import BrowserContext, Page, expect
from psycopg.rows import dict_row

from cascade.domain.money import USDC, Money
from cascade.domain.payments import ConfirmedPayment, Outcome, Rail
from cascade.services.booking import book_payment
from tests.browser.conftest import Opener, Shop, Watch
from tests.browser.payer_wallet import PayerWallet

EXPIRED = "This price has expired, so the order can no longer be paid."


def test_an_order_that_expires_while_the_page_is_open(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.install(context)
    order = shop.order()
    page.goto(order["payment_link"])
    clock = page.get_by_role("timer")
    expect(clock).to_contain_text("The price holds until")
    shop.age(order, 13 * 60)
    page.reload()
    expect(clock).to_contain_text("1:5")  # a countdown only when it is near
    expect(clock).to_contain_text("left at this price.")
    shop.age(order, 10 * 60)
    expect(page.get_by_role("status")).to_contain_text(EXPIRED)
    expect(page.get_by_role("region", name="Pay")).to_be_hidden()
    expect(page.get_by_role("button")).to_have_text("Get today's price")


def test_an_expired_order_is_not_paid_although_the_page_does_not_know_yet(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page, watch: Watch
) -> None:
    order = shop.order()
    wallet.install(context)
    page.goto(order["payment_link"])
    page.get_by_role("button").wait_for()
    with page.expect_response("**/pay/*"):
        pass  # so that the next question is seconds away
    shop.age(order, 3600)
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text(EXPIRED)
    assert wallet.asked == ["eth_requestAccounts", "eth_chainId"]
    watch.forget("409")


def test_money_that_fits_no_order_is_shown(shop: Shop, page: Page) -> None:
    order = shop.order()
    short = ConfirmedPayment(
        reference="chain:137:1:0",
        rail=Rail.CHAIN,
        order_key=bytes.fromhex(order["on_chain_order_id"][2:]),
        received=Money(USDC, 25_000_000),
        landed={"treasury": 12_500_000, "partner": 12_500_000},
        payer="0x" + "ab" * 20,
        transaction="0x" + "cd" * 32,
    )
    page.goto(order["payment_link"])
    with psycopg.connect(shop.database_url, row_factory=dict_row) as connection:
        assert book_payment(connection, short) is Outcome.SUSPENSE
    expect(page.get_by_role("main")).to_contain_text(
        "25 USDC arrived but was not credited: it is less than the price. It is not lost"
    )
    expect(page.get_by_role("main").get_by_role("link", name="0x" + "cd" * 32)).to_be_visible()


def test_the_page_is_readable_without_javascript(shop: Shop, new_context: Opener) -> None:
    page = new_context(java_script_enabled=False).new_page()
    order = shop.order()
    page.goto(order["payment_link"])
    main = page.get_by_role("main")
    for text in ("2,750 ducats", "250 USDC or USDT on Polygon", order["router"], "Waiting for your payment."):
        expect(main).to_contain_text(text)
    # Not by its looks: the emulation stops scripts, but still parses as if they ran.
    assert "<noscript><p>Paying from a wallet needs JavaScript" in page.content()
    until = datetime.fromisoformat(order["expires_at"]).astimezone(UTC)
    expect(main).to_contain_text(f"until {until:%H:%M} UTC")
    shop.age(order, 3600)
    page.reload()
    expect(main).to_contain_text(EXPIRED)


def test_a_lost_connection_is_said_quietly_and_gotten_over(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page, watch: Watch
) -> None:
    wallet.install(context)
    order = shop.order()
    page.goto(order["payment_link"])
    lost = page.get_by_text("No connection to us at the moment.")
    shut = re.compile("/pay/|/api/")
    context.route(shut, lambda route: route.abort())
    expect(lost).to_be_visible()
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no connection to us at the moment")
    assert wallet.transactions_asked_for == 0
    context.unroute(shut)
    expect(lost).to_be_hidden()
    shop.age(order, 3600)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when the payer looks at it again
    expect(page.get_by_role("status")).to_contain_text(EXPIRED)
    watch.forget("net::ERR_FAILED")


def test_a_link_that_opens_nothing_says_so(shop: Shop, page: Page, watch: Watch) -> None:
    page.goto(f"{shop.api}/pay/nothing-has-this-link")
    expect(page.get_by_role("heading")).to_have_text("Unknown payment link")
    watch.forget("404")
