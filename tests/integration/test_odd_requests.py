"""Requests that no browser sends: none is a 500, and no answer leads to where the Host header says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import api_keys
from cascade.db.database import Database
from cascade.domain.orders import Order
from sandbox.stripe import StripeDouble
from tests.support.purchases import open_order

KEY = "k" * 32
PAYER = "0x" + "11" * 20
IN_ADDRESSES = (
    *(
        "%00",
        "a%00b",
        "%ED%A0%80",
        "%FF",
        "%F0%9F%A6%91",
        "%D9%A3",
        "%C2%B2",
        "%EF%BC%91",
        "a%0d%0ab",
        "%5C",
        "%20",
        "'",
    ),
    *("1e30", "-1", "NaN", "Infinity", "0x10", "10_000", "true", "[]", "..", "%2e%2e", "%2F", "%2f%2fevil.example"),
    *(str(2**31), str(2**63), "9" * 400, "9" * 5000, "2026-13-45", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"),
)
IN_JSON = (
    *(r'"\u0000"', r'"a\u0000b"', r'"\ud800"', r'"\udfff\ud800"', r'["\u0000"]', '"1E+9999999999"', '"sNaN"', '"٣"'),
    *("1e30", "1e400", "-1e400", "NaN", "Infinity", "9" * 400, "9" * 5000, "-1", "1e-400", str(2**63), str(2**64)),
    *("null", "true", "[]", "{}", "[" * 7000, '{"a":' * 2500, '"0x' + "f" * 5000 + '"', '"' + "9" * 5000 + '"'),
    *('"9999-12-31T23:59:59-14:00"', '"0001-01-01T00:00:00+14:00"'),
)
IN_HEADERS = (
    b"\xff",
    b"9" * 5000,
    b"-1",
    b"en;q=1e400",
    b"en;q=nan, it;q=inf",
    b"lang=\xff",
    b"bytes=-1",
    b"[",
    b"a b",
)


@pytest.fixture
def client(environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for kind in ("ORDERS", "READS", "SIGNALS", "AUTHORIZATIONS", "WEBHOOKS"):
        monkeypatch.setenv(f"CASCADE_{kind}_PER_MINUTE", "1000000")
    monkeypatch.setenv("CASCADE_API_KEY", KEY)
    monkeypatch.setenv("CASCADE_RELAYER_KEY", "0x" + "11" * 32)
    with StripeDouble.start() as double:
        monkeypatch.setenv("STRIPE_SECRET_KEY", double.secret_key)
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_" + "s" * 32)
        monkeypatch.setenv("CASCADE_STRIPE_API_BASE", double.url)
        with TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False) as client:
            yield client


@pytest.fixture
def order(database: Database) -> Order:
    return open_order(database).order


def routes_of(routes: Iterable[Any]) -> Iterator[APIRoute]:
    """All that the application answers, also what its document does not tell."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from routes_of(route.original_router.routes)


def is_fault(status: int) -> bool:
    """Whether this is a fault of ours; 503 says that a node, or whoever should book, is not there."""
    return status >= 500 and status != 503


def test_odd_names_and_numbers_in_an_address(client: TestClient) -> None:
    faults = []
    for route in routes_of(client.app.routes):  # type: ignore[attr-defined]
        if route.path.endswith("/events"):  # without an end
            continue
        for odd in IN_ADDRESSES:
            path = route.path
            for parameter in route.dependant.path_params:
                path = path.replace(f"{{{parameter.alias}}}", odd)
            headers = {parameter.alias: odd for parameter in route.dependant.header_params}
            queries = [f"?{parameter.alias}={odd}" for parameter in route.dependant.query_params] or [""]
            for method in (route.methods or set()) - {"HEAD"}:
                for query in queries:
                    answer = client.request(method, path + query, headers=headers | {"authorization": f"Bearer {KEY}"})
                    if is_fault(answer.status_code):
                        faults.append((method, path + query, answer.status_code))
    assert not faults


def fields_of(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """The fields that a body may have."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    named = set(schema.get("properties", {}))
    for kind in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(kind, []):
            named |= fields_of(document, part)
    return named


def test_odd_values_in_a_body(client: TestClient, order: Order, database: Database) -> None:
    with database.transaction() as connection:
        signals_key = api_keys.add(connection, "odd", [api_keys.Scope.SIGNALS])
    good = {"citizen_id": "Marco_Polo", "token": "USDC", "payer": PAYER, "signature": "0x" + "11" * 65}
    document = client.get("/openapi.json").json()
    faults = []
    for path, operations in document["paths"].items():
        body = operations.get("post", {}).get("requestBody")
        if body is None:
            continue
        url = path.replace("{order_id}", order.id).replace("{citizen_id}", "Marco_Polo").replace("{link_id}", "x")
        headers = {
            "authorization": f"Bearer {signals_key if 'signals' in path else KEY}",
            "content-type": "application/json",
        }
        fields = fields_of(document, body["content"]["application/json"]["schema"])
        for field in [*fields, None]:
            rest = {name: json.dumps(value) for name, value in good.items() if name in fields}
            for odd in IN_JSON:
                pairs = [f'"{name}": {value}' for name, value in {**rest, str(field): odd}.items()]
                content = odd if field is None else "{" + ", ".join(pairs) + "}"
                answer = client.post(url, content=content.encode(), headers=headers)
                if is_fault(answer.status_code):
                    faults.append((url, answer.status_code, content[:200]))
    assert not faults


def test_odd_forms(client: TestClient, order: Order) -> None:
    faults = []
    form = "application/x-www-form-urlencoded"
    paths = ("/pay", f"/pay/{order.link_token}", f"/pay/{order.link_token}/again", f"/pay/{order.link_token}/card")
    head = b'--x\r\ncontent-disposition: form-data; name="citizen_id"; filename="a\x00b"\r\n\r\n'
    part = head + b"\xff\xed\xa0\x80\r\n--x--\r\n"
    for path in paths:
        bodies = [
            (form, f"{field}={odd}".encode()) for field in ("citizen_id", "usd", "package") for odd in IN_ADDRESSES
        ]
        bodies += [("multipart/form-data; boundary=x", part), ("multipart/form-data", part)]
        bodies += [(f"{form}; charset=nonsense", b"a=b"), ("multipart/form-data; boundary=x; charset=nonsense", part)]
        for kind, content in bodies:
            answer = client.post(path, content=content, headers={"content-type": kind})
            if is_fault(answer.status_code):
                faults.append((path, answer.status_code, kind, content[:100]))
    assert not faults


def test_odd_headers(client: TestClient, order: Order) -> None:
    faults = []
    paths = (f"/api/payments/orders/{order.id}", f"/pay/{order.link_token}", "/pay", "/rate", "/static/pay.css")
    names = (
        "accept-language",
        "cookie",
        "accept-encoding",
        "range",
        "content-type",
        "x-forwarded-for",
        "if-none-match",
    )
    for path in paths:
        for name in (*names, "idempotency-key", "authorization", "accept", "host", "if-modified-since", "if-range"):
            for odd in IN_HEADERS:
                answer = client.get(path, headers={name: odd})
                if is_fault(answer.status_code):
                    faults.append((path, name, odd[:30], answer.status_code))
    assert not faults


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/rate/", "/rate"),
        ("/pay/?usd=25", "/pay?usd=25"),
        ("/api/payments/pricing/", "/api/payments/pricing"),
        ("/api/payments/orders/a%3Fb%0d%0ac/", "/api/payments/orders/a%3Fb%0D%0Ac"),
        ("//evil.example/", "/evil.example"),
        ("/%5Cevil.example/", "/%5Cevil.example"),
        ("/%2f%2fevil.example/%2f", "/evil.example"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_slash_too_much_leads_to_a_path_and_to_no_host(
    client: TestClient, method: str, path: str, target: str
) -> None:
    forged = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}
    answer = client.request(method, f"http://testserver{path}", headers=forged)
    assert (answer.status_code, answer.headers["location"]) == (307, target)


def test_no_answer_repeats_the_host_header(client: TestClient, order: Order) -> None:
    told = []
    forged = {"host": "evil.example", "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
    known = {"order_id": order.id, "token": order.link_token, "citizen_id": "Marco_Polo"}
    for route in routes_of(client.app.routes):  # type: ignore[attr-defined]
        if route.path.endswith("/events"):
            continue
        path = route.path
        for name, value in known.items():
            path = path.replace(f"{{{name}}}", value)
        for method in (route.methods or set()) - {"HEAD"}:
            answer = client.request(method, path, headers=forged | {"authorization": f"Bearer {KEY}"})
            if "evil.example" in answer.text + str(answer.headers):
                told.append((method, path))
    assert not told
