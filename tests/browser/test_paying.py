"""From the payment link to ducats, with real transactions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.wallet import Wallet
from tests.browser.conftest import PATIENCE_MS, Shop, Watch
from tests.browser.payer_wallet import PayerWallet, Refusal

DONE = "Done: 2,750 ducats were credited."
SEEN = "Payment seen."


CONNECT, SIGN, SEND, SEND_ALL = "eth_requestAccounts", "eth_signTypedData_v4", "eth_sendTransaction", "wallet_sendCalls"


_ANNOUNCE = """() => dispatchEvent(new CustomEvent("eip6963:announceProvider", {
  detail: { info: { uuid: "another", name: "Another" }, provider: { request() {} } },
}))"""


@pytest.mark.parametrize(
    ("token", "wallet_is", "prompts"),
    [
        ("USDC", {}, [CONNECT, SIGN]),  # EIP-3009; we send it
        ("USDC", {"legacy": True}, [CONNECT, SIGN]),
        ("USDC", {"signs": False}, [CONNECT, SIGN, SEND, SEND]),  # a refused signature, then approve and pay
        ("USDC", {"signs": False, "legacy": True}, [CONNECT, SIGN, SEND, SEND]),
        ("USDT", {}, [CONNECT, SIGN, SEND]),  # EIP-2612, and one transaction
        ("USDT", {"signs": False}, [CONNECT, SIGN, SEND, SEND]),
        ("USDT", {"batches": True}, [CONNECT, SEND_ALL]),  # EIP-5792, by an account whose code vouches for no signature
    ],
    ids=str,
)
def test_from_the_link_to_ducats(
    shop: Shop,
    polygon: LocalPolygon,
    context: BrowserContext,
    page: Page,
    token: str,
    wallet_is: dict[str, bool],
    prompts: list[str],
) -> None:
    wallet = PayerWallet.funded(polygon, tokens=[token])
    for name, value in wallet_is.items():
        setattr(wallet, name, value)
    if wallet.batches:
        wallet.use_account_code()
    wallet.install(context)
    order = shop.order()
    page.goto(order["payment_link"])
    main = page.get_by_role("main")
    expect(page.get_by_role("heading", level=1)).to_have_text("2,750 ducats")
    for text in (f"including 250 bonus, for {shop.citizen}", "250 USDC or USDT on Polygon", order["router"]):
        expect(main).to_contain_text(text)
    expect(page.get_by_role("status")).to_have_text("Waiting for your payment.")

    page.get_by_role("button", name="Pay with browser wallet" if wallet.legacy else "Pay with Test Wallet").press(
        "Enter"
    )

    expect(page.get_by_role("status")).to_contain_text(SEEN)
    expect(page.get_by_role("region", name="Pay")).to_be_hidden()
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text(DONE)
    expect(page.get_by_text("Paid", exact=True)).to_be_visible()
    expect(page).to_have_title("Paid: 2,750 ducats for $250")
    expect(main).to_contain_text(f"250 {token}")
    assert shop.balance() == "2750"
    assert [method for method in wallet.asked if method in (CONNECT, SIGN, SEND, SEND_ALL)] == prompts
    assert _held(polygon, wallet, token) == 750_000_000
    link = main.get_by_role("link")
    expect(link).to_have_attribute("href", f"https://polygonscan.com/tx/{link.text_content()}")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_two_clicks_pay_once(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.signs = False
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    button = page.get_by_role("button")
    button.evaluate("(b) => { b.click(); b.click(); }")
    expect(page.get_by_role("status")).to_contain_text(SEEN)
    assert wallet.asked.count("eth_requestAccounts") == 1
    assert wallet.transactions_asked_for == 2
    assert _held(polygon, wallet, "USDC") == 750_000_000


def test_a_button_stays_under_the_finger_while_other_wallets_are_found(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.install(context)
    page.clock.install()
    page.goto(shop.order()["payment_link"])
    button = page.get_by_role("button").element_handle()
    assert button is not None
    page.clock.run_for(1_000)  # no longer waits for older wallets
    page.evaluate(_ANNOUNCE)
    expect(page.get_by_role("button")).to_have_count(2)
    assert button.evaluate("(button) => button.isConnected")
    button.dispose()


def test_news_come_by_the_stream_alone(shop: Shop, polygon: LocalPolygon, page: Page) -> None:
    page.clock.install()
    order = shop.order()
    page.goto(order["payment_link"])
    page.clock.pause_at(time.time() + 60)  # from here on the page's clock says nothing
    pay_from_elsewhere(polygon, order)
    expect(page.get_by_role("status")).to_contain_text(SEEN)
    polygon.mine(3)
    expect(page.get_by_role("status")).to_contain_text(DONE)


def test_a_declined_payment_can_be_tried_again_without_a_second_approval(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    order = shop.order()

    def decline_payment(method: str, params: list[Any]) -> None:
        if method == "eth_sendTransaction" and params[0]["to"] == order["router"]:
            raise Refusal(4001, "User rejected the request.")

    wallet.on_request, wallet.signs = decline_payment, False
    wallet.install(context)
    page.goto(order["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("You declined in your wallet, so nothing was paid.")
    assert wallet.transactions_asked_for == 2
    wallet.on_request = None
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text(SEEN)
    expect(page.get_by_role("alert")).to_have_count(0)  # an empty one is none
    assert wallet.transactions_asked_for == 3


def test_an_order_paid_from_elsewhere_meanwhile_is_not_paid_again(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, context: BrowserContext, page: Page, watch: Watch
) -> None:
    order = shop.order()

    def pay_elsewhere(method: str, params: list[Any]) -> None:
        if method == "eth_sendTransaction":
            pay_from_elsewhere(polygon, order)
            polygon.mine(3)
            _until(lambda: shop.balance() == "2750")

    wallet.on_request, wallet.signs = pay_elsewhere, False
    wallet.install(context)
    page.goto(order["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text(DONE)
    assert wallet.transactions_asked_for == 1  # the approval
    assert shop.balance() == "2750"
    watch.forget("409")


def test_a_payment_that_fails_on_chain_is_said_and_can_be_tried_again(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    order = shop.order()

    def starve_payment(method: str, params: list[Any]) -> None:
        if method == "eth_sendTransaction":
            wallet.gas = 60_000 if params[0]["to"] == order["router"] else 500_000

    wallet.on_request, wallet.signs = starve_payment, False
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
    expect(page.get_by_role("main").get_by_role("link")).to_have_text(transaction)
    expect(page.get_by_role("region", name="Pay")).to_be_hidden()
    page.wait_for_timeout(2_500)  # longer than the page waits between two questions
    assert [url for url in polls if "/api/" in url] == []
    assert len([url for url in polls if "/pay/" in url]) == 1  # the reload


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
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _held(polygon: LocalPolygon, wallet: PayerWallet, token: str) -> int:
    reader = Wallet(polygon.rpc_url, wallet.key)
    try:
        return reader.balance(TOKENS[token].address)
    finally:
        reader.close()
