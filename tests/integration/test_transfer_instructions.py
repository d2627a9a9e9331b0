"""What a payer is told about plain transfers: where to, how much, and as a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import segno
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.adapters.chain.router_logs import deposit_address, transfer_uri
from cascade.db.database import Database
from cascade.domain.money import USDC, Money
from cascade.services.booking import book_payment
from tests.support.purchases import NOWHERE, collected, confirmed, open_order

KEY = "0x" + "01" * 32


@pytest.fixture
def api(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_RELAYER_KEY", KEY)
    with TestClient(create_app()) as client:
        yield client


def test_the_order_says_where_to_and_how_much(api: TestClient, database: Database) -> None:
    view = open_order(database)
    ways = api.get(f"/api/payments/orders/{view.order.id}").json()["transfer_to"]
    assert [way["token"] for way in ways] == ["USDC", "USDT"]
    assert ways[0]["deposit_address"] != ways[1]["deposit_address"]
    for way, terms in zip(ways, view.terms, strict=True):
        assert way["deposit_address"] == deposit_address(NOWHERE.router, terms.on_chain_order_id)
        assert (way["token"], way["amount"], way["amount_display"]) == (terms.token.code, "250000000", "250")
        assert way["eip681"] == transfer_uri(terms)
        wish = {"order_id": view.order.id, "token": way["token"]}
        intent = api.post("/api/payments/crypto-payment-intent", json=wish).json()
        assert (intent["deposit_address"], intent["eip681"]) == (way["deposit_address"], way["eip681"])


def test_an_order_that_asks_for_one_stablecoin_only_is_shown_so(api: TestClient, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:  # as one that was opened before every order asked for all of them
        connection.execute("DELETE FROM chain_terms WHERE token = 'USDC'")
        book_payment(connection, collected(view.terms[1], 100_000_000))
    stands = api.get(f"/api/payments/orders/{view.order.id}").json()
    assert [way["token"] for way in stands["transfer_to"]] == ["USDT"]
    assert (stands["missing"]["token"], stands["missing"]["amount"]) == ("USDT", "150000000")
    assert api.get(f"/api/payments/orders/{view.order.id}/transfer.svg").status_code == 200  # which asks for USDC
    ways = api.get(f"/api/payments/orders/{view.order.id}").json()["transfer_to"]
    assert [(way["token"], way["amount"]) for way in ways] == [("USDC", "150000000"), ("USDT", "150000000")]


def test_the_picture_is_the_transfer(api: TestClient, database: Database) -> None:
    view = open_order(database)
    way, _ = api.get(f"/api/payments/orders/{view.order.id}").json()["transfer_to"]
    answer = api.get(way["qr"])
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "http://www.w3.org/2000/svg" in answer.text  # without it a browser shows text
    *_, drawn = re.findall(r' d="([^"]+)"', answer.text)
    assert drawn in segno.make(transfer_uri(view.terms[0]), error="m").svg_inline(scale=4)


def test_after_a_part_only_the_rest_is_asked_for(api: TestClient, database: Database) -> None:
    view = open_order(database)
    part = replace(confirmed(view.terms[0], amount=Money(USDC, 100_500_000)), collected=True)
    with database.transaction() as connection:
        book_payment(connection, part)
    for way in api.get(f"/api/payments/orders/{view.order.id}").json()["transfer_to"]:
        assert (way["amount"], way["amount_display"]) == ("149500000", "149.50")
        assert way["eip681"].endswith("&uint256=149500000")


def test_a_paid_order_asks_for_nothing(api: TestClient, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))
    assert api.get(f"/api/payments/orders/{view.order.id}").json()["transfer_to"] == []
    assert api.get(f"/api/payments/orders/{view.order.id}/transfer.svg").status_code == 409


def test_without_a_relayer_nobody_is_sent_there(environment: Path, database: Database) -> None:
    view = open_order(database)
    with TestClient(create_app()) as client:
        assert client.get(f"/api/payments/orders/{view.order.id}").json()["transfer_to"] == []
        assert client.get(f"/api/payments/orders/{view.order.id}/transfer.svg").status_code == 409
        intent = client.post("/api/payments/crypto-payment-intent", json={"order_id": view.order.id}).json()
    assert (intent["deposit_address"], intent["eip681"]) == (None, None)
