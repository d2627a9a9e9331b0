"""A citizen's inbox over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import receipt_contacts
from cascade.db.database import Database
from cascade.services.booking import book_payment, book_reversal
from tests.integration.test_email import serving
from tests.support.delivery import DispatcherConfig, deliver_all, dispatching, rows, until
from tests.support.purchases import confirmed, open_order, refund

KEY = "k" * 32


@pytest.fixture
def client(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_API_KEY", KEY)
    with TestClient(create_app(), headers={"authorization": f"Bearer {KEY}"}) as client:
        yield client


def buy(database: Database, times: int = 1) -> list[str]:
    order_ids = []
    for _ in range(times):
        view = open_order(database)
        with database.transaction() as connection:
            book_payment(connection, confirmed(view.terms[0]))
        order_ids.append(view.order.id)
    deliver_all(database, DispatcherConfig())
    return order_ids


def inbox(client: TestClient, **query: Any) -> dict[str, Any]:
    answer: httpx.Response = client.get("/api/citizens/Marco_Polo/notifications", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def test_a_receipt_holds_what_a_citizen_wants_to_know(client: TestClient, database: Database) -> None:
    (order_id,) = buy(database)
    (receipt,) = inbox(client)["notifications"]
    assert receipt["type"] == "order.fulfilled"
    for words in (order_id, "2,750", "2,500", "250", "USDC", "https://polygonscan.com/tx/0x3333"):
        assert words in receipt["title"] + receipt["body"], words
    assert receipt["read_at"] is None


def test_an_inbox_is_read_page_by_page_and_marked(client: TestClient, database: Database) -> None:
    order_ids = buy(database, 5)
    first = inbox(client, limit=2)["notifications"]
    second = inbox(client, limit=3, before=first[-1]["number"])["notifications"]
    assert [n["order_id"] for n in first + second] == order_ids[::-1]
    url = "/api/citizens/Marco_Polo/notifications/read"
    assert client.post(url, json={"until": 3}).json() == {"marked": 3, "unread": 2}
    assert client.post(url, json={"until": 3}).json() == {"marked": 0, "unread": 2}
    left = inbox(client, unread=True)
    assert [n["number"] for n in left["notifications"]] == [5, 4]
    assert left["unread"] == 2


def test_one_citizen_sees_nothing_of_another(client: TestClient, database: Database) -> None:
    buy(database)
    answer = client.get("/api/citizens/Marco/notifications").json()
    assert answer == {"notifications": [], "unread": 0}


def test_a_refund_is_told_in_words(client: TestClient, database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    with database.transaction() as connection:
        book_payment(connection, payment)
    deliver_all(database, DispatcherConfig())
    with database.transaction() as connection:
        book_reversal(connection, refund(payment, 125_000_000))
    newest = inbox(client)["notifications"][0]
    assert newest["type"] == "payment.refunded"
    assert "125 USDC" in newest["title"]
    assert "1,375" in newest["body"]


def test_a_reader_gets_a_language_that_there_is(
    environment: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "texts" / "it"
    folder.mkdir(parents=True)
    (folder / "order.fulfilled.txt").write_text("Ducati accreditati\n\n{{ ducats_credited }} ducati.\n")
    monkeypatch.setenv("CASCADE_TEXTS", str(folder.parent))
    monkeypatch.setenv("CASCADE_PUBLIC_BALANCES", "true")
    buy(database)
    with TestClient(create_app()) as client:
        titles = [
            client.get("/api/citizens/Marco_Polo/notifications", headers={"accept-language": wish}).json()[
                "notifications"
            ][0]["title"]
            for wish in ("it-IT,it;q=0.9,en;q=0.8", "de, it;q=0.5", "de", "")
        ]
    assert titles[:2] == ["Ducati accreditati"] * 2
    assert titles[2] == titles[3] != titles[0]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/citizens/Marco_Polo/notifications"), ("POST", "/api/citizens/Marco_Polo/notifications/read")],
)
def test_an_inbox_is_closed_to_strangers(client: TestClient, method: str, path: str) -> None:
    body = {"until": 1} if method == "POST" else None
    assert client.request(method, path, json=body, headers={"authorization": "Bearer wrong"}).status_code == 401


def test_an_email_is_taken_only_where_letters_are_sent_and_shown_to_nobody(
    environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = {"citizen_id": "Marco_Polo", "package": "starter", "email": "marco@venice.example"}
    with TestClient(create_app()) as client:
        refused = client.post("/api/payments/crypto-payment-intent", json=wish)
        assert (refused.status_code, refused.json()["field"]) == (422, "email")
    monkeypatch.setenv("CASCADE_SMTP_URL", "smtp://127.0.0.1:1")
    monkeypatch.setenv("CASCADE_MAIL_FROM", "ducats@venice.example")
    with TestClient(create_app()) as client:
        taken = client.post("/api/payments/crypto-payment-intent", json=wish)
        assert taken.status_code == 201
        malformed = client.post("/api/payments/crypto-payment-intent", json=wish | {"email": "a@b\nBcc: c@d"})
        assert (malformed.status_code, malformed.json()["field"]) == (422, "email")
        order = client.get(f"/api/payments/orders/{taken.json()['order_id']}")
    assert "marco@" not in taken.text + order.text
    with database.transaction() as connection:
        rows = connection.execute("SELECT * FROM order_contacts").fetchall()
    assert rows == [{"order_id": taken.json()["order_id"], "email": "marco@venice.example"}]


def test_a_receipt_goes_to_the_address_that_the_order_named_and_waits_for_a_server_that_is_down(
    database: Database,
) -> None:
    with serving() as post:
        wishes = DispatcherConfig(smtp_url=f"smtp://127.0.0.1:{post.port}")
        named, unnamed = open_order(database, citizen="Veronica"), open_order(database)
        with database.transaction() as connection:
            receipt_contacts.insert(connection, named.order.id, "veronica@venice.example")
            for view in (named, unnamed):
                book_payment(connection, confirmed(view.terms[0]))
        with dispatching(database, replace(wishes, smtp_url=None)):
            until(lambda: rows(database, "pending", "email") and rows(database, "pending", "email")[0]["error"])
        deliver_all(database, wishes)
    (letter,) = post.taken
    assert letter["To"] == "veronica@venice.example"
    assert letter["Subject"] == "2,750 ducats are in your purse"
    assert named.order.id in letter.get_content()
