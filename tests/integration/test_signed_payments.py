"""Payments that their payers only sign: real tokens, the real Permit2, a real Safe, up to the relayer's queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.chain import eip3009_permit2
from cascade.db import orders, relay_queue
from cascade.db.database import Database
from cascade.domain.relay_batch_rules import Lane
from cascade.domain.relay_items import RelayState
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon import addresses as at
from sandbox.polygon.rpc import Rpc, calldata
from tests.support.signing_shop import OTHER, PAYER, PRICE, refused
from tests.support.signing_shop import SigningShop as Shop

both = pytest.mark.parametrize("token", ["USDC", "USDT"])


@pytest.fixture
def shop(
    environment: Path,
    polygon: LocalPolygon,
    deployment: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    with Shop.open(polygon, deployment, database, monkeypatch.setenv) as shop:
        yield shop


@both
def test_a_signed_payment_is_queued_once_and_the_router_takes_it(shop: Shop, token: str) -> None:
    payer, order_id = shop.fund(PAYER, token), shop.order(token)
    offer = shop.ask(order_id, payer, token).json()
    kind = {"USDC": "authorization", "USDT": "permit2"}[token]
    assert (offer["method"], offer["account"], offer["obstacle"]) == (kind, "eoa", None)
    signature = shop.sign(offer["typed_data"])
    for _ in range(2):
        answer = shop.send(order_id, payer, signature, token)
        assert answer.status_code == 202
        state = {"kind": kind, "state": "queued", "reason": None, "next_step": None, "transaction": None}
        assert answer.json() == {"order_id": order_id, **state}
    assert shop.http.get(f"/api/payments/orders/{order_id}").json()["relay"] == [state]
    with shop.database.transaction() as connection:
        (item,) = relay_queue.of_order(connection, order_id)
    assert (item.state, item.payer, item.has_code) == (RelayState.QUEUED, payer, False)
    shop.settle(order_id)
    rpc = Rpc(shop.polygon.rpc_url)
    assert rpc.call(TOKENS[token].address, "balanceOf(address)", payer, returns="uint256") == 0
    rpc.close()
    assert shop.send(order_id, payer, signature, token).json()["state"] == "queued"  # still the same one
    assert shop.ask(order_id, payer, token).json()["obstacle"]["reason"] == "already_paid"


def test_an_order_in_one_token_can_be_signed_in_the_other(shop: Shop) -> None:
    payer, order_id = shop.fund(PAYER, "USDT"), shop.order("USDC")
    signature = shop.sign(shop.ask(order_id, payer, "USDT").json()["typed_data"])
    assert shop.send(order_id, payer, signature, "USDT").json()["kind"] == "permit2"


@both
def test_while_one_is_on_its_way_another_payer_is_refused(shop: Shop, token: str) -> None:
    payer, other, order_id = shop.fund(PAYER, token), shop.fund(OTHER, token), shop.order(token)
    first = shop.sign(shop.ask(order_id, payer, token).json()["typed_data"])
    second = shop.sign(shop.ask(order_id, other, token).json()["typed_data"], OTHER)
    assert shop.send(order_id, payer, first, token).status_code == 202
    answer = shop.send(order_id, other, second, token)
    assert answer.status_code == 409
    assert "being sent" in answer.json()["detail"]


def changed(change: Callable[[dict[str, Any]], None]) -> Callable[[Shop, str, str], bytes]:
    def make(shop: Shop, order_id: str, token: str) -> bytes:
        data = shop.ask(order_id, shop.polygon.accounts[PAYER], token).json()["typed_data"]
        change(data)
        return shop.sign(data)

    return make


def less(data: dict[str, Any]) -> None:
    amount = data["message"].get("permitted", data["message"])
    key = "amount" if "amount" in amount else "value"
    amount[key] = str(int(amount[key]) - 1)


def elsewhere(data: dict[str, Any]) -> None:
    data["domain"]["chainId"] = 1


def to_another(data: dict[str, Any]) -> None:
    data["message"]["to" if "to" in data["message"] else "spender"] = at.MULTICALL3


def by_another_key(shop: Shop, order_id: str, token: str) -> bytes:
    payer = shop.polygon.accounts[PAYER]
    return shop.sign(shop.ask(order_id, payer, token).json()["typed_data"], OTHER)


def of_another_order(shop: Shop, _: str, token: str) -> bytes:
    payer = shop.polygon.accounts[PAYER]
    return shop.sign(shop.ask(shop.order(token), payer, token).json()["typed_data"])


def in_the_other_form(shop: Shop, order_id: str, token: str) -> bytes:
    good = changed(lambda _: None)(shop, order_id, token)
    return good[:64] + bytes([good[64] - 27])


def by_the_other_s(shop: Shop, order_id: str, token: str) -> bytes:
    """Follows from the good one, and Permit2 would take it."""
    good = changed(lambda _: None)(shop, order_id, token)
    s = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - int.from_bytes(good[32:64])
    return good[:32] + s.to_bytes(32) + bytes([55 - good[64]])


WRONG = {
    "less": changed(less),
    "elsewhere": changed(elsewhere),
    "to another": changed(to_another),
    "by another key": by_another_key,
    "of another order": of_another_order,
    "in another form": in_the_other_form,
    "by the other s": by_the_other_s,
    "nothing": lambda *_: bytes(65),
    "too short": lambda *_: b"\1",
}


@both
@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_a_signature_of_something_else_is_refused(
    shop: Shop, token: str, make: Callable[[Shop, str, str], bytes]
) -> None:
    payer, order_id = shop.fund(PAYER, token), shop.order(token)
    refused(shop.send(order_id, payer, make(shop, order_id, token), token), "wrong_signer")
    with shop.database.transaction() as connection:
        assert [relay_queue.queued(connection, lane, 1) for lane in Lane] == [[], [], []]


def poor(shop: Shop, token: str) -> None:
    shop.fund(PAYER, token, PRICE - 1)


def shy(shop: Shop, token: str) -> None:
    shop.fund(PAYER, token, allow=False)


def blocked(shop: Shop, token: str) -> None:
    shop.block(shop.fund(PAYER, token), token)


def paused(shop: Shop, token: str) -> None:
    shop.fund(PAYER, token)
    shop.pause()


def late(shop: Shop, token: str) -> None:
    shop.fund(PAYER, token)
    shop.let_an_hour_pass()


def delegated(shop: Shop, token: str) -> None:
    shop.fund(PAYER, token)
    shop.delegate(at.MULTICALL3)


OBSTACLES = [
    ("insufficient_balance", poor, ("USDC", "USDT")),
    ("insufficient_allowance", shy, ("USDT",)),
    ("blocked", blocked, ("USDC", "USDT")),
    ("paused", paused, ("USDC", "USDT")),
    ("expired", late, ("USDC", "USDT")),
    ("delegated_code", delegated, ("USDC", "USDT")),
]


@pytest.mark.parametrize(
    ("reason", "deed", "token"), [(reason, deed, token) for reason, deed, tokens in OBSTACLES for token in tokens]
)
def test_what_is_in_the_way_is_said_before_and_after_signing(
    shop: Shop, reason: str, deed: Callable[[Shop, str], None], token: str
) -> None:
    payer, order_id = shop.polygon.accounts[PAYER], shop.order(token)
    deed(shop, token)
    offer = shop.ask(order_id, payer, token).json()
    assert offer["obstacle"]["reason"] == reason
    assert offer["obstacle"]["next_step"]
    refused(shop.send(order_id, payer, shop.sign(offer["typed_data"]), token), reason)


def test_a_token_that_changed_its_name_is_noticed(shop: Shop) -> None:
    payer, order_id = shop.fund(PAYER, "USDC"), shop.order()
    # The proxy gets an implementation that computes another domain: that of USDT.
    slot = "0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3"
    shop.polygon.rpc("anvil_setStorageAt", at.USDC, slot, "0x" + bytes(12).hex() + at.USDT_IMPLEMENTATION[2:].lower())
    assert shop.ask(order_id, payer).json()["obstacle"]["reason"] == "token_changed"


@both
def test_a_delegated_account_that_vouches_pays(shop: Shop, token: str) -> None:
    payer, order_id = shop.fund(PAYER, token), shop.order(token)
    shop.delegate_to_a_wallet()
    offer = shop.ask(order_id, payer, token).json()
    assert (offer["account"], offer["obstacle"]) == ("delegated", None)
    refused(shop.send(order_id, payer, shop.sign(offer["typed_data"], OTHER), token), "wrong_signer")
    assert shop.send(order_id, payer, shop.sign(offer["typed_data"]), token).status_code == 202
    shop.settle(order_id)


@both
def test_a_safe_pays_with_its_owners_signatures(shop: Shop, token: str) -> None:
    owners = sorted((PAYER, OTHER), key=lambda n: int(shop.polygon.accounts[n], 16))
    safe = shop.polygon.create_safe([shop.polygon.accounts[n] for n in owners], 2, salt=77)
    shop.polygon.mint(token, safe, PRICE)
    if token == "USDT":
        shop.act_as(safe, at.USDT, calldata("approve(address,uint256)", at.PERMIT2, PRICE))
    order_id = shop.order(token)
    offer = shop.ask(order_id, safe, token).json()
    assert (offer["account"], offer["obstacle"]) == ("contract", None)
    with shop.database.transaction() as connection:
        (terms,) = (each for each in orders.chain_terms(connection, order_id) if each.token.code == token)
    message = {
        "types": {
            "EIP712Domain": [{"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}],
            "SafeMessage": [{"name": "message", "type": "bytes"}],
        },
        "primaryType": "SafeMessage",
        "domain": {"chainId": 137, "verifyingContract": safe},
        "message": {"message": eip3009_permit2.digest(terms, safe)},
    }
    one, two = (shop.sign(message, n) for n in owners)
    refused(shop.send(order_id, safe, one, token), "wrong_signer")
    refused(shop.send(order_id, safe, two + one, token), "wrong_signer")
    assert shop.send(order_id, safe, one + two, token).status_code == 202
    with shop.database.transaction() as connection:
        (item,) = relay_queue.of_order(connection, order_id)
    assert item.has_code
    shop.settle(order_id)
