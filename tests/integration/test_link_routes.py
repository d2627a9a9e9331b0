"""Payment links over HTTP, for whoever holds a key, and on the operator's command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
import segno
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import api_keys, payment_links
from cascade.db.api_keys import Scope
from cascade.db.database import Database
from cascade.errors import InvalidInput, NotFound
from cascade.services.booking import book_payment
from sandbox.venice import VeniceDouble
from tests.integration.test_card_operations import run
from tests.integration.test_payment_links import SHOP
from tests.support.purchases import confirmed

LINKS = "/api/payments/links"
PLATFORM = "p" * 32


@pytest.fixture
def client(environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_ORDERS_PER_MINUTE", "1000")
    with database.transaction() as connection:
        key = api_keys.add(connection, "newsletter", [Scope.LINKS])
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        client.headers["authorization"] = f"Bearer {key}"
        yield client


def made(client: TestClient, **wish: Any) -> dict[str, Any]:
    answer = client.post(LINKS, json={"package": "merchant", **wish})
    assert answer.status_code == 201, answer.text
    link: dict[str, Any] = answer.json()
    return link


def token_of(link: dict[str, Any]) -> str:
    return str(link["url"]).rpartition("/")[2]


def test_a_link_is_answered_with_everything_to_send_it(client: TestClient) -> None:
    link = made(client, citizen_id="Marco_Polo", valid_minutes=60)
    assert re.fullmatch(r"lnk_[a-z2-7]{26}", link["id"])
    assert re.fullmatch(r"https://pay\.example\.org/pay/[\w-]{22}", link["url"])
    assert link["metamask_url"] == "https://link.metamask.io/dapp/" + link["url"].removeprefix("https://")
    assert link["url"] in unquote(link["mailto"])
    assert (link["package"], link["usd_amount"], link["citizen_id"]) == ("merchant", None, "Marco_Polo")
    assert (link["single_use"], link["state"], link["orders"], link["paid"]) == (True, "active", 0, 0)
    assert (link["deactivated_at"], link["expires_at"][-1], link["created_at"] < link["expires_at"]) == (
        None,
        "Z",
        True,
    )
    assert client.get(f"{LINKS}/{link['id']}").json() == link


def test_the_picture_is_the_address(client: TestClient) -> None:
    link = made(client)
    answer = client.get(link["qr"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    *_, drawn = re.findall(r' d="([^"]+)"', answer.text)
    assert drawn in segno.make(link["url"], error="m").svg_inline(scale=4)


def test_a_link_tells_of_its_orders_and_an_order_of_its_link(client: TestClient, database: Database) -> None:
    link = made(client, citizen_id="Marco_Polo", package=None, usd_amount="25.01")
    with database.transaction() as connection:
        view = SHOP.open(connection, token_of(link))
    order = client.get(f"/api/payments/orders/{view.order.id}").json()
    assert (order["link_id"], order["price_usd"], order["status"]) == (link["id"], "25.01", "open")
    stands = client.get(f"{LINKS}/{link['id']}").json()
    assert (stands["state"], stands["orders"], stands["paid"]) == ("active", 1, 0)
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))
    stands = client.get(f"{LINKS}/{link['id']}").json()
    assert (stands["state"], stands["orders"], stands["paid"]) == ("used", 1, 1)


def test_deactivating_again_is_a_no_op(client: TestClient) -> None:
    link = made(client, single_use=False)
    first = client.post(f"{LINKS}/{link['id']}/deactivate")
    assert (first.status_code, first.json()["state"]) == (200, "deactivated")
    assert client.post(f"{LINKS}/{link['id']}/deactivate").json() == first.json()
    assert first.json()["deactivated_at"] is not None


def test_the_newest_come_first_and_a_list_is_read_in_pages(client: TestClient) -> None:
    ids = [made(client)["id"] for _ in range(5)][::-1]
    page = client.get(LINKS, params={"limit": 2}).json()["links"]
    assert [link["id"] for link in page] == ids[:2]
    page = client.get(LINKS, params={"limit": 2, "before": ids[1]}).json()["links"]
    assert [link["id"] for link in page] == ids[2:4]
    assert [link["id"] for link in client.get(LINKS).json()["links"]] == ids
    assert client.get(LINKS, params={"before": "lnk_" + "a" * 26}).status_code == 404
    assert client.get(LINKS, params={"limit": 101}).status_code == 422


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "package"),
        ({"package": "merchant", "usd_amount": "25"}, "package"),
        ({"package": "doge"}, "package"),
        ({"usd_amount": "9.99"}, "usd_amount"),
        ({"package": "merchant", "citizen_id": "no body"}, "citizen_id"),
        ({"package": "merchant", "valid_minutes": 0}, "valid_minutes"),
        ({"package": "merchant", "uses": 5}, "uses"),
    ],
)
def test_what_cannot_be_sold_gets_no_link(client: TestClient, wish: dict[str, Any], field: str) -> None:
    answer = client.post(LINKS, json=wish)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert client.get(LINKS).json() == {"links": []}


def test_venice_is_asked_for_a_given_citizen(
    client: TestClient, environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VeniceDouble.start() as venice:
        monkeypatch.setenv("CASCADE_VENICE_URL", venice.url)
        with TestClient(create_app(), headers=client.headers) as asking:
            answer = asking.post(LINKS, json={"package": "merchant", "citizen_id": "Nobody_At_All"})
    assert (answer.status_code, answer.json()["field"]) == (422, "citizen_id")


def _every_route(link: dict[str, Any]) -> list[tuple[str, str]]:
    one = f"{LINKS}/{link['id']}"
    return [("POST", LINKS), ("GET", LINKS), ("GET", one), ("POST", f"{one}/deactivate"), ("GET", f"{one}/qr.svg")]


def test_nothing_is_shown_without_a_key_for_it(client: TestClient, database: Database) -> None:
    link = made(client)
    with database.transaction() as connection:
        other = api_keys.add(connection, "observatory", [Scope.SIGNALS])
        api_keys.revoke(connection, "newsletter")
    revoked = client.headers.pop("authorization")
    for authorization in (None, "Bearer ", "Bearer nonsense", f"Bearer {other}", revoked, f"Basic {other}"):
        headers = {"authorization": authorization} if authorization else {}
        for method, path in _every_route(link):
            answer = client.request(method, path, headers=headers, json={"package": "merchant"})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (authorization, path)
            assert token_of(link) not in answer.text
    with database.transaction() as connection:
        (use,) = payment_links.newest(connection, limit=9)
    assert use.link.deactivated_at is None


def test_the_platforms_own_key_does_as_well(
    environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_API_KEY", PLATFORM)
    monkeypatch.setenv("CASCADE_PUBLIC_BALANCES", "true")  # opens balances, but no links
    with TestClient(create_app()) as client:
        assert client.get(LINKS).status_code == 401
        client.headers["authorization"] = f"Bearer {PLATFORM}"
        for method, path in _every_route(made(client)):
            assert client.request(method, path, json={"package": "merchant"}).status_code in (200, 201)


def test_an_operator_makes_lists_and_deactivates_links(environment: Path, database: Database) -> None:
    assert "There are no payment links." in run("link", "list")
    shown = run("link", "--package", "merchant", "--citizen", "Marco_Polo", "--days", "7")
    url = re.search(r"^https://pay\.example\.org/pay/[\w-]{22}$", shown, re.MULTILINE)
    made_id = re.search(r"^(lnk_[a-z2-7]{26}) manages it\.$", shown, re.MULTILINE)
    assert url
    assert made_id
    assert "https://link.metamask.io/dapp/pay.example.org/pay/" in shown
    assert _picture(url[0]) in shown
    with database.transaction() as connection:
        link = payment_links.by_id(connection, made_id[1]).link
    assert (link.single_use, link.citizen_id, link.package) == (True, "Marco_Polo", "merchant")
    assert link.expires_at is not None
    assert (link.expires_at - link.created_at).days == 7
    assert "25.01" not in run("link", "list")
    run("link", "--usd", "25.01", "--many")
    listed = run("link", "list")
    assert [word in listed for word in ("25.01 USD", "many", "once", link.id, url[0])] == [True] * 5
    assert listed.index("25.01") < listed.index(link.id)
    assert "opens nothing any more" in run("link", "deactivate", link.id)
    assert "deactivated" in run("link", "list")


def test_an_operator_is_told_what_is_wrong(environment: Path, database: Database) -> None:
    with pytest.raises(InvalidInput, match="There is no package 'doge'"):
        run("link", "--package", "doge")
    with pytest.raises(InvalidInput, match="not both"):
        run("link", "--package", "merchant", "--usd", "25")
    with pytest.raises(NotFound, match="no such payment link"):
        run("link", "deactivate", "lnk_" + "a" * 26)
    for words in (("link",), ("link", "--many", "list"), ("link", "--usd", "25", "--days", "0")):
        with pytest.raises((SystemExit, click.ClickException)):
            run(*words)
    assert "There are no payment links." in run("link", "list")


def _picture(url: str) -> str:

    drawn = StringIO()
    segno.make(url, error="m").terminal(drawn, compact=True)
    return drawn.getvalue()
