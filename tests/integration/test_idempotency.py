"""The same request again with its Idempotency-Key: the same answer, and nothing is made twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi.testclient import TestClient

from api import idempotency as keeper
from api.main import create_app
from cascade.db import api_keys, idempotency
from cascade.db.database import Database
from tests.support.card_shop import CardShop
from tests.support.concurrency import run_concurrently
from tests.support.delivery import until

API_KEY = "k" * 32
AUTHORIZED = {"authorization": f"Bearer {API_KEY}"}
INTENT = "/api/payments/crypto-payment-intent"
LINKS = "/api/payments/links"
EXPLORER = {"citizen_id": "Marco_Polo", "package": "explorer"}
SAME = {"idempotency-key": "a-key-of-the-platform"}


@pytest.fixture
def shop(environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[CardShop]:
    monkeypatch.setenv("CASCADE_API_KEY", API_KEY)
    with CardShop.open(database, monkeypatch.setenv) as shop:
        yield shop


@pytest.fixture
def client(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_API_KEY", API_KEY)
    with TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def count(database: Database, table: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()
        assert row is not None
        return int(row["n"])


def change(database: Database, assignment: str) -> None:
    with database.transaction() as connection:
        connection.execute(f"UPDATE idempotency_keys SET {assignment}".encode())


def is_refused(answer: httpx.Response, words: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json().get("field")) == (422, "Idempotency-Key")
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "wish", "table"),
    [
        (INTENT, EXPLORER, "orders"),
        ("/api/payments/checkout-session", EXPLORER, "card_attempts"),
        ("/api/payments/payment-intent", EXPLORER, "card_attempts"),
        (LINKS, {"package": "merchant"}, "payment_links"),
    ],
    ids=["an order", "a session", "an intent", "a link"],
)
def test_eight_at_once_with_one_key_make_one(
    shop: CardShop, database: Database, path: str, wish: dict[str, Any], table: str
) -> None:
    headers = AUTHORIZED | SAME
    answers = run_concurrently(8, lambda _: shop.client.post(path, json=wish, headers=headers))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["content-type"] for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == [""] + ["true"] * 7
    assert (count(database, table), count(database, "idempotency_keys")) == (1, 1)
    assert count(database, "orders") == (0 if table == "payment_links" else 1)
    assert shop.client.post(path, json=wish, headers=AUTHORIZED).text != answers[0].text  # without a key: another one


def test_a_restart_in_between_changes_nothing(environment: Path, database: Database) -> None:
    answers = []
    for _ in range(2):
        with TestClient(create_app()) as client:
            answers.append(client.post(INTENT, json=EXPLORER, headers=SAME))
    assert (answers[0].status_code, answers[0].text) == (answers[1].status_code, answers[1].text)
    assert count(database, "orders") == 1


def test_another_request_with_the_same_key_is_refused(client: TestClient, database: Database) -> None:
    first = client.post(INTENT, json=EXPLORER, headers=SAME)
    words = "was used for another request"
    is_refused(client.post(INTENT, json={**EXPLORER, "package": "noble"}, headers=SAME), words)
    is_refused(client.post(INTENT + "?x=1", json=EXPLORER, headers=SAME), words)
    is_refused(client.post("/pay", data={"package": "noble", "citizen_id": "Marco_Polo"}, headers=SAME), words)
    assert client.post(INTENT, json=EXPLORER, headers=SAME).text == first.text
    assert count(database, "orders") == 1


def test_a_key_holds_for_a_day(client: TestClient, database: Database) -> None:
    first = client.post(INTENT, json=EXPLORER, headers=SAME).json()["order_id"]
    with database.transaction() as connection:
        row = connection.execute("SELECT expires_at - now() AS left FROM idempotency_keys").fetchone()
    assert row is not None
    assert 86_300 < row["left"].total_seconds() <= 86_400
    change(database, "expires_at = clock_timestamp()")
    second = client.post(INTENT, json={**EXPLORER, "package": "noble"}, headers=SAME)
    assert (second.status_code, count(database, "orders")) == (201, 2)
    assert second.json()["order_id"] != first


def test_callers_do_not_share_keys(client: TestClient, database: Database) -> None:
    other = {"authorization": "Bearer csk_another"}
    made = {client.post(INTENT, json=EXPLORER, headers=SAME | who).text for who in ({}, AUTHORIZED, other)}
    with TestClient(create_app(), client=("203.0.113.9", 5)) as neighbor:
        made.add(neighbor.post(INTENT, json=EXPLORER, headers=SAME).text)
    assert (len(made), count(database, "orders")) == (4, 4)


def test_while_the_first_is_answered_the_same_one_is_told_to_wait(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WAIT_SECONDS", 0.3)
    client.post(INTENT, json=EXPLORER, headers=SAME)
    change(database, "answer = NULL")  # as it stands while it is being answered, or after a crash
    waits = client.post(INTENT, json=EXPLORER, headers=SAME)
    assert (waits.status_code, waits.headers["retry-after"]) == (409, "1")
    is_refused(client.post(INTENT, json={**EXPLORER, "package": "noble"}, headers=SAME), "another request")
    assert count(database, "orders") == 1
    change(database, "held_until = clock_timestamp()")  # a server that crashed does not come back
    assert client.post(INTENT, json=EXPLORER, headers=SAME).status_code == 201
    assert count(database, "orders") == 2


def test_who_lost_a_key_does_not_store_an_answer(database: Database) -> None:
    def asked(holder: bytes) -> idempotency.Request:
        return idempotency.Request(b"c" * 32, b"k" * 32, b"r" * 32, holder * 16)

    with database.transaction() as connection:
        assert idempotency.claim(connection, asked(b"1")) == (idempotency.Claim.HELD, None)
        connection.execute("UPDATE idempotency_keys SET held_until = clock_timestamp()")
        assert idempotency.claim(connection, asked(b"2")) == (idempotency.Claim.HELD, None)
        idempotency.store(connection, asked(b"1"), b"late")
        idempotency.release(connection, asked(b"1"))
        assert idempotency.claim(connection, asked(b"3")) == (idempotency.Claim.RUNNING, None)
        idempotency.store(connection, asked(b"2"), b"answer")
        assert idempotency.claim(connection, asked(b"3")) == (idempotency.Claim.ANSWERED, b"answer")


@pytest.mark.parametrize(
    ("wish", "status"), [({**EXPLORER, "package": "doge"}, 422), ({"order_id": "ord_" + "a" * 26}, 404), ({}, 422)]
)
def test_a_request_that_made_nothing_frees_its_key(
    client: TestClient, database: Database, wish: dict[str, Any], status: int
) -> None:
    assert client.post(INTENT, json=wish, headers=SAME).status_code == status
    assert count(database, "idempotency_keys") == 0
    assert client.post(INTENT, json=EXPLORER, headers=SAME).status_code == 201


def test_a_failure_of_the_server_frees_the_key(shop: CardShop, database: Database) -> None:
    shop.double.control.set_chaos(fail_before_effect=1.0)
    failed = shop.client.post("/api/payments/payment-intent", json=EXPLORER, headers=SAME)
    assert failed.status_code == 503
    assert count(database, "idempotency_keys") == 0
    shop.double.control.set_chaos(fail_before_effect=0.0)
    assert shop.client.post("/api/payments/payment-intent", json=EXPLORER, headers=SAME).status_code == 201


@pytest.mark.parametrize("kept", ["store", "release"])
def test_an_outage_holds_no_key_longer_than_itself(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """The database goes away after a request was carried out (its answer is stored), or refused (its key is free)."""
    genuine, away = getattr(idempotency, kept), True

    def fail_while_away(*asked: Any) -> None:
        if away:
            raise psycopg.errors.ReadOnlySqlTransaction("cannot execute in a read-only transaction")
        genuine(*asked)

    monkeypatch.setattr(idempotency, kept, fail_while_away)
    monkeypatch.setattr(keeper, "_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(keeper, "WAIT_SECONDS", 0.1)
    wish = EXPLORER if kept == "store" else EXPLORER | {"package": "nothing"}
    expected = 201 if kept == "store" else 422
    assert client.post(INTENT, json=wish, headers=SAME).status_code == expected
    assert client.post(INTENT, json=wish, headers=SAME).status_code == 409
    away = False
    until(lambda: client.post(INTENT, json=wish, headers=SAME).status_code == expected)
    assert count(database, "orders") == (kept == "store")


def test_a_body_that_is_too_large_holds_no_key(client: TestClient, database: Database) -> None:
    assert client.post(INTENT, content=b"y" * 20_000, headers=SAME).status_code == 413
    assert count(database, "idempotency_keys") == 0


def test_stored_answers_are_sealed(shop: CardShop, database: Database) -> None:
    """Who reads the database finds neither client secrets nor keys in it."""
    answer = shop.client.post("/api/payments/payment-intent", json=EXPLORER, headers=SAME)
    secret = answer.json()["client_secret"]
    with database.transaction() as connection:
        (row,) = connection.execute("SELECT * FROM idempotency_keys").fetchall()
    stored = b"".join(bytes(value) for value in row.values() if isinstance(value, bytes))
    for hidden in (secret, answer.json()["order_id"], SAME["idempotency-key"], "client_secret"):
        assert hidden.encode() not in stored
    assert bytes(row["key"]) == hashlib.sha256(SAME["idempotency-key"].encode()).digest()
    assert shop.client.post("/api/payments/payment-intent", json=EXPLORER, headers=SAME).json() == answer.json()


def test_an_api_key_that_was_revoked_is_given_nothing_again(client: TestClient, database: Database) -> None:
    with database.transaction() as connection:
        holder = {"authorization": f"Bearer {api_keys.add(connection, 'shop', [api_keys.Scope.LINKS])}"}
    made = client.post(LINKS, json={"package": "noble"}, headers=SAME | holder)
    assert client.post(LINKS, json={"package": "noble"}, headers=SAME | holder).text == made.text
    with database.transaction() as connection:
        api_keys.revoke(connection, "shop")
    assert client.post(LINKS, json={"package": "noble"}, headers=SAME | holder).status_code == 401


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"caf\xc3\xa9", b"a\tb"], ids=repr)
def test_a_key_is_bounded(client: TestClient, database: Database, key: bytes) -> None:
    answer = client.post(INTENT, json=EXPLORER, headers=[(b"Idempotency-Key", key)])
    is_refused(answer, "1 to 255 printable ASCII characters")
    assert count(database, "orders") == 0


def test_a_request_has_one_key(client: TestClient) -> None:
    two = [("idempotency-key", "a"), ("idempotency-key", "b")]
    is_refused(client.post(INTENT, json=EXPLORER, headers=two), "one text")
    longest = {"idempotency-key": "~ " * 127 + "x"}
    assert client.post(INTENT, json=EXPLORER, headers=longest).status_code == 201


def test_what_is_stored_is_bounded(client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_ROWS", 3)
    for i in range(6):
        client.post(INTENT, json=EXPLORER, headers={"idempotency-key": f"{i}"})
    assert count(database, "idempotency_keys") == 3
    monkeypatch.setattr(idempotency, "MOST_ROWS", 100)
    change(database, "expires_at = clock_timestamp()")
    client.post(INTENT, json=EXPLORER, headers=SAME)
    assert count(database, "idempotency_keys") == 1


def test_a_form_may_carry_a_key_too(client: TestClient, database: Database) -> None:
    bought = [client.post("/pay", data=EXPLORER, headers=SAME) for _ in range(2)]
    assert [answer.status_code for answer in bought] == [303, 303]
    assert bought[0].headers["location"] == bought[1].headers["location"]
    assert count(database, "orders") == 1


def test_every_address_that_makes_something_takes_a_key(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    posts = {path: operations["post"] for path, operations in paths.items() if "post" in operations}
    takes = {
        path for path, post in posts.items() if any(p["name"] == keeper.HEADER for p in post.get("parameters", ()))
    }
    assert set(posts) - takes == {"/api/payments/webhook"}
    assert len(takes) >= 9
    for path in takes:
        assert {"409", "422"} <= set(posts[path]["responses"])
