"""A wallet on another device, through a relay: a phone of its own, paired with the page by what its QR code says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sized
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Shop, Watch
from tests.browser.foreign_wallets import read_qr
from tests.browser.payer_wallet import Refusal
from tests.browser.walletconnect_phone import Phone
from tests.browser.walletconnect_relay import Relay
from tests.conftest import RunningCascade

PROJECT_ID = "0" * 32

_PAIR = """
async ([options, name]) => {
  const { pair } = await import("/static/built/walletconnect.js");
  window.provider = await pair(options, async ({ uri, qr, link }) => {
    document.querySelector("main").append(qr);
    await window[name](uri, link);
  });
}
"""
_REJECTED_PAIR = """
async ([options, name]) => {
  const { pair } = await import("/static/built/walletconnect.js");
  return pair(options, ({ uri, link }) => { void window[name](uri, link); }).then(() => 0, (error) => error.code);
}
"""
_BEGIN_PAIR = f"(how) => {{ window.outcome = ({_REJECTED_PAIR})(how); }}"
_RESUME = """
async (options) => {
  const { resume } = await import("/static/built/walletconnect.js");
  window.provider = await resume(options);
  return window.provider !== null;
}
"""
_REQUEST = "([method, params]) => window.provider.request({ method, params })"
_CODE = "async ([method, params]) => window.provider.request({ method, params }).then(() => 0, (error) => error.code)"


@pytest.fixture(scope="module")
def cascade_up(walletconnect_up: RunningCascade) -> RunningCascade:
    """The system that these tests see."""
    return walletconnect_up


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


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait while the browser goes on; it calls us only while we listen to it."""
    for _ in range(200):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("It did not come about within ten seconds.")


def _has(things: Sized, count: int) -> bool:
    return len(things) == count


def connect(page: Page, phone: Phone, options: dict[str, Any]) -> None:
    page.expose_function("scan", lambda uri, _: phone.scan(uri))
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


def test_the_invitation_is_a_code_to_scan_and_a_link_for_a_phone(
    shop: Shop, phone: Phone, page: Page, options: dict[str, Any]
) -> None:
    page.goto(shop.order()["payment_link"])
    shown: list[tuple[str, str]] = []

    def show(uri: str, link: str) -> None:
        shown.append((uri, link))
        phone.scan(uri)

    page.expose_function("scan", show)
    page.evaluate(_PAIR, [options, "scan"])
    ((uri, link),) = shown
    assert uri.startswith("wc:")
    assert link == f"metamask://wc?uri={quote(uri, safe='')}"
    image = page.get_by_role("img", name="QR code for your wallet")
    expect(image).to_be_visible()
    path, size = image.evaluate("(svg) => [svg.lastChild.getAttribute('d'), svg.viewBox.baseVal.width]")
    dark = [(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)]
    assert read_qr(dark, size) == uri


def test_a_wallet_answers_only_what_it_was_asked_for(
    shop: Shop, phone: Phone, page: Page, options: dict[str, Any]
) -> None:
    page.goto(shop.order()["payment_link"])
    connect(page, phone, options)
    assert code(page, "eth_getCode", shop.order()["router"], "latest") == 4200
    assert code(page, "eth_call", {}, "latest") == 4200
    assert code(page, "eth_getTransactionReceipt", "0x") == 4200
    assert code(page, "wallet_sendCalls", {}) == 4200  # asked for, but this wallet does not offer it
    assert code(page, "wallet_switchEthereumChain", {"chainId": "0x1"}) == 4902
    assert phone.requests.empty()


def test_a_payer_declines(shop: Shop, phone: Phone, page: Page, options: dict[str, Any]) -> None:
    order = shop.order()
    page.goto(order["payment_link"])
    phone.declines = True
    page.expose_function("scan", lambda uri, _: phone.scan(uri))
    assert page.evaluate(_REJECTED_PAIR, [options, "scan"]) == 4001
    phone.declines = False
    page.evaluate(_PAIR, [options, "scan"])
    for refusal in (Refusal(4001, "User rejected."), Refusal(5000, "User rejected.")):
        phone.mind.refusals = {"eth_sendTransaction": refusal}
        assert code(page, "eth_sendTransaction", {}) == 4001
    phone.mind.refusals = {"eth_sendTransaction": Refusal(-32000, "insufficient funds for gas")}
    assert code(page, "eth_sendTransaction", {}) == -32000
    phone.mind.refusals = {}
    pay(page, order)
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")


def test_a_wallet_on_another_chain_is_let_go(shop: Shop, phone: Phone, page: Page, options: dict[str, Any]) -> None:
    page.goto(shop.order()["payment_link"])
    phone.chains = ["eip155:1"]
    page.expose_function("scan", lambda uri, _: phone.scan(uri))
    assert page.evaluate(_REJECTED_PAIR, [options, "scan"]) == 4901
    assert phone.deleted.get(timeout=10) == phone.sessions.get(timeout=10)
    assert page.evaluate(_RESUME, options) is False


def test_the_session_survives_a_closed_page(
    shop: Shop, phone: Phone, context: BrowserContext, page: Page, options: dict[str, Any]
) -> None:
    order = shop.order()
    page.goto(order["payment_link"])
    assert page.evaluate(_RESUME, options) is False
    assert page.evaluate("performance.getEntriesByType('resource').every(({name}) => !name.includes('2.21.8'))")
    connect(page, phone, options)
    page.close()
    again = context.new_page()
    again.goto(order["payment_link"])
    assert again.evaluate(_RESUME, options) is True
    pay(again, order)
    expect(again.get_by_role("status")).to_contain_text("Payment seen.")
    assert len(phone.seen) == 1
    assert again.evaluate(_RESUME, {**options, "chainId": 1}) is False


def test_a_session_that_the_wallet_ended_is_over(
    shop: Shop, phone: Phone, watch: Watch, page: Page, options: dict[str, Any]
) -> None:
    # Said by the client to nobody, where the wallet is quicker than the acknowledgement of the request.
    watch.tolerate("Record was recently deleted")
    page.goto(shop.order()["payment_link"])
    connect(page, phone, options)
    phone.mute = True
    page.evaluate(f"(call) => {{ window.pending = ({_CODE})(call); }}", ["eth_sendTransaction", [{}]])
    phone.requests.get(timeout=10)
    phone.disconnect(phone.sessions.get(timeout=10))
    assert page.evaluate("window.pending") == 4100
    assert code(page, "eth_requestAccounts") == 4100
    assert code(page, "eth_sendTransaction", {}) == 4100
    until(page, lambda: page.evaluate(_RESUME, options) is False)


def test_a_session_that_was_ended_while_the_page_was_closed_is_over(
    shop: Shop, phone: Phone, context: BrowserContext, page: Page, options: dict[str, Any]
) -> None:
    link = shop.order()["payment_link"]
    page.goto(link)
    connect(page, phone, options)
    page.close()
    phone.disconnect(phone.sessions.get(timeout=10))
    again = context.new_page()
    again.goto(link)
    if again.evaluate(_RESUME, options):
        assert code(again, "eth_sendTransaction", {}) == 4100
    assert phone.requests.empty()


def test_without_a_relay_nothing_hangs(
    shop: Shop, relay: Relay, phone: Phone, watch: Watch, page: Page, options: dict[str, Any]
) -> None:
    page.goto(shop.order()["payment_link"])
    connect(page, phone, options)
    relay.stop()
    page.wait_for_function("() => window.provider.request({ method: 'eth_chainId' })")
    assert code(page, "eth_sendTransaction", {}) == 4900
    page.reload()
    assert page.evaluate(_REJECTED_PAIR, [options, "scan"]) == 4900
    relay.start()
    page.reload()
    page.evaluate(_PAIR, [options, "scan"])
    assert page.evaluate("() => window.provider.request({ method: 'eth_chainId' })") == "0x89"
    assert phone.requests.empty()  # what was said to have failed was not sent later either
    watch.forget("ERR_CONNECTION_REFUSED")


def test_an_invitation_that_runs_out_is_renewed_until_nobody_comes(
    shop: Shop, page: Page, options: dict[str, Any]
) -> None:
    page.clock.install()
    page.goto(shop.order()["payment_link"])
    shown: list[str] = []
    page.expose_function("shown", lambda uri, _: shown.append(uri))
    page.evaluate(_BEGIN_PAIR, [options, "shown"])
    for count in (1, 2, 3):
        until(page, partial(_has, shown, count))
        page.clock.fast_forward(301_000)
    assert page.evaluate("window.outcome") == 8000
    assert len(set(shown)) == 3


def test_an_invitation_that_was_declined_leaves_nothing_behind(
    shop: Shop, phone: Phone, page: Page, options: dict[str, Any]
) -> None:
    """The watch would see what nobody handles when its time is up."""
    page.clock.install()
    page.goto(shop.order()["payment_link"])
    phone.declines = True
    page.expose_function("scan", lambda uri, _: phone.scan(uri))
    assert page.evaluate(_REJECTED_PAIR, [options, "scan"]) == 4001
    page.clock.fast_forward(301_000)
    page.wait_for_timeout(500)
