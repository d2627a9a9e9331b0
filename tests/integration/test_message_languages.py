"""A letter about an order is in the language that the order was opened in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import orders
from cascade.db.database import Database
from cascade.services.booking import book_payment
from tests.integration.test_email import serving
from tests.support.delivery import DispatcherConfig, deliver_all
from tests.support.purchases import confirmed, open_order

FORM = {"citizen_id": "Marco_Polo", "package": "merchant", "email": "marco@example.org"}


@pytest.fixture
def client(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_SMTP_URL", "smtp://127.0.0.1:9")
    monkeypatch.setenv("CASCADE_MAIL_FROM", "ducats@example.org")
    with TestClient(create_app(), follow_redirects=False) as client:
        del client.headers["user-agent"]
        yield client


def language_of(database: Database, token: str) -> str | None:
    with database.transaction() as connection:
        return orders.language_of(connection, orders.by_link_token(connection, token).id)


@pytest.mark.parametrize(
    ("headers", "title"),
    [
        ({"accept-language": "it-IT,it;q=0.9"}, "2.750 ducati sono nella tua borsa"),
        ({"accept-language": "it", "cookie": "lang=en"}, "2,750 ducats are in your purse"),
    ],
)
def test_who_buys_in_a_language_gets_the_receipt_in_it(
    client: TestClient, database: Database, headers: dict[str, str], title: str
) -> None:
    token = client.post("/pay", data=FORM, headers=headers).headers["location"].rpartition("/")[2]
    with database.transaction() as connection:
        order = orders.by_link_token(connection, token)
        book_payment(connection, confirmed(orders.chain_terms(connection, order.id)[0]))
    with serving() as server:
        deliver_all(database, DispatcherConfig(smtp_url=f"smtp://127.0.0.1:{server.port}"))
        (letter,) = server.taken
    assert letter["subject"] == title
    assert "marco@example.org" in letter.get_content()


def test_an_order_of_a_program_takes_the_language_of_its_first_reader(client: TestClient, database: Database) -> None:
    token = open_order(database).order.link_token

    def read(**headers: Any) -> str | None:
        client.get(f"/pay/{token}", headers=headers)
        return language_of(database, token)

    client.headers.pop("accept-language", None)
    assert [read(), read(**{"accept-language": "it"}), read(**{"accept-language": "en"})] == [None, "it", "it"]


def test_a_renewal_is_in_the_language_of_who_asked_for_it(client: TestClient, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE orders SET created_at = now() - interval '2 h', expires_at = now() - interval '1 h'")
    answer = client.post(f"/pay/{view.order.link_token}/again", headers={"accept-language": "it"})
    token = answer.headers["location"].rpartition("/")[2]
    assert token != view.order.link_token
    assert language_of(database, token) == "it"
