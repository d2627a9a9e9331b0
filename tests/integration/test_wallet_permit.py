"""EIP-2612 permits, up to the payment that their payer sends: with the real tokens and their own domains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.services.wallet_plan import EFFORTS, Method
from sandbox.polygon import TOKENS
from sandbox.polygon import addresses as at
from sandbox.polygon.rpc import Rpc, calldata
from tests.integration.test_wallet_plan import fulfilled
from tests.support.signing_shop import OTHER, PAYER, PRICE, SigningShop, refused

Open = Callable[..., SigningShop]
both = pytest.mark.parametrize("token", ["USDC", "USDT"])
NAME_SLOT = f"0x{4:064x}"
"""Where USDC keeps the name that its domain is made of."""


@pytest.mark.parametrize(("token", "relays"), [("USDC", False), ("USDT", False), ("USDT", True)])
def test_a_permit_pays_in_one_transaction(open_shop: Open, deployment: Path, token: str, relays: bool) -> None:
    shop = open_shop(relays=relays)
    payer, order_id = shop.fund(PAYER, token, allow=False), shop.order()
    told = shop.plan(order_id, payer)
    assert (told["token"], told["method"], told["obstacle"]) == (token, "permit", None)
    assert "EIP712Domain" in told["typed_data"]["types"]
    assert told["send_to"] == f"/api/payments/orders/{order_id}/permit"
    answer = shop.permit(order_id, payer, shop.sign(told["typed_data"]), token)
    call = answer.json()
    assert (answer.status_code, call["label"], call["to"]) == (200, f"Pay 250 {token}", shop.router)
    assert shop.send_calls([call]) > EFFORTS[Method.PERMIT].gas
    fulfilled(shop, deployment, order_id)
    rpc = Rpc(shop.polygon.rpc_url)
    for question, holder in (("balanceOf(address)", [payer]), ("allowance(address,address)", [payer, shop.router])):
        assert rpc.call(TOKENS[token].address, question, *holder, returns="uint256") == 0
    rpc.close()


@both
def test_a_permit_of_something_else_is_refused(open_shop: Open, token: str) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER, token, allow=False), shop.order()
    data = shop.plan(order_id, payer)["typed_data"]
    refused(shop.permit(order_id, payer, shop.sign(data, OTHER), token), "wrong_signer")
    for field, value in (("value", str(PRICE + 1)), ("spender", at.MULTICALL3), ("deadline", "0"), ("nonce", "1")):
        changed = data | {"message": data["message"] | {field: value}}
        refused(shop.permit(order_id, payer, shop.sign(changed), token), "wrong_signer")
    assert shop.permit(order_id, payer, shop.sign(data), token).status_code == 200


@both
def test_a_permit_is_good_once(open_shop: Open, token: str) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER, token, allow=False), shop.order()
    data = shop.plan(order_id, payer)["typed_data"]
    signature = shop.sign(data)
    permit = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
    split = (signature[64], signature[:32], signature[32:64])
    terms = (payer, shop.router, PRICE, int(data["message"]["deadline"]))
    shop.act(OTHER, TOKENS[token].address, calldata(permit, *terms, *split))  # somebody sends it ahead
    refused(shop.permit(order_id, payer, signature, token), "wrong_signer")
    assert shop.plan(order_id, payer)["method"] == "pay"  # and the payer gets on all the same


@both
def test_a_permit_that_would_fail_is_refused(open_shop: Open, token: str) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER, token, PRICE - 1, allow=False), shop.order()
    signature = shop.sign(shop.plan(order_id, payer, token)["typed_data"])
    refused(shop.permit(order_id, payer, signature, token), "insufficient_balance")
    shop.polygon.mint(token, payer, 1)
    assert shop.permit(order_id, payer, signature, token).status_code == 200
    shop.block(payer, token)
    refused(shop.permit(order_id, payer, signature, token), "blocked")


def test_a_token_of_another_name_gets_no_signature(open_shop: Open, deployment: Path) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    signature = shop.sign(open_shop(relays=False).plan(order_id, payer)["typed_data"])
    shop.polygon.rpc("anvil_setStorageAt", at.USDC, NAME_SLOT, "0x" + b"Coin".ljust(31, b"\0").hex() + "08")
    told = shop.plan(order_id, payer)
    assert (told["method"], told["typed_data"], told["send_to"], told["obstacle"]) == ("approve", None, None, None)
    refused(shop.permit(order_id, payer, signature, "USDC"), "token_changed")
    shop.send_calls(told["calls"])
    fulfilled(shop, deployment, order_id)


def test_an_account_with_code_gets_no_permit_through(open_shop: Open) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER), shop.order()
    signature = shop.sign(shop.plan(order_id, payer)["typed_data"])
    shop.delegate(at.MULTICALL3)
    refused(shop.permit(order_id, payer, signature, "USDC"), "delegated_code")


def test_a_permit_that_the_token_does_not_take_is_noticed_before_it_costs_a_fee(open_shop: Open) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER), shop.order()
    signature = shop.sign(shop.plan(order_id, payer)["typed_data"])
    shop.polygon.rpc("anvil_setCode", at.USDC_SIGNATURE_CHECKER, "0x5f5ffd")  # refuses every signature
    refused(shop.permit(order_id, payer, signature, "USDC"), "reverted")
