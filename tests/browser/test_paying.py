"""From the payment link to ducats, with real transactions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.wallet import Wallet
from tests.browser.conftest import Shop
from tests.browser.wallet import PayerWallet, Refusal

DONE = "Done: 2,750 ducats were credited."
SEEN = "Payment seen."


@pytest.mark.parametrize(
    ("token", "legacy", "button"),
    [
        ("USDC", False, "Pay with Test Wallet"),
        ("USDT", False, "Pay with Test Wallet"),
        ("USDC", True, "Pay with browser wallet"),
    ],
)
def test_from_the_link_to_ducats(
    shop: Shop,
    polygon: LocalPolygon,
    wallet: PayerWallet,
    context: BrowserContext,
    page: Page,
    token: str,
    legacy: bool,
    button: str,
) -> None:
    wallet.legacy = legacy
    wallet.install(context)
    order = shop.order(token)
    page.goto(order["payment_link"])
    expect(page.get_by_role("heading")).to_have_text("2,750 ducats")
    expect(page.get_by_role("main")).to_contain_text(f"including 250 bonus, for {shop.citizen}")
    expect(page.get_by_role("main")).to_contain_text(f"250 {token} on Polygon")
    expect(page.get_by_role("main")).to_contain_text(order["router"])
    expect(page.get_by_role("status")).to_have_text("Waiting for your payment.")

    page.get_by_role("button", name=button).press("Enter")

    expect(page.get_by_role("status")).to_contain_text(SEEN)
    expect(page.get_by_role("button")).to_have_count(0)
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text(DONE)
    expect(page.get_by_text("Paid", exact=True)).to_be_visible()
    expect(page).to_have_title(f"Paid: 2,750 ducats for 250 {token}")
    assert shop.balance() == "2750"
    assert wallet.transactions_asked_for == 2  # approve, pay
    assert _held(polygon, wallet, token) == 750_000_000
    link = page.get_by_role("link")
    expect(link).to_have_attribute("href", f"https://polygonscan.com/tx/{_last_transaction(page)}")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_two_clicks_pay_once(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    button = page.get_by_role("button")
    button.evaluate("(b) => { b.click(); b.click(); }")
    expect(page.get_by_role("status")).to_contain_text(SEEN)
    assert wallet.asked.count("eth_requestAccounts") == 1
    assert wallet.transactions_asked_for == 2
    assert _held(polygon, wallet, "USDC") == 750_000_000


def test_a_declined_payment_can_be_tried_again_without_a_second_approval(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    order = shop.order()

    def decline_payment(method: str, params: list[Any]) -> None:
        if method == "eth_sendTransaction" and params[0]["to"] == order["router"]:
            raise Refusal(4001, "User rejected the request.")

    wallet.on_request = decline_payment
    wallet.install(context)
    page.goto(order["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("You declined in your wallet, so nothing was paid.")
    assert wallet.transactions_asked_for == 2
    wallet.on_request = None
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text(SEEN)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert wallet.transactions_asked_for == 3


def test_an_order_paid_from_elsewhere_meanwhile_is_not_paid_again(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    order = shop.order()

    def pay_elsewhere(method: str, params: list[Any]) -> None:
        if method == "eth_sendTransaction":
            pay_from_elsewhere(polygon, order)
            polygon.mine(3)
            _until(lambda: shop.balance() == "2750")

    wallet.on_request = pay_elsewhere
    wallet.install(context)
    page.goto(order["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text(DONE)
    assert wallet.transactions_asked_for == 1  # the approval
    assert shop.balance() == "2750"


def test_a_payment_that_fails_on_chain_is_said_and_can_be_tried_again(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    order = shop.order()

    def starve_payment(method: str, params: list[Any]) -> None:
        if method == "eth_sendTransaction":
            wallet.gas = 60_000 if params[0]["to"] == order["router"] else 500_000

    wallet.on_request = starve_payment
    wallet.install(context)
    page.goto(order["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("The transaction failed on chain, so nothing was paid")
    wallet.on_request, wallet.gas = None, 500_000
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text(SEEN)


def test_an_order_that_is_already_paid_shows_its_receipt(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    order = shop.order()
    transaction = pay_from_elsewhere(polygon, order)
    polygon.mine(3)
    wallet.install(context)
    page.goto(order["payment_link"])
    expect(page.get_by_role("status")).to_have_text(DONE)
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    page.reload()
    expect(page.get_by_role("status")).to_have_text(DONE)
    expect(page.get_by_role("link")).to_have_text(transaction)
    expect(page.get_by_role("button")).to_have_count(0)
    page.wait_for_timeout(2_500)  # longer than the page waits between two questions
    assert [url for url in polls if "/api/" in url] == []


def pay_from_elsewhere(polygon: LocalPolygon, order: dict[str, Any]) -> str:
    """Pay an order from another wallet, and return the payment's transaction."""
    payer = Wallet(polygon.rpc_url, polygon.keys[7])
    polygon.mint(order["token"], payer.address, int(order["amount"]))
    try:
        for call in order["calls"]:
            sent = payer.send(call["to"], call["data"])
            payer.receipt(sent)
    finally:
        payer.close()
    return sent


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _held(polygon: LocalPolygon, wallet: PayerWallet, token: str) -> int:
    reader = Wallet(polygon.rpc_url, wallet.key)
    try:
        return reader.balance(TOKENS[token].address)
    finally:
        reader.close()


def _last_transaction(page: Page) -> str:
    shown = page.get_by_role("link").text_content()
    assert shown is not None
    return shown
