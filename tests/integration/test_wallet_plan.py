"""How an account pays an order from its wallet: the plan, then really paid by it, with the real tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.chains import Deployment
from cascade.db import orders
from cascade.db.database import Database
from cascade.domain.relay_items import RejectReason
from cascade.services.wallet_plan import EFFORTS, Method
from sandbox.polygon import LocalPolygon
from sandbox.polygon import addresses as at
from tests.faults.chain_rail import follow
from tests.integration.test_signed_payment_bounds import book, expire, watched
from tests.support.signing_shop import MERCHANT, OTHER, PAYER, PRICE, SigningShop, refused

Open = Callable[..., SigningShop]
both = pytest.mark.parametrize("token", ["USDC", "USDT"])


def empty_of_pol(shop: SigningShop, payer: int = PAYER, wei: int = 0) -> None:
    shop.polygon.rpc("anvil_setBalance", shop.polygon.accounts[payer], hex(wei))


def labels(told: dict[str, Any]) -> list[str]:
    return [call["label"].split()[0] for call in told["calls"]]


def fulfilled(shop: SigningShop, deployment: Path, order_id: str) -> None:
    follow(shop.polygon, shop.database, Deployment.load(deployment))
    assert shop.http.get(f"/api/payments/orders/{order_id}").json()["status"] == "fulfilled"


def test_usdc_is_signed_and_what_is_signed_can_be_sent_where_it_says(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    told = shop.plan(order_id, payer.lower())
    assert (told["order_id"], told["payer"], told["token"]) == (order_id, payer, "USDC")
    assert (told["amount"], told["amount_display"], told["account"]) == (str(PRICE), "250", "eoa")
    assert (told["method"], told["obstacle"], labels(told)) == ("authorization", None, ["Approve", "Pay"])
    assert told["typed_data"] == shop.ask(order_id, payer).json()["typed_data"]
    signature = "0x" + shop.sign(told["typed_data"]).hex()
    body = {"payer": payer, "signature": signature, "token": told["token"]}
    assert shop.http.post(told["send_to"], json=body).status_code == 202
    shop.settle(order_id)


def test_usdt_is_signed_once_permit2_may_spend_it(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER, "USDT"), shop.order()
    told = shop.plan(order_id, payer)
    assert (told["token"], told["method"], told["obstacle"]) == ("USDT", "permit2", None)
    assert told["send_to"] == f"/api/payments/orders/{order_id}/authorization"
    body = {"payer": payer, "signature": "0x" + shop.sign(told["typed_data"]).hex(), "token": "USDT"}
    assert shop.http.post(told["send_to"], json=body).json()["kind"] == "permit2"
    shop.settle(order_id)


@both
def test_an_allowance_that_is_there_is_used(open_shop: Open, deployment: Path, token: str) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER, token, allow=False), shop.order()
    shop.allow(PAYER, token)
    told = shop.plan(order_id, payer)
    assert (told["token"], told["method"], told["obstacle"], labels(told)) == (token, "pay", None, ["Pay"])
    assert (told["typed_data"], told["send_to"]) == (None, None)
    assert shop.send_calls(told["calls"]) > EFFORTS[Method.PAY].gas
    fulfilled(shop, deployment, order_id)


@both
def test_the_plain_calls_pay_too(open_shop: Open, deployment: Path, token: str) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER, token, allow=False), shop.order()
    shop.allow(PAYER, token, PRICE - 1)
    told = shop.plan(order_id, payer, token)
    assert labels(told) == ["Approve", "Pay"]
    assert shop.send_calls(told["calls"]) > EFFORTS[Method.APPROVE].gas
    fulfilled(shop, deployment, order_id)


def test_of_both_the_one_with_fewer_questions_is_chosen(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order("USDT")
    shop.fund(PAYER, "USDT", allow=False)
    assert (shop.plan(order_id, payer)["token"], shop.plan(order_id, payer, "USDT")["method"]) == ("USDC", "permit")
    shop.block(payer)
    assert (shop.plan(order_id, payer)["token"], shop.plan(order_id, payer)["obstacle"]) == ("USDT", None)
    assert shop.plan(order_id, payer, "USDC")["obstacle"]["reason"] == "blocked"


def test_without_a_relayer_an_allowance_beats_a_permit(open_shop: Open) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER), shop.order()
    shop.fund(PAYER, "USDT", allow=False)
    assert (shop.plan(order_id, payer)["token"], shop.plan(order_id, payer)["method"]) == ("USDC", "permit")
    shop.allow(PAYER, "USDT")
    assert (shop.plan(order_id, payer)["token"], shop.plan(order_id, payer)["method"]) == ("USDT", "pay")


def test_who_has_too_little_hears_of_what_it_has(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER, "USDC", 1), shop.order()
    shop.fund(PAYER, "USDT", PRICE - 500_000)
    obstacle = shop.plan(order_id, payer)["obstacle"]
    assert (obstacle["reason"], bool(obstacle["next_step"])) == ("insufficient_balance", True)
    assert obstacle["holdings"] == [
        {
            "token": "USDC",
            "held": "1",
            "held_display": "0.000001",
            "missing": str(PRICE - 1),
            "missing_display": "249.999999",
        },
        {
            "token": "USDT",
            "held": str(PRICE - 500_000),
            "held_display": "249.50",
            "missing": "500000",
            "missing_display": "0.50",
        },
    ]
    assert shop.plan(order_id, payer)["token"] == "USDT"  # least is missing


def test_pol_is_asked_for_only_by_who_sends(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    shop.fund(PAYER, "USDT", allow=False)
    empty_of_pol(shop)
    assert (shop.plan(order_id, payer)["method"], shop.plan(order_id, payer)["obstacle"]) == ("authorization", None)
    obstacle = shop.plan(order_id, payer, "USDT")["obstacle"]
    assert obstacle == {"reason": "no_pol", "next_step": RejectReason.NO_POL.next_step, "holdings": []}
    base_fee = int(shop.polygon.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    empty_of_pol(shop, wei=EFFORTS[Method.PERMIT].gas * (base_fee + 25 * 10**9))
    assert shop.plan(order_id, payer, "USDT")["obstacle"] is None


def test_a_safe_pays_by_calls_and_needs_no_pol(open_shop: Open, deployment: Path) -> None:
    shop = open_shop()
    safe, order_id = shop.polygon.create_safe([shop.polygon.accounts[PAYER]], 1, salt=78), shop.order()
    shop.polygon.mint("USDC", safe, PRICE)
    told = shop.plan(order_id, safe)
    assert (told["account"], told["method"], told["obstacle"], labels(told)) == (
        "contract",
        "approve",
        None,
        ["Approve", "Pay"],
    )
    approve, pay = ((call["to"], bytes.fromhex(call["data"][2:])) for call in told["calls"])
    shop.act_as(safe, *approve)
    assert (shop.plan(order_id, safe)["method"], labels(shop.plan(order_id, safe))) == ("pay", ["Pay"])
    shop.act_as(safe, *pay)
    fulfilled(shop, deployment, order_id)


@both
def test_a_delegated_account_signs_only_if_its_code_vouches(open_shop: Open, token: str) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER, token), shop.order()
    shop.delegate_to_a_wallet()
    told = shop.plan(order_id, payer)
    assert (told["account"], told["method"]) == ("delegated", {"USDC": "authorization", "USDT": "permit2"}[token])
    shop.delegate(at.MULTICALL3)
    told = shop.plan(order_id, payer)
    assert (told["account"], told["method"], told["obstacle"]) == ("delegated", "approve", None)


def test_a_delegated_account_without_a_relayer_sends_calls(open_shop: Open) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER), shop.order()
    shop.delegate_to_a_wallet()
    assert shop.plan(order_id, payer)["method"] == "approve"


@both
def test_a_blocked_account_hears_so(open_shop: Open, token: str) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER, token, allow=False), shop.order()
    shop.block(payer, token)
    told = shop.plan(order_id, payer)
    assert (told["token"], told["obstacle"]["reason"], told["obstacle"]["holdings"]) == (token, "blocked", [])


def test_while_payments_are_paused_nobody_is_asked_for_anything(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.polygon.accounts[PAYER], shop.order()
    shop.pause()
    assert shop.plan(order_id, payer)["obstacle"]["reason"] == "paused"


def test_what_the_chain_knows_before_the_books_is_said(open_shop: Open) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER), shop.order()
    shop.fund(PAYER, "USDT", allow=False)
    permitted = shop.sign(shop.plan(order_id, payer, "USDT")["typed_data"])
    shop.send_calls(shop.plan(order_id, payer, "USDC")["calls"])
    for token in (None, "USDC", "USDT"):  # no indexer has seen it
        assert shop.plan(order_id, payer, token)["obstacle"]["reason"] == "already_paid"
    refused(shop.permit(order_id, payer, permitted, "USDT"), "already_paid")


def test_an_order_whose_time_is_over_on_chain_is_expired(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    shop.let_an_hour_pass()
    assert shop.plan(order_id, payer)["obstacle"]["reason"] == "expired"


@pytest.mark.parametrize(("reason", "deed"), [("expired", expire), ("already_paid", book)])
def test_an_order_that_is_not_open_is_refused(
    open_shop: Open, database: Database, reason: str, deed: Callable[[Database, str], None]
) -> None:
    shop = open_shop(relays=False)
    payer, order_id = shop.fund(PAYER), shop.order()
    signature = shop.sign(shop.plan(order_id, payer)["typed_data"])
    deed(database, order_id)
    refused(shop.ask_plan(order_id, payer), reason)
    refused(shop.permit(order_id, payer, signature, "USDC"), reason)


def test_nobody_is_led_to_pay_beside_what_is_being_sent(open_shop: Open) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    other = shop.fund(OTHER, "USDT", allow=False)
    permitted = shop.sign(shop.plan(order_id, other)["typed_data"], OTHER)
    shop.send(order_id, payer, shop.sign(shop.plan(order_id, payer)["typed_data"]))
    for answer in (shop.ask_plan(order_id, other), shop.permit(order_id, other, permitted, "USDT")):
        assert answer.status_code == 409
        assert "being sent" in answer.json()["detail"]


def test_who_has_had_its_share_of_the_day_pays_the_fee_itself(open_shop: Open) -> None:
    shop = open_shop(relayer_payments_per_payer_per_day="1")
    payer, first, second = shop.fund(PAYER), shop.order(), shop.order()
    shop.send(first, payer, shop.sign(shop.plan(first, payer)["typed_data"]))
    assert shop.plan(second, payer)["method"] == "permit"


def test_terms_are_made_once_in_every_stablecoin(open_shop: Open, database: Database) -> None:
    shop = open_shop()
    payer, order_id = shop.fund(PAYER), shop.order()
    first = [shop.plan(order_id, payer, token)["calls"] for token in ("USDC", "USDT")]
    assert first == [shop.plan(order_id, payer, token)["calls"] for token in ("USDC", "USDT")]
    with database.transaction() as connection:
        assert sorted(terms.token.code for terms in orders.chain_terms(connection, order_id)) == ["USDC", "USDT"]


def test_the_node_is_asked_once_and_outside_of_any_transaction(
    open_shop: Open, polygon: LocalPolygon, database: Database
) -> None:
    with watched(polygon.rpc_url, database) as (url, open_at):
        shop = open_shop(relays=False, rpc_url=url)
        payer, order_id = shop.fund(PAYER), shop.order()
        signature = shop.sign(shop.plan(order_id, payer)["typed_data"])
        assert open_at == [0]
        assert shop.permit(order_id, payer, signature, "USDC").status_code == 200
    assert open_at == [0, 0]


def test_a_node_that_does_not_answer_is_a_503(open_shop: Open) -> None:
    shop = open_shop(rpc_url="http://127.0.0.1:1")
    order_id, payer = shop.order(), shop.polygon.accounts[PAYER]
    for answer in (shop.ask_plan(order_id, payer), shop.permit(order_id, payer, b"\1" * 65, "USDC")):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_flood_is_refused_over_all_three_addresses(open_shop: Open) -> None:
    shop = open_shop(authorizations_per_minute="3")
    order_id, payer = shop.order(), shop.polygon.accounts[PAYER]
    taken = [
        shop.ask_plan(order_id, payer),
        shop.permit(order_id, payer, b"\1" * 65, "USDC"),
        shop.ask(order_id, payer),
        shop.ask_plan(order_id, payer),
        shop.permit(order_id, payer, b"\1" * 65, "USDC"),
    ]
    assert [answer.status_code == 429 for answer in taken] == [False, False, False, True, True]


def test_what_cannot_be_taken_is_refused(environment: Path) -> None:
    with TestClient(create_app()) as client:
        order_id = client.post("/api/payments/crypto-payment-intent", json=MERCHANT).json()["order_id"]
        where, payer = f"/api/payments/orders/{order_id}", "0x" + "22" * 20
        for query, field in (({"payer": payer, "token": "DAI"}, "token"), ({"payer": at.USDC}, "payer"), ({}, "payer")):
            answer = client.get(f"{where}/wallet", params=query)
            assert (answer.status_code, answer.json()["field"]) == (422, field)
        for change, field in (
            ({"signature": "0x01"}, "signature"),
            ({"token": "DAI"}, "token"),
            ({"payer": "0x"}, "payer"),
        ):
            body = {"payer": payer, "signature": "0x" + "11" * 65} | change
            answer = client.post(f"{where}/permit", json=body)
            assert (answer.status_code, answer.json()["field"]) == (422, field)
        nowhere = where[: -len(order_id)] + "ord_" + "a" * 26
        assert client.get(f"{nowhere}/wallet", params={"payer": payer}).status_code == 404
        assert client.post(f"{nowhere}/permit", json={"payer": payer, "signature": "0x" + "11" * 65}).status_code == 404
