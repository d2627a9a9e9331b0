"""A wallet on another device, through a relay: a phone of its own, paired with the page by what its QR code says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Shop
from tests.browser.wallet import PayerWallet, Refusal
from tests.browser.walletconnect_phone import Phone
from tests.browser.walletconnect_relay import Relay
from tests.conftest import RunningCascade

PROJECT_ID = "0" * 32

_PAIR = """
async ([options, name]) => {
  const { pair } = await import("/static/walletconnect.js");
  window.provider = await pair(options, async ({ uri, qr, link }) => {
    document.querySelector("main").append(qr);
    await window[name](uri, link);
  });
}
"""
_RESUME = """
async (options) => {
  const { resume } = await import("/static/walletconnect.js");
  window.provider = await resume(options);
  return window.provider !== null;
}
"""
_REQUEST = "([method, params]) => window.provider.request({ method, params })"
_CODE = "async ([method, params]) => window.provider.request({ method, params }).then(() => 0, (error) => error.code)"


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.stop()


@pytest.fixture
def cascade_up(relay: Relay, start_cascade: Callable[..., RunningCascade]) -> RunningCascade:
    return start_cascade(walletconnect_project_id=PROJECT_ID, walletconnect_relay_url=relay.url)


@pytest.fixture
def phone(relay: Relay, wallet: PayerWallet) -> Iterator[Phone]:
    phone = Phone.start(relay.url, wallet)
    yield phone
    phone.stop()
    assert phone.faults == []


@pytest.fixture
def sockets(page: Page, relay: Relay) -> Iterator[list[str]]:
    """The page's WebSockets; none may lead anywhere but to the relay."""
    opened: list[str] = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    yield opened
    assert all(url.startswith(f"{relay.url}/") for url in opened), opened


@pytest.fixture
def options(relay: Relay, shop: Shop) -> dict[str, Any]:
    return {"projectId": PROJECT_ID, "relayUrl": relay.url, "chainId": 137, "name": "Venice", "url": shop.api}


def request(page: Page, method: str, *params: Any) -> Any:
    return page.evaluate(_REQUEST, [method, list(params)])


def code(page: Page, method: str, *params: Any) -> int:
    """What the provider rejects a request with; 0 when it does not."""
    rejected: int = page.evaluate(_CODE, [method, list(params)])
    return rejected


def connect(page: Page, phone: Phone, options: dict[str, Any]) -> None:
    page.expose_function("scan", lambda uri, link: phone.scan(uri))
    page.evaluate(_PAIR, [options, "scan"])


def pay(page: Page, order: dict[str, Any]) -> None:
    (account,) = request(page, "eth_requestAccounts")
    for call in order["calls"]:
        sent = {"from": account, "to": call["to"], "data": call["data"], "value": call["value"]}
        assert request(page, "eth_sendTransaction", sent).startswith("0x")


def test_pays_from_a_phone(shop: Shop, phone: Phone, page: Page, sockets: list[str], options: dict[str, Any]) -> None:
    order = shop.order()
    page.goto(order["payment_link"])
    connect(page, phone, options)
    assert request(page, "eth_chainId") == "0x89"
    assert request(page, "wallet_switchEthereumChain", {"chainId": "0x89"}) is None
    pay(page, order)
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    assert phone.mind.asked == ["eth_sendTransaction", "eth_sendTransaction"]
    assert (phone.seen[0]["from"]["name"], phone.seen[0]["from"]["url"]) == ("Venice", shop.api)
    assert phone.seen[0]["namespaces"]["eip155"]["chains"] == ["eip155:137"]
    assert len(sockets) == 1
