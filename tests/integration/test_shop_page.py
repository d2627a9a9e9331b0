"""The form on which an amount is typed: it is shown back before an order is opened, in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db.database import Database

OWN = {"package": "own", "citizen_id": "Marco_Polo"}
ITALIAN = {"accept-language": "it"}


@pytest.fixture
def client(environment: Path) -> Iterator[TestClient]:
    with TestClient(create_app(), follow_redirects=False) as client:
        yield client


def text_of(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", answer.text))


def fields_of(answer: httpx.Response) -> dict[str, str]:
    """What the form sends when its first button is pressed."""
    form = answer.text[answer.text.index("<form") : answer.text.index("</form>")]
    found = re.findall(r'<(?:input type="hidden"|button) name="(\w+)" value="([^"]*)"', form)
    return dict(reversed(found))


def prices(database: Database) -> list[int]:
    with database.transaction() as connection:
        rows = connection.execute("SELECT price_cents FROM orders ORDER BY created_at").fetchall()
        return [row["price_cents"] for row in rows]


@pytest.mark.parametrize(
    ("typed", "headers", "words", "cents"),
    [
        ("10,000", {}, "You pay $10,000 and get", 1_000_000),
        ("10.000", ITALIAN, "Paghi 10.000 $ e ricevi", 1_000_000),
        ("1.234,50", ITALIAN, "Paghi 1.234,50 $ e ricevi", 123_450),
        ("$1,234.50", {}, "You pay $1,234.50 and get", 123_450),
    ],
)
def test_an_amount_is_shown_back_before_an_order_is_opened(
    client: TestClient, database: Database, typed: str, headers: Mapping[str, str], words: str, cents: int
) -> None:
    back = client.post("/pay", data={**OWN, "usd_amount": typed}, headers=headers)
    assert back.status_code == 200
    assert words in text_of(back)
    assert prices(database) == []
    opened = client.post("/pay", data=fields_of(back), headers=headers)
    assert (opened.status_code, prices(database)) == (303, [cents])
    page = text_of(client.get(opened.headers["location"], headers=headers))
    assert words.split()[1] in page


def test_an_amount_that_the_page_has_shown_while_it_was_typed_is_not_asked_for_again(
    client: TestClient, database: Database
) -> None:
    shown = fields_of(client.get("/pay", params={"usd": "10,000", "package": "own"}))["shown"]
    assert client.post("/pay", data={**OWN, "usd_amount": "10,000", "shown": shown}).status_code == 303
    other = client.post("/pay", data={**OWN, "usd_amount": "10,00.00", "shown": shown})
    assert other.status_code == 422
    more = client.post("/pay", data={**OWN, "usd_amount": "1,000", "shown": shown})
    assert (more.status_code, prices(database)) == (200, [1_000_000])
    assert "You pay $1,000 and get" in text_of(more)


def test_an_amount_can_be_changed_after_it_was_shown(client: TestClient, database: Database) -> None:
    back = client.post("/pay", data={**OWN, "usd_amount": "25,000"})
    assert back.status_code == 422  # 25,000 is more than is sold
    back = client.post("/pay", data={**OWN, "usd_amount": "2,500"})
    fields = {name: value for name, value in fields_of(back).items() if name != "shown"}
    form = client.post("/pay", data={**fields, "change": "yes"})
    assert form.status_code == 200
    assert 'value="2,500"' in form.text
    assert 'value="Marco_Polo"' in form.text
    assert re.search(r'value="own" required checked', form.text)
    assert prices(database) == []


@pytest.mark.parametrize(
    ("typed", "headers", "words"),
    [
        ("10.000", {}, "10.000 cannot be read as an amount. Write it like 10,000 or 10,000.50."),
        ("1,50", {}, "1,50 cannot be read as an amount."),
        ("10,000", ITALIAN, "10,000 non si legge come importo. Scrivilo come 10.000 o 10.000,50."),
        ("<b>10", {}, "&lt;b&gt;10 cannot be read"),
        ("", {}, "From $10 to $10,000, with at most two decimals."),
        ("10,000.01", {}, "From $10 to $10,000, with at most two decimals."),
        ("9,99", ITALIAN, "Da 10 $ a 10.000 $, con al massimo due decimali."),
    ],
)
def test_what_could_be_two_amounts_is_refused_with_how_to_write_it(
    client: TestClient, database: Database, typed: str, headers: Mapping[str, str], words: str
) -> None:
    refused = client.post("/pay", data={**OWN, "usd_amount": typed, "shown": "10"}, headers=headers)
    assert refused.status_code == 422
    assert words in text_of(refused)
    assert 'aria-invalid="true"' in refused.text
    assert prices(database) == []


def test_nothing_is_shown_back_for_nobody(client: TestClient) -> None:
    refused = client.post("/pay", data={"package": "own", "usd_amount": "25", "citizen_id": "no body"})
    assert refused.status_code == 422
    assert "There is no citizen of this name." in text_of(refused)


def test_a_package_has_a_price_and_is_bought_at_once(client: TestClient, database: Database) -> None:
    bought = client.post("/pay", data={"package": "noble", "citizen_id": "Marco_Polo", "usd_amount": "10.000"})
    assert (bought.status_code, prices(database)) == (303, [50_000])


def test_an_amount_of_ones_own_gets_the_bonus_of_the_package_that_it_reaches(client: TestClient) -> None:
    assert "with the bonus of the best package that it would pay for" in text_of(client.get("/pay"))
    back = text_of(client.post("/pay", data={**OWN, "usd_amount": "9,999.99"}))
    assert "You pay $9,999.99 and get 114,999.88 ducats" in back
    assert "including 14,999.98 bonus," in back
    pricing = client.get("/api/payments/pricing").json()
    assert pricing["custom_bonuses"] == [
        {"from_usd": "50", "percent": "5"},
        {"from_usd": "100", "percent": "7.5"},
        {"from_usd": "250", "percent": "10"},
        {"from_usd": "500", "percent": "15"},
    ]


def test_where_it_gets_none_the_page_says_which_package_gives_more(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = (files("cascade") / "catalogue.toml").read_text()
    own = tmp_path / "catalogue.toml"
    own.write_text(shipped.replace("bonus = true", "bonus = false"))
    monkeypatch.setenv("CASCADE_CATALOGUE", str(own))
    noble = "The package Noble gives more for your money: 5,750 ducats for $500."
    with TestClient(create_app()) as client:
        assert "An amount of your own gets no bonus" in text_of(client.get("/pay"))
        assert noble in text_of(client.get("/pay", params={"usd": "9,999.99"}))
        back = text_of(client.post("/pay", data={**OWN, "usd_amount": "9,999.99"}))
        assert "You pay $9,999.99 and get 99,999.90 ducats" in back
        assert noble in back
        assert client.get("/api/payments/pricing").json()["custom_bonuses"] == []
        italian = text_of(client.get("/pay", params={"usd": "9.999,99"}, headers=ITALIAN))
        assert "Il pacchetto Noble dà di più per i tuoi soldi: 5.750 ducati per 500 $." in italian
