"""Wallets that nobody here wrote pay on our page, and what we let people sign means the same to them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.polygon import LocalPolygon
from tests.browser.conftest import Shop
from tests.browser.foreign_wallets import recover_as_metamask, sign_as_metamask
from tests.browser.payer_wallet import POLYGON, PayerWallet, Refusal


def test_from_the_link_to_ducats(
    shop: Shop, polygon: LocalPolygon, foreign_wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    foreign_wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button", name=f"Pay with {foreign_wallet.name}").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text("Done: 2,750 ducats were credited.")
    assert shop.balance() == "2750"
    assert foreign_wallet.transactions_asked_for == 0
    assert foreign_wallet.prompts == 2  # connect, sign


def test_pays_by_two_transactions(
    shop: Shop, polygon: LocalPolygon, foreign_wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    foreign_wallet.refusals = {"eth_signTypedData_v4": Refusal(4200, "This account cannot sign typed data.")}
    foreign_wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text("Done: 2,750 ducats were credited.")
    assert foreign_wallet.transactions_asked_for == 2  # approve, pay


def test_a_network_that_it_does_not_know_is_added(
    shop: Shop, foreign_wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    foreign_wallet.chain_id, foreign_wallet.networks = "0x1", {"0x1"}
    foreign_wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    assert foreign_wallet.chain_id == POLYGON
    assert foreign_wallet.prompts == 4  # connect, add, switch, sign


def test_a_refusal_arrives_with_its_code(
    shop: Shop, foreign_wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    foreign_wallet.refusals = {"eth_signTypedData_v4": Refusal(4001, "User rejected the request.")}
    foreign_wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("You declined in your wallet, so nothing was paid.")


@pytest.mark.parametrize("token", ["USDC", "USDT"])
def test_typed_data_means_the_same_to_metamasks_library(shop: Shop, wallet: PayerWallet, token: str) -> None:
    typed_data = _typed_data(shop, wallet.account.address, token)
    message = encode_typed_data(full_message=typed_data)
    ours = "0x" + bytes(wallet.account.sign_message(message).signature).hex()
    assert recover_as_metamask(typed_data, ours) == wallet.account.address.lower()
    theirs = sign_as_metamask(typed_data, wallet.key)
    assert Account.recover_message(message, signature=theirs) == wallet.account.address
    # Without the domain's own type it signs something else, and says nothing.
    nameless = {**typed_data, "types": {k: v for k, v in typed_data["types"].items() if k != "EIP712Domain"}}
    assert sign_as_metamask(nameless, wallet.key) != theirs


def _typed_data(shop: Shop, payer: str, token: str) -> dict[str, Any]:
    order = shop.order(token)["order_id"]
    answer = httpx.get(
        f"{shop.api}/api/payments/orders/{order}/authorization",
        params={"payer": payer, "token": token},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    typed_data: dict[str, Any] = answer.json()["typed_data"]
    return typed_data
