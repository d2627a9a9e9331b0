"""The payment page as the server writes it: what a reader without JavaScript gets, and what its modules are given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import receipt_contacts
from cascade.db.database import Database
from cascade.services.booking import book_payment
from cascade.services.order_view import OrderView
from tests.support.purchases import collected, confirmed, open_order

HOSTILE = """</script><img id=taken>'"&<!--<script>"""


class Scripts(HTMLParser):
    """Reads the data that a page hands its modules, and which elements it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.data: dict[str, Any] = {}
        self.ids: list[str] = []
        self._within: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self._within = given.get("id") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._within:
            self.data[self._within] = json.loads(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._within = None


@pytest.fixture
def api(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_RELAYER_KEY", "0x" + "01" * 32)
    with TestClient(create_app()) as client:
        yield client


def seen(api: TestClient, view: OrderView, query: str = "", **headers: str) -> str:
    answer = api.get(f"/pay/{view.order.link_token}{query}", headers=headers)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.text)


def test_nothing_leaves_the_script_blocks(
    environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in them comes from a stranger today; the page holds even if something did."""
    monkeypatch.setenv("CASCADE_RPC_URL", f"http://127.0.0.1:1/{HOSTILE}")
    monkeypatch.setenv("CASCADE_TEST_PAYER_KEY", "0x" + "02" * 32)
    view = open_order(database)
    with TestClient(create_app()) as client:
        page = Scripts(client.get(f"/pay/{view.order.link_token}").text)
    assert page.data["page"]["network"]["rpcUrls"] == [f"http://127.0.0.1:1/{HOSTILE}"]
    assert "taken" not in page.ids
    assert page.data["words"]["pay_with"] == "Pay with {name}"


def test_a_reader_gets_their_language_with_its_numbers(api: TestClient, database: Database) -> None:
    view = open_order(database)
    english = seen(api, view)
    assert '<html lang="en"' in english
    assert "2,750 ducats" in english
    assert "Waiting for your payment." in english
    italian = seen(api, view, **{"accept-language": "it"})
    assert '<html lang="it"' in italian
    assert "2.750 ducati" in italian
    assert "Waiting" not in italian
    assert seen(api, view, "?lang=it").count("2.750 ducati") == english.count("2,750 ducats")
    assert '<html lang="it"' in seen(api, view)  # chosen once, it is remembered
    assert '<html lang="en"' in seen(api, view, "?lang=en")


def test_a_part_says_how_much_is_missing_and_where_to_send_it(api: TestClient, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        book_payment(connection, collected(view.terms[0], 99_500_000))
    page = seen(api, view)
    assert 'data-phase="part"' in page
    assert "99.50 USDC arrived, 150.50 USDC is missing: send it to the same address before the time is over." in page
    assert 'data-copy="150.50"' in page
    assert "995 ducats were credited for it" in page
    assert '<details id="send" open>' in page


def test_a_paid_order_is_a_receipt(environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("NAME", "Serenissima & Co"),
        ("CONTACT", "help@venice.example"),
        ("TERMS_URL", "https://venice.example/terms"),
        ("HOME_URL", "https://venice.example/"),
    ):
        monkeypatch.setenv(f"CASCADE_SELLER_{name}", value)
    view = open_order(database)
    payment = confirmed(view.terms[0])
    with database.transaction() as connection:
        receipt_contacts.insert(connection, view.order.id, "marco@example.org")
        book_payment(connection, payment)
    with TestClient(create_app()) as api:
        page = seen(api, view)
        shop = api.get("/pay").text
        italian = seen(api, view, **{"accept-language": "it"})
    receipt = dict(re.findall(r"<dt>(.*?)</dt> ?<dd>(.*?)</dd>", page))
    assert receipt.pop("Date").endswith(" UTC</time>")
    assert payment.transaction in receipt.pop("Transaction")
    assert receipt == {
        "Seller": 'Serenissima &amp; Co, <a href="mailto:help@venice.example">help@venice.example</a>',
        "Receipt": f"<code>{view.order.id}</code>",
        "Bought": "2,500 ducats + 250 bonus",
        "Citizen": "<bdi>Marco_Polo</bdi>",
        "Price of a ducat": "0.10 US dollars",
        "Total": "$250.00",
        "Paid on Polygon": "250 USDC",
        "Sent to": "marco@example.org",
    }
    assert "<dt>Totale</dt><dd>250,00 $</dd>" in italian
    for text in (page, shop):
        assert "Sold by Serenissima &amp; Co" in text
        for address in ("mailto:help@venice.example", "https://venice.example/terms", "https://venice.example/"):
            assert f'href="{address}"' in text
    assert "Done: 2,750 ducats were credited." in page
    assert "<title>Paid: 2,750 ducats for $250</title>" in page
    assert Scripts(page).data["words"] == {}  # whoever has paid needs none of them
    assert '<section id="pay" aria-label="Pay" hidden>' in page


def test_money_that_came_twice_is_on_the_page(api: TestClient, database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    with database.transaction() as connection:
        book_payment(connection, payment)
        book_payment(connection, confirmed(view.terms[1]))
    assert "250 USDT arrived but was not credited: the order was already paid. It is not lost" in seen(api, view)


def test_money_of_another_size_is_exact(api: TestClient, database: Database) -> None:
    view = open_order(database)
    with database.transaction() as connection:
        book_payment(connection, collected(view.terms[0], 12_345_678))
    assert "12.345678 USDC arrived, 237.654322 USDC is missing" in seen(api, view)
    assert 'data-copy="237.654322"' in seen(api, view)
