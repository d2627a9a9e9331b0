"""A problem in a browser is a page: what happened, what to do, a way back; a program gets the JSON that it had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from api.pages import shop_page
from cascade.db.database import Database

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
HOSTILE = "zq<script>alert(1)</script>zq"


@pytest.fixture
def client(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_READS_PER_MINUTE", "20")
    with TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Faults that the shop's page meets instead of the database."""
    faults: list[Exception] = []

    def fail(*_: object, **__: object) -> None:
        raise faults[0]

    monkeypatch.setattr(shop_page, "_shop", fail)
    return faults


def test_the_bare_address_leads_to_the_shop(client: TestClient) -> None:
    answer = client.get("/", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/pay")


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", f"/{HOSTILE}?q={HOSTILE}&lang=en", 404, "There is nothing at this address"),
        ("GET", "/pay/a/b/c", 404, "There is nothing at this address"),
        ("GET", "/a%00b", 404, "There is nothing at this address"),
        ("PUT", f"/pay?q={HOSTILE}", 405, "There is nothing at this address"),
        ("GET", f"/pay?usd={HOSTILE * 10}", 422, "This could not be understood"),
    ],
)
def test_a_problem_is_a_page_in_a_browser(client: TestClient, method: str, path: str, status: int, title: str) -> None:
    answer = client.request(method, path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert f"<h1>{title}</h1>" in answer.text
    assert 'href="/pay"' in answer.text
    assert "zq" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    program = client.request(method, path, headers={"accept": "*/*"})
    assert (program.status_code, program.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("path", ["/api/nothing", "/api/payments/orders/ord_x", "/static/nothing.js"])
def test_what_is_for_programs_stays_json_in_a_browser(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_reader_is_told_in_italian(client: TestClient) -> None:
    page = client.get("/nothing", headers={**BROWSER, "accept-language": "it-IT,it"}).text
    assert '<html lang="it"' in page
    assert "A questo indirizzo non c" in page


def test_who_asks_too_often_reads_when_to_come_back(client: TestClient) -> None:
    for _ in range(20):
        client.get("/nothing")
    answer = client.get("/pay", headers=BROWSER)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert "<h1>One moment, please</h1>" in answer.text
    assert client.get("/pay").headers["content-type"] == "application/problem+json"
    assert client.get("/static/pay.css").status_code == 200, "the page has no style"
    while client.get("/static/pay.css").status_code == 200:
        pass  # until these are too many as well
    assert client.get("/static/pay.css").status_code == 429


def test_while_the_database_is_down_a_page_says_so(client: TestClient, broken: list[Exception]) -> None:
    broken.append(psycopg.OperationalError("connection to server at 10.0.0.1 failed: password of user zq"))
    answer = client.get("/pay", headers=BROWSER)
    assert (answer.status_code, "<h1>We will be back in a moment</h1>" in answer.text) == (503, True)
    assert answer.headers["retry-after"] == "5"
    assert "zq" not in answer.text


def test_a_fault_of_ours_is_a_page_that_needs_no_database(
    client: TestClient, broken: list[Exception], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    broken.append(ZeroDivisionError("zq"))
    client.app.state.app.database.close()  # type: ignore[attr-defined]
    answer = client.get("/pay?x=zq", headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "<h1>Something went wrong on our side</h1>" in answer.text
    assert "zq" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "unexpected ZeroDivisionError" in caplog.text
    assert client.get("/pay").json()["detail"] == "Something went wrong on our side. Nothing was charged."


def test_a_page_under_a_buttons_address_leads_back_to_the_order(client: TestClient) -> None:
    for button in ("card", "again"):
        answer = client.get(f"/pay/some-token/{button}", headers=BROWSER)
        assert (answer.status_code, answer.headers["location"]) == (303, "/pay/some-token")
