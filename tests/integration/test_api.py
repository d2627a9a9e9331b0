"""The API over its own application and a real database; no chain is needed to sell and to look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.adapters.chain.router_logs import on_chain_order_id
from cascade.chains import POLYGON
from cascade.db import checkpoints, ledger
from cascade.db.database import Database
from cascade.domain.money import DUCAT, USDC, Money
from cascade.domain.postings import Kind, Posting, Transaction
from tests.support.purchases import NOWHERE

INTENT = "/api/payments/crypto-payment-intent"
FOLLOWED = f"chain:137:{NOWHERE.router}"
MERCHANT = {"citizen_id": "Marco_Polo", "package": "merchant", "token": "USDC"}


@pytest.fixture
def client(environment: Path) -> Iterator[TestClient]:
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


def is_problem(answer: httpx.Response, status: int, words: str, field: str | None = None) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["status"], body.get("field")) == (status, status, field)
    assert words in body["detail"]


def test_pricing_lists_the_catalogue(client: TestClient) -> None:
    body = client.get("/api/payments/pricing").json()
    assert body["usd_per_ducat"] == "0.10"
    assert body["custom"] == {"minimum_usd": "10", "maximum_usd": "10000"}
    assert body["tokens"] == ["USDC", "USDT"]
    assert body["packages"][3] == {
        "id": "merchant",
        "name": "Merchant",
        "ducats": "2500",
        "bonus": "250",
        "price_usd": "250",
    }


def test_an_intent_holds_all_that_a_wallet_needs(client: TestClient) -> None:
    answer = client.post(INTENT, json=MERCHANT)
    assert answer.status_code == 201
    intent = answer.json()
    assert (intent["token"], intent["amount"], intent["amount_display"]) == ("USDC", "250000000", "250")
    assert (intent["ducats"], intent["bonus"], intent["chain_id"]) == ("2500", "250", 137)
    assert intent["router"] == NOWHERE.router
    terms = intent["terms"]
    assert (terms["token"], terms["amount"]) == (POLYGON.stablecoins[USDC], "250000000")
    computed = on_chain_order_id(
        137, NOWHERE.router, terms["token"], 250_000_000, terms["expiresAt"], bytes.fromhex(terms["salt"][2:])
    )
    assert intent["on_chain_order_id"] == "0x" + computed.hex()
    assert [(call["to"], call["value"]) for call in intent["calls"]] == [
        (POLYGON.stablecoins[USDC], "0x0"),
        (NOWHERE.router, "0x0"),
    ]
    assert intent["payment_link"].startswith("https://pay.example.org/pay/")
    token = intent["payment_link"].rsplit("/", 1)[1]
    assert len(token) >= 22  # 128 bits
    assert token not in intent["order_id"] + intent["on_chain_order_id"]
    order = client.get(f"/api/payments/orders/{intent['order_id']}").json()
    assert (order["status"], order["price_usd"], order["payments"]) == ("open", "250", [])
    assert order["expires_at"] == intent["expires_at"]


@pytest.mark.parametrize(
    ("wish", "units", "ducats"),
    [
        ({"usd_amount": "25.01", "token": "USDT"}, "25010000", "250.1"),
        ({"usd_amount": 25.01}, "25010000", "250.1"),  # a JSON number is read as it is written
        ({"usd_amount": 19.99}, "19990000", "199.9"),
        ({"usd_amount": 10000}, "10000000000", "100000"),  # and 15,000 of bonus
        ({"package": "Starter", "token": "usdc"}, "10000000", "100"),
    ],
)
def test_amounts_are_exact(client: TestClient, wish: dict[str, Any], units: str, ducats: str) -> None:
    intent = client.post(INTENT, json={"citizen_id": "Marco_Polo", **wish}).json()
    assert (intent["amount"], intent["ducats"]) == (units, ducats)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"package": None, "usd_amount": "9.99"}, "usd_amount", "from 10 to 10,000 USD, not 9.99 USD"),
        ({"package": None, "usd_amount": "10000.01"}, "usd_amount", "from 10 to 10,000 USD"),
        ({"package": None, "usd_amount": "25.001"}, "usd_amount", "'25.001' is not a plain decimal. Write digits"),
        ({"package": None, "usd_amount": "10,000"}, "usd_amount", "10000 or 10000.50"),
        ({"package": None, "usd_amount": "2_5"}, "usd_amount", "not a plain decimal"),
        ({"package": None, "usd_amount": "+25"}, "usd_amount", "not a plain decimal"),
        ({"package": None, "usd_amount": " 25 "}, "usd_amount", "not a plain decimal"),
        ({"package": None, "usd_amount": "\uff12\uff15"}, "usd_amount", "not a plain decimal"),
        ({"package": None, "usd_amount": "-25"}, "usd_amount", "not a plain decimal"),
        ({"package": None, "usd_amount": "1e9999999"}, "usd_amount", "not a plain decimal"),
        ({"package": None, "usd_amount": "NaN"}, "usd_amount", "not a plain decimal"),
        ({"package": None, "usd_amount": True}, "usd_amount", ""),
        ({"package": "doge"}, "package", "no package 'doge'"),
        ({"package": None}, "package", "not both and not neither"),
        ({"usd_amount": "25"}, "package", "not both and not neither"),
        ({"token": "DAI"}, "token", "Pay with USDC or USDT"),
        ({"token": "USDC.e"}, "token", "Bridged USDC.e is not USDC"),
        ({"citizen_id": ""}, "citizen_id", "1 to 64"),
        ({"citizen_id": "a" * 65}, "citizen_id", "1 to 64"),
        ({"citizen_id": "<script>"}, "citizen_id", "1 to 64"),
        ({"citizen_id": "a" * 5000}, "citizen_id", "at most 200"),
        ({"citizen_id": None}, "citizen_id", "Say which citizen"),
        ({"citizen_id": 5}, "citizen_id", "string"),
        ({"order_id": "ord_" + "a" * 26}, "order_id", "not both"),
        ({"amount": 1}, "amount", "not permitted"),
    ],
)
def test_what_cannot_be_sold_is_refused_in_a_sentence(
    client: TestClient, change: dict[str, Any], field: str, words: str
) -> None:
    is_problem(client.post(INTENT, json={**MERCHANT, **change}), 422, words, field)


def test_a_body_that_is_no_json_is_refused(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    is_problem(client.post(INTENT, content=b"{", headers=headers), 422, "JSON", "body")


def test_a_body_is_bounded(client: TestClient) -> None:
    is_problem(client.post(INTENT, json={**MERCHANT, "x": "y" * 20_000}), 413, "at most 16,384 bytes")

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b"y" * 1000

    is_problem(client.post(INTENT, content=chunks()), 413, "at most 16,384 bytes")


def test_requests_are_rate_limited(client: TestClient) -> None:
    answers = [client.post(INTENT, json=MERCHANT) for _ in range(61)]
    assert [answer.status_code for answer in answers] == [201] * 60 + [429]
    is_problem(answers[-1], 429, "More than 60")
    assert answers[-1].headers["retry-after"] == "60"
    assert client.get("/api/payments/pricing").status_code == 200  # looking has a limit of its own


def test_what_is_not_there_is_not_found(client: TestClient) -> None:
    is_problem(client.get("/api/payments/orders/ord_x"), 404, "no such order")
    is_problem(client.get("/nothing"), 404, "Not Found")
    assert client.get("/pay/unknown").status_code == 404


def test_an_order_expires(client: TestClient, database: Database) -> None:
    intent = client.post(INTENT, json=MERCHANT).json()
    with database.transaction() as connection:
        connection.execute(
            "UPDATE orders SET created_at = now() - interval '1 h', expires_at = now() - interval '1 s' WHERE id = %s",
            (intent["order_id"],),
        )
    assert client.get(f"/api/payments/orders/{intent['order_id']}").json()["status"] == "expired"


def gift(database: Database, citizen: str, units: int) -> None:
    with database.transaction() as connection:
        postings = (Posting("ducats:sold", f"citizen:{citizen}", Money(DUCAT, units)),)
        ledger.post(connection, Transaction("gift", Kind.SALE, postings))


@pytest.mark.parametrize(
    ("variables", "given", "status"),
    [
        ({}, None, 403),  # closed unless the operator opens them
        ({"CASCADE_PUBLIC_BALANCES": "true"}, None, 200),
        ({"CASCADE_API_KEY": "k" * 32}, None, 401),
        ({"CASCADE_API_KEY": "k" * 32}, "Bearer " + "x" * 32, 401),
        ({"CASCADE_API_KEY": "k" * 32}, "Basic " + "k" * 32, 401),
        ({"CASCADE_API_KEY": "k" * 32}, "Bearer " + "k" * 32, 200),
    ],
)
def test_balances_are_for_those_who_may_read_them(
    environment: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    given: str | None,
    status: int,
) -> None:
    gift(database, "Marco_Polo", 2_750_500_000)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with TestClient(create_app()) as client:
        answer = client.get("/api/citizens/Marco_Polo/balance", headers={"authorization": given} if given else {})
    assert answer.status_code == status
    if status == 200:
        with_us, in_venice = {"ducats": "2750.5", "units": "2750500000"}, {"in_venice": "0", "in_venice_units": "0"}
        assert answer.json() == {"citizen_id": "Marco_Polo"} | with_us | in_venice
    else:
        assert "2750" not in answer.text


def test_a_citizen_who_never_bought_holds_nothing(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_PUBLIC_BALANCES", "true")
    with TestClient(create_app()) as client:
        assert client.get("/api/citizens/Nobody/balance").json()["ducats"] == "0"
        is_problem(client.get("/api/citizens/%3Cb%3E/balance"), 422, "1 to 64", "citizen_id")


def test_health_says_when_nobody_books(client: TestClient, database: Database) -> None:
    assert client.get("/health").json()["status"] == "degraded"  # no indexer has ever run
    with database.transaction() as connection:
        checkpoints.start(connection, FOLLOWED, 5, b"\1" * 32, 0)
    body = client.get("/health").json()
    assert body["streams"][0]["standing_still"] is True
    assert body["streams"][0]["finality_lag_seconds"] > 10**9


def test_health_is_ok_only_when_somebody_books_and_finality_is_fresh(client: TestClient, database: Database) -> None:
    with database.transaction() as connection:
        now = connection.execute("SELECT extract(epoch FROM now())::bigint AS now").fetchone()
        assert now is not None
        checkpoints.start(connection, FOLLOWED, 5, b"\1" * 32, now["now"])
        checkpoints.lease(connection, FOLLOWED, "me", 60)
    assert client.get("/health").json()["status"] == "ok"
    with database.transaction() as connection:
        checkpoints.set_alarm(connection, FOLLOWED, "SequenceGap: secret details")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
    assert "secret" not in answer.text


def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for path in ("/health", "/api/payments/pricing", "/pay/unknown", "/nothing", "/static/built/pay.js"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"


def test_the_database_going_away_is_a_503_and_no_500(client: TestClient) -> None:
    client.app.state.app.database.close()  # type: ignore[attr-defined]
    is_problem(client.post(INTENT, json=MERCHANT), 503, "cannot be reached")
    nothing: dict[str, object] = {"streams": [], "card": None, "outbox": [], "rate": None, "relayer": None}
    assert client.get("/health").json() == {"status": "down", "database": False, "workers": []} | nothing
