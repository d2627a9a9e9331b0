"""From the payment link to ducats with a wallet on a phone, by the page's own button."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.polygon import LocalPolygon
from tests.browser.conftest import Shop, Watch
from tests.browser.payer_wallet import PayerWallet, Refusal
from tests.browser.walletconnect_phone import Phone
from tests.browser.walletconnect_relay import Relay
from tests.conftest import RunningCascade

BUTTON = "Another wallet, by WalletConnect"
DONE = "Done: 2,750 ducats were credited."
SIGN, SEND = "eth_signTypedData_v4", "eth_sendTransaction"


@pytest.fixture(scope="module")
def cascade_up(walletconnect_up: RunningCascade) -> RunningCascade:
    """The system that these tests see."""
    return walletconnect_up


def scan(page: Page, phone: Phone) -> None:
    """Point the phone at the page's dialog."""
    page.get_by_role("button", name=BUTTON).click()
    dialog = page.get_by_role("dialog", name="Scan this with your wallet")
    expect(dialog.get_by_role("img")).to_be_visible()
    link = dialog.get_by_role("link", name="Open a wallet on this device").get_attribute("href")
    assert link is not None
    phone.scan(str(page.evaluate("(link) => new URL(link).searchParams.get('uri')", link)))


def see_done(page: Page, polygon: LocalPolygon) -> None:
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text(DONE)


@pytest.mark.parametrize(
    ("tokens", "signs", "asked"),
    [
        (["USDC"], True, [SIGN]),
        (["USDT"], True, [SIGN, SEND]),
        (["USDC"], False, [SIGN, SEND, SEND]),
    ],
    ids=["by a signature", "by a permit", "by transactions"],
)
def test_pays_from_a_phone(
    shop: Shop,
    polygon: LocalPolygon,
    relay: Relay,
    watch: Watch,
    page: Page,
    tokens: list[str],
    signs: bool,
    asked: list[str],
) -> None:
    wallet = PayerWallet.funded(polygon, tokens=tokens)
    wallet.signs = signs
    phone = Phone.start(relay.url, wallet)
    try:
        page.goto(shop.order()["payment_link"])
        scan(page, phone)
        see_done(page, polygon)
    finally:
        phone.stop()
    assert phone.faults == []
    assert wallet.asked == asked
    assert shop.balance() == "2750"


def test_what_is_declined_on_the_phone_can_be_tried_again(
    shop: Shop, polygon: LocalPolygon, phone: Phone, page: Page
) -> None:
    page.goto(shop.order()["payment_link"])
    phone.declines = True
    scan(page, phone)
    expect(page.get_by_role("alert")).to_contain_text("You declined in your wallet, so nothing was paid.")
    expect(page.get_by_role("dialog")).to_be_hidden()
    phone.declines = False
    phone.mind.refusals = {SIGN: Refusal(5000, "User rejected.")}
    scan(page, phone)
    expect(page.get_by_role("alert")).to_contain_text("You declined in your wallet, so nothing was paid.")
    phone.mind.refusals = {}
    page.get_by_role("button", name=BUTTON).click()  # and is not asked to scan again
    see_done(page, polygon)
    assert len(phone.seen) == 2


def test_a_page_that_is_opened_again_knows_the_phone(
    shop: Shop, polygon: LocalPolygon, phone: Phone, context: BrowserContext, page: Page
) -> None:
    link = shop.order()["payment_link"]
    page.goto(link)
    phone.mind.refusals = {SIGN: Refusal(4001, "User rejected.")}
    scan(page, phone)
    expect(page.get_by_role("alert")).to_contain_text("You declined in your wallet")
    page.close()
    phone.mind.refusals = {}
    again = context.new_page()
    again.goto(link)
    again.get_by_role("button", name=BUTTON).click()
    see_done(again, polygon)
    assert len(phone.seen) == 1


def test_a_dialog_that_is_closed_leaves_the_other_ways_to_pay(shop: Shop, phone: Phone, page: Page) -> None:
    page.goto(shop.order()["payment_link"])
    button = page.get_by_role("button", name=BUTTON)
    for by_keyboard in (True, False):
        button.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog").get_by_role("img")).to_be_visible()
        if by_keyboard:
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(button).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text("nothing was paid")
    expect(page.get_by_text("Send from an exchange or any wallet")).to_be_visible()
    assert phone.seen == []


def test_a_wallet_that_is_not_on_polygon_is_told_so(shop: Shop, phone: Phone, page: Page) -> None:
    page.goto(shop.order()["payment_link"])
    phone.chains = ["eip155:1"]
    scan(page, phone)
    expect(page.get_by_role("alert")).to_contain_text("Your wallet is on another network. Choose Polygon")


def test_a_relay_that_is_silent_is_told(shop: Shop, relay: Relay, page: Page, watch: Watch) -> None:
    page.goto(shop.order()["payment_link"])
    relay.stop()
    try:
        page.get_by_role("button", name=BUTTON).click()
        expect(page.get_by_role("alert")).to_contain_text("WalletConnect does not answer")
        expect(page.get_by_role("dialog")).to_be_hidden()
    finally:
        relay.start()
    watch.forget("ERR_CONNECTION_REFUSED")


def test_nothing_of_walletconnect_is_loaded_before_somebody_asks(shop: Shop, page: Page) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button", name=BUTTON).wait_for()
    page.wait_for_timeout(500)
    assert [url for url in loaded if re.search("walletconnect|pairing", url)] == []
