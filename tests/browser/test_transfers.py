"""Paid by plain transfers, from wherever the payer has stablecoins, with nothing but what the page shows."""

from __future__ import annotations

from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.wallet import Wallet
from tests.browser.conftest import PATIENCE_MS, Opener, Shop

DONE = "Done: 2,750 ducats were credited."


def send(polygon: LocalPolygon, token: str, address: str, amount: str) -> None:
    """A transfer as an exchange makes it."""
    exchange = Wallet(polygon.rpc_url, polygon.keys[7])
    units = int(Decimal(amount) * 10**6)
    polygon.mint(token, exchange.address, units)
    try:
        exchange.receipt(exchange.transfer(TOKENS[token].address, address, units))
    finally:
        exchange.close()
    polygon.mine(3)


def copied(page: Page, token: str) -> tuple[str, str]:
    """What the page's copy buttons put into the clipboard: the amount and the address."""
    texts = []
    for button in page.locator(f"#send-{token}").get_by_role("button").all():
        button.click()
        expect(button).to_have_text("Copied")
        texts.append(str(page.evaluate("navigator.clipboard.readText()")))
    amount, address = texts
    return amount, address


def see_done(page: Page, polygon: LocalPolygon) -> None:
    """A transfer has to be final before it is collected, and what was collected has to be final as well."""
    for _ in range(20):
        if page.get_by_text(DONE).is_visible():
            break
        page.wait_for_timeout(PATIENCE_MS / 20)
        polygon.mine(1)
    expect(page.get_by_role("status")).to_have_text(DONE)


@pytest.mark.parametrize("token", ["USDC", "USDT"])
def test_pays_what_the_page_says_to_send(shop: Shop, polygon: LocalPolygon, new_context: Opener, token: str) -> None:
    page = new_context(permissions=["clipboard-read", "clipboard-write"]).new_page()
    page.goto(shop.order()["payment_link"])
    page.get_by_text("Send from an exchange or any wallet").click()
    if token == "USDT":
        page.get_by_text("USDT", exact=True).click()
    expect(page.get_by_role("img", name=f"The transfer of {token} as a QR code")).to_be_visible()
    expect(page.get_by_text("on Polygon and no other network").locator("visible=true")).to_be_visible()
    amount, address = copied(page, token)
    assert amount == "250"
    send(polygon, token, address, amount)
    see_done(page, polygon)
    expect(page.get_by_role("main")).to_contain_text(f"250 {token}")
    assert shop.balance() == "2750"


def test_a_short_transfer_says_how_much_is_missing_and_where_to_send_it(
    shop: Shop, polygon: LocalPolygon, new_context: Opener
) -> None:
    page = new_context(permissions=["clipboard-read", "clipboard-write"]).new_page()
    link = shop.order()["payment_link"]
    page.goto(link)
    page.get_by_text("Send from an exchange or any wallet").click()
    _, address = copied(page, "USDC")
    send(polygon, "USDC", address, "249.5")
    expect(page.get_by_role("status")).to_contain_text("249.50 USDC arrived, 0.50 USDC is missing")
    expect(page.get_by_role("main")).to_contain_text("249.50 USDC came to the order's address.")
    page.goto(link)  # a payer who comes back later finds it open
    amount, same = copied(page, "USDC")
    assert (amount, same) == ("0.50", address)
    send(polygon, "USDC", same, amount)
    see_done(page, polygon)
    assert shop.balance() == "2750"
