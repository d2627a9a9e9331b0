"""The rate over HTTP: what it is and why, its history, the city's state, and converting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import orders
from cascade.db.database import Database
from cascade.domain.signal_kinds import SignalKind
from cascade.rate import tick_store
from cascade.rate.rule import Tick
from cascade.services.booking import book_payment
from tests.support.purchases import confirmed, open_order
from tests.support.rate import FORMULA, clock, insert_signal, ticks_until, write_tick

RATE = "/api/economics/exchange-rate"
HISTORY = "/api/economics/exchange-rate/history"
CITY = "/api/economics/cascade"
CONVERT = "/api/economics/convert"
HIGH = {SignalKind.CONSCIOUSNESS: 7.5, SignalKind.COHERENCE: 80.0}


@pytest.fixture
def client(environment: Path) -> Iterator[TestClient]:
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def ticks(database: Database) -> list[Tick]:
    """Two days of a city that is well; the newest tick is the one of this moment."""
    with database.transaction() as connection:
        return ticks_until(connection, orders.clock(connection), 2 * 288, HIGH)


def get(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_before_the_first_tick_a_ducat_costs_the_base(client: TestClient) -> None:
    rate = get(client, RATE)
    assert (rate["usd_per_ducat"], rate["ducats_per_usd"], rate["tick"], rate["inputs"]) == ("0.10", "10", None, [])
    assert get(client, HISTORY) == {"interval": "raw", "ticks": [], "candles": [], "next": None}
    city = get(client, CITY)
    assert city["consciousness_level"] is None
    assert city["acceleration"] is None
    assert get(client, "/api/payments/pricing")["tick"] is None


def test_the_rate_says_why(client: TestClient, ticks: list[Tick]) -> None:
    rate = get(client, RATE)
    assert rate["usd_per_ducat"] == str(ticks[-1].rate)
    assert rate["tick"] == f"{ticks[-1].at:%Y-%m-%dT%H:%M:%SZ}"
    assert rate["target_usd"] == "0.232"  # 0.10 + 0.40 * (0.3 * 0.5 + 0.3 * 0.6)
    assert rate["overdue_seconds"] == 0
    assert rate["formula"] == "venice-1"
    by_name = {one["name"]: one for one in rate["inputs"]}
    assert list(by_name)[:2] == ["coherence", "consciousness"]  # the strongest first
    coherence = by_name["coherence"]
    assert (coherence["value"], coherence["usual"], coherence["state"]) == ("80", "50", "fresh")
    assert (coherence["pressure"], coherence["contribution_usd"]) == ("0.6", "0.072")
    assert by_name["recognition"]["state"] == by_name["volume"]["state"] == "missing"
    parts = sum(Decimal(one["contribution_usd"]) for one in rate["inputs"])
    assert Decimal(rate["base_usd"]) + parts == Decimal(rate["target_usd"])


def test_both_directions_agree(client: TestClient, ticks: list[Tick]) -> None:
    rate = get(client, RATE)
    ducats = Decimal(rate["ducats_per_usd"])
    price = Decimal(rate["usd_per_ducat"])
    assert ducats * price <= 1 < (ducats + Decimal("0.000001")) * price


def test_the_trend_is_against_an_hour_and_a_day_ago(client: TestClient, ticks: list[Tick]) -> None:
    trend = get(client, RATE)["trend"]
    day = (ticks[-1].rate.nano_usd - ticks[-1 - 288].rate.nano_usd) * 10**6 // ticks[-1 - 288].rate.nano_usd
    assert Decimal(trend["day_percent"]) == Decimal(day) / 10**4
    assert trend["direction"] == "steady"  # it has reached its target


def test_a_rate_that_moves_is_rising_or_falling(client: TestClient, database: Database) -> None:
    with database.transaction() as connection:
        now = orders.clock(connection)
        ticks_until(connection, now - timedelta(hours=2), 24, HIGH)
        last = tick_store.latest(connection)
        assert last is not None
        for number in range(1, 25):
            at = last.at + number * FORMULA.tick
            insert_signal(connection, SignalKind.CONSCIOUSNESS, 9, at)
            write_tick(connection, at)
    trend = get(client, RATE)["trend"]
    assert trend["direction"] == "rising"
    assert Decimal(trend["hour_percent"]) > 5
    assert trend["day_percent"] is None  # there was no rate yet


def test_volume_gives_confidence_and_a_conversion_does_not(client: TestClient, database: Database) -> None:
    for _ in range(3):
        client.post(CONVERT, json={"usd_amount": "10000"})
    for usd in ("1000", "500"):
        view = open_order(database, usd=usd)
        with database.transaction() as connection:
            book_payment(connection, confirmed(view.terms[0]))
    slot = clock_slot(database) + FORMULA.tick
    with database.transaction() as connection:  # a day to compare with: the first was sold three days ago
        connection.execute("ALTER TABLE ledger.transactions DISABLE TRIGGER append_only")
        connection.execute(
            "UPDATE ledger.transactions SET posted_at = %s WHERE id = (SELECT min(id) FROM ledger.transactions)",
            (slot - timedelta(days=3),),
        )
        write_tick(connection, slot)
    rate = get(client, RATE)
    assert rate["volume_24h_usd"] == "500"
    assert rate["confidence"] == "0.333333"
    (volume,) = (one for one in rate["inputs"] if one["name"] == "volume")
    assert volume["usual"] == "500"  # a thousand dollars in two days


def test_history_is_paged(client: TestClient, ticks: list[Tick]) -> None:
    seen: list[dict[str, Any]] = []
    query: dict[str, str] = {}
    for _ in range(100):
        page = get(client, HISTORY, limit=100, **query)
        seen += page["ticks"]
        if page["next"] is None:
            break
        query = {"before": page["next"]}
    assert [one["at"] for one in seen] == [f"{tick.at:%Y-%m-%dT%H:%M:%SZ}" for tick in reversed(ticks)]
    assert [one["usd_per_ducat"] for one in seen] == [str(tick.rate) for tick in reversed(ticks)]


@pytest.mark.parametrize("interval", ["hour", "day"])
def test_candles_are_what_the_ticks_were(client: TestClient, ticks: list[Tick], interval: str) -> None:
    seen: list[dict[str, Any]] = []
    query: dict[str, str] = {}
    for _ in range(100):
        page = get(client, HISTORY, interval=interval, limit=5, **query)
        seen += page["candles"]
        if page["next"] is None:
            break
        query = {"before": page["next"]}
    expected: dict[str, list[str]] = {}
    for tick in ticks:
        start = tick.at.replace(minute=0, hour=tick.at.hour if interval == "hour" else 0)
        expected.setdefault(f"{start:%Y-%m-%dT%H:%M:%SZ}", []).append(str(tick.rate))
    assert [one["start"] for one in seen] == sorted(expected, reverse=True)
    for candle in seen:
        rates_then = expected[candle["start"]]
        decimals = [Decimal(one) for one in rates_then]
        assert (candle["open"], candle["close"], candle["ticks"]) == (rates_then[0], rates_then[-1], len(rates_then))
        assert (Decimal(candle["high"]), Decimal(candle["low"])) == (max(decimals), min(decimals))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"interval": "week"}, "interval"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"before": "1"}, "before"),
        ({"before": "2026-11-25T08:00:00"}, "before"),
        ({"before": "0001-01-01T00:00:00Z"}, "before"),
        ({"before": "9999-12-31T23:59:59Z"}, "before"),
    ],
)
def test_a_page_that_there_is_not_is_refused(client: TestClient, query: dict[str, str], field: str) -> None:
    answer = client.get(HISTORY, params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_cascade_is_derived_from_what_was_recognised(client: TestClient, database: Database) -> None:
    now = clock(database)
    with database.transaction() as connection:
        for minutes, events in ((150, 5), (110, 20), (70, 10), (50, 40), (10, 25)):
            insert_signal(connection, SignalKind.RECOGNITION, events, now - timedelta(minutes=minutes))
        insert_signal(connection, SignalKind.REPORTED_ACCELERATION, -2.5, now - timedelta(minutes=1))
        insert_signal(connection, SignalKind.CONSCIOUSNESS, 6.25, now - timedelta(minutes=1))
        insert_signal(connection, SignalKind.COHERENCE, 87.3, now - timedelta(hours=7))  # too old to be shown
    city = get(client, CITY)
    assert (city["recognition_per_hour"], city["acceleration"]) == (65, 35)  # 40 + 25, less 20 + 10
    assert city["reported_acceleration"] == "-2.5"
    assert (city["consciousness_level"], city["tessere_coherence"]) == ("6.25", None)


def test_of_several_sources_the_middle_one_is_shown(client: TestClient, database: Database) -> None:
    now = clock(database)
    with database.transaction() as connection:
        for source, level, events in (("venice", 6, 10), ("liar", 10, 100_000), ("doge", 5, 12)):
            insert_signal(connection, SignalKind.CONSCIOUSNESS, level, now - timedelta(minutes=1), source)
            for hours in (3, 1.5, 0.5):
                insert_signal(connection, SignalKind.RECOGNITION, events, now - timedelta(hours=hours), source)
    city = get(client, CITY)
    assert (city["consciousness_level"], city["recognition_per_hour"], city["acceleration"]) == ("6", 12, 0)


@pytest.mark.parametrize(
    ("wish", "usd", "ducats"),
    [
        ({"usd_amount": "25.01"}, "25.01", "250.1"),
        ({"usd_amount": 10}, "10", "100"),
        ({"ducats": "0.000001"}, "0.01", "0.000001"),  # up to the cent, as when something is bought
        ({"ducats": "2500"}, "250", "2500"),
    ],
)
def test_converting(client: TestClient, wish: dict[str, Any], usd: str, ducats: str) -> None:
    converted = client.post(CONVERT, json=wish)
    assert converted.status_code == 200
    assert converted.json() == {"usd": usd, "ducats": ducats, "usd_per_ducat": "0.10", "tick": None}


@pytest.mark.parametrize("wish", [{}, {"usd_amount": "1", "ducats": "1"}, {"usd_amount": "-1"}, {"ducats": "1e99"}])
def test_what_cannot_be_converted_is_refused(client: TestClient, wish: dict[str, str]) -> None:
    assert client.post(CONVERT, json=wish).status_code == 422


def test_converting_changes_nothing_in_the_database(client: TestClient, database: Database, ticks: list[Tick]) -> None:
    def written() -> dict[str, int]:
        with database.transaction() as connection:
            tables = connection.execute(
                "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
                " WHERE schemaname IN ('public', 'ledger')"
            ).fetchall()
            assert len(tables) > 20
            return {
                row["name"]: connection.execute(f"SELECT count(*) AS n FROM {row['name']}").fetchone()["n"]  # type: ignore[index]
                for row in tables
            }

    before = written()
    assert client.post(CONVERT, json={"usd_amount": "9999"}).status_code == 200
    assert written() == before


def test_an_order_and_its_receipt_name_the_tick(client: TestClient, ticks: list[Tick]) -> None:
    wish = {"citizen_id": "Marco_Polo", "usd_amount": "25.01"}
    begun = client.post("/api/payments/crypto-payment-intent", json=wish).json()
    order = get(client, f"/api/payments/orders/{begun['order_id']}")
    assert order["usd_per_ducat"] == str(ticks[-1].rate) == get(client, "/api/payments/pricing")["usd_per_ducat"]
    assert order["rate_tick"] == f"{ticks[-1].at:%Y-%m-%dT%H:%M:%SZ}"


def test_a_tick_never_changes_an_open_order(client: TestClient, database: Database, ticks: list[Tick]) -> None:
    wish = {"citizen_id": "Marco_Polo", "package": "merchant"}
    begun = client.post("/api/payments/crypto-payment-intent", json=wish).json()
    before = get(client, f"/api/payments/orders/{begun['order_id']}")
    with database.transaction() as connection:
        for number in range(1, 10):  # an hour ahead at most: later ones are not followed
            at = ticks[-1].at + number * FORMULA.tick
            insert_signal(connection, SignalKind.COHERENCE, 0, at)
            write_tick(connection, at)
    again = client.post("/api/payments/crypto-payment-intent", json={"order_id": begun["order_id"], "token": "USDT"})
    assert again.json()["amount"] == begun["amount"]
    assert get(client, f"/api/payments/orders/{begun['order_id']}") == before
    fresh = client.post("/api/payments/crypto-payment-intent", json=wish).json()
    assert int(fresh["amount"]) < int(begun["amount"])


def test_a_monitor_hears_of_a_keeper_that_is_gone(client: TestClient, database: Database) -> None:
    with database.transaction() as connection:
        ticks_until(connection, orders.clock(connection) - timedelta(seconds=1300), 3, HIGH)
    rate = client.get("/health").json()["rate"]
    assert rate["standing_still"] is True
    assert 1000 <= rate["overdue_seconds"] <= 1600
    assert get(client, RATE)["overdue_seconds"] >= rate["overdue_seconds"]


def clock_slot(database: Database) -> datetime:
    now = clock(database)
    return now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0)
