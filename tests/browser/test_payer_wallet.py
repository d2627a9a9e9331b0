"""The test wallet does what newer wallets do: it signs typed data, takes several calls at once, and counts prompts."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.rpc import Rpc
from tests.browser.conftest import Shop
from tests.browser.payer_wallet import POLYGON, PayerWallet

_REQUEST = """async ([method, params]) => {
  try { return { result: await window.ethereum.request({ method, params }) }; }
  catch (error) { return { code: error.code }; }
}"""


@pytest.fixture
def wallet(wallet: PayerWallet, context: BrowserContext) -> PayerWallet:
    """In the browser, where `window.ethereum` reaches it."""
    wallet.legacy = True
    wallet.install(context)
    return wallet


def ask(page: Page, method: str, *params: Any) -> dict[str, Any]:
    """What a page gets from the wallet: a result or a code."""
    answer: dict[str, Any] = page.evaluate(_REQUEST, [method, list(params)])
    return answer


def outcome(page: Page, bundle: str) -> dict[str, Any]:
    """The status of several calls, once it is known."""
    for _ in range(100):
        status: dict[str, Any] = ask(page, "wallet_getCallsStatus", bundle)["result"]
        if status["status"] != 100:
            return status
        page.wait_for_timeout(50)
    raise AssertionError(f"Nothing has become of {bundle} within five seconds.")


def wish(wallet: PayerWallet, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """What EIP-5792 wants of several calls."""
    told = [{"to": call["to"], "data": call["data"], "value": "0x0"} for call in calls]
    base = {"version": "2.0.0", "chainId": POLYGON, "from": wallet.account.address}
    return {**base, "atomicRequired": True, "calls": told}


def test_what_it_signs_is_a_payment_that_the_relayer_sends(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, page: Page
) -> None:
    order = shop.order()
    page.goto(order["payment_link"])
    payer = wallet.account.address
    url = f"{shop.api}/api/payments/orders/{order['order_id']}/authorization"
    offer = httpx.get(url, params={"payer": payer}, trust_env=False).json()
    signed = ask(page, "eth_signTypedData_v4", payer, json.dumps(offer["typed_data"]))
    body = {"payer": payer, "signature": signed["result"]}
    assert httpx.post(url, json=body, trust_env=False).status_code == 202
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text("Done: 2,750 ducats were credited.")
    assert (wallet.prompts, wallet.transactions_asked_for) == (1, 0)


def test_it_signs_for_nobody_else_and_for_no_other_network(shop: Shop, wallet: PayerWallet, page: Page) -> None:
    page.goto(shop.order()["payment_link"])
    elsewhere = json.dumps({"domain": {"chainId": 1}})
    assert ask(page, "eth_signTypedData_v4", "0x" + "11" * 20, elsewhere) == {"code": 4100}
    assert ask(page, "eth_signTypedData_v4", wallet.account.address, elsewhere) == {"code": -32602}


def test_several_calls_are_one_confirmation_and_pay(shop: Shop, wallet: PayerWallet, page: Page) -> None:
    wallet.batches = True
    order = shop.order()
    page.goto(order["payment_link"])
    able = ask(page, "wallet_getCapabilities", wallet.account.address, [POLYGON, "0x1"])
    assert able == {"result": {POLYGON: {"atomic": {"status": "ready"}}}}
    sent = ask(page, "wallet_sendCalls", wish(wallet, order["calls"]))
    status = outcome(page, sent["result"]["id"])
    assert (status["status"], len(status["receipts"]), status["atomic"]) == (200, 1, True)
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    assert wallet.prompts == 1
    able = ask(page, "wallet_getCapabilities", wallet.account.address)
    assert able == {"result": {POLYGON: {"atomic": {"status": "supported"}}}}


def test_of_several_calls_all_happen_or_none(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, page: Page
) -> None:
    wallet.batches = True
    order = shop.order()
    page.goto(order["payment_link"])
    approve, pay = order["calls"]
    failing = {**pay, "data": pay["data"][:10]}
    sent = ask(page, "wallet_sendCalls", wish(wallet, [approve, failing]))
    assert outcome(page, sent["result"]["id"])["status"] == 500
    rpc = Rpc(polygon.rpc_url)
    parties = (wallet.account.address, order["router"])
    assert rpc.call(TOKENS["USDC"].address, "allowance(address,address)", *parties, returns="uint256") == 0
    rpc.close()


def test_without_batches_it_knows_none_of_their_methods(shop: Shop, wallet: PayerWallet, page: Page) -> None:
    page.goto(shop.order()["payment_link"])
    account = wallet.account.address
    for method, parameter in (
        ("wallet_getCapabilities", account),
        ("wallet_sendCalls", wish(wallet, [])),
        ("wallet_getCallsStatus", "0x00"),
    ):
        assert ask(page, method, parameter) == {"code": 4200}
    wallet.batches = True
    assert ask(page, "wallet_getCallsStatus", "0x00") == {"code": 5730}
    assert wallet.prompts == 0


def test_its_owner_is_asked_to_connect_once(shop: Shop, wallet: PayerWallet, page: Page) -> None:
    page.goto(shop.order()["payment_link"])
    assert ask(page, "eth_accounts") == {"result": []}
    for _ in range(2):
        assert ask(page, "eth_requestAccounts") == {"result": [wallet.account.address]}
    assert ask(page, "eth_accounts") == {"result": [wallet.account.address]}
    assert wallet.prompts == 1
    assert ask(page, "wallet_switchEthereumChain", {"chainId": POLYGON}) == {"result": None}
    assert wallet.prompts == 1  # it is there already
