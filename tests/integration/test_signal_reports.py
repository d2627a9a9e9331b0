"""Signals over HTTP: who may report, what is taken, once, and what streams and ticks make of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import api_keys, orders
from cascade.db.api_keys import Scope
from cascade.db.database import Database
from cascade.domain.signal_kinds import SignalKind
from cascade.rate.tick_service import collect_inputs
from tests.support.concurrency import run_concurrently
from tests.support.rate import clock, insert_signal, write_tick
from tests.support.streams import SOON_SECONDS, Api, Stream

SIGNALS = "/api/economics/signals"
EVENTS = "/api/economics/cascade/events"
Batch = list[dict[str, Any]]


@pytest.fixture
def key(database: Database) -> str:
    with database.transaction() as connection:
        return api_keys.add(connection, "observatory", [Scope.SIGNALS])


@pytest.fixture
def client(environment: Path, key: str) -> Iterator[TestClient]:
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        client.headers["authorization"] = f"Bearer {key}"
        yield client


def signal(name: str, at: datetime, kind: str = "consciousness", value: Any = "6.5") -> dict[str, Any]:
    return {"id": name, "kind": kind, "value": value, "occurred_at": at.isoformat()}


def stored(database: Database) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        return connection.execute("SELECT source, sender_id, kind, micro FROM signals ORDER BY id").fetchall()


def test_a_batch_is_taken_in_the_name_of_its_key(client: TestClient, database: Database) -> None:
    now = clock(database)
    batch = [signal("a", now), signal("b", now, "coherence", 87.3), signal("c", now, "recognition", 17)]
    answer = client.post(SIGNALS, json={"signals": batch})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 3, "duplicates": 0, "late": 0})
    assert [tuple(row.values()) for row in stored(database)] == [
        ("observatory", "a", "consciousness", 6_500_000),
        ("observatory", "b", "coherence", 87_300_000),
        ("observatory", "c", "recognition", 17_000_000),
    ]


def test_what_is_sent_again_is_taken_once(client: TestClient, database: Database) -> None:
    now = clock(database)
    batch = {"signals": [signal("a", now), signal("b", now), signal("a", now)]}
    answers = run_concurrently(6, lambda _: client.post(SIGNALS, json=batch).json())
    assert sum(answer["accepted"] for answer in answers) == 2
    assert sum(answer["duplicates"] for answer in answers) == 16
    assert len(stored(database)) == 2


def test_another_source_may_use_the_same_id(client: TestClient, database: Database) -> None:
    with database.transaction() as connection:
        other = api_keys.add(connection, "other", [Scope.SIGNALS])
    batch = {"signals": [signal("a", clock(database))]}
    assert client.post(SIGNALS, json=batch).json()["accepted"] == 1
    answer = client.post(SIGNALS, json=batch, headers={"authorization": f"Bearer {other}"})
    assert answer.json()["accepted"] == 1


@pytest.mark.parametrize("again", ["consciousness 7", "coherence 6.5", "later"])
def test_an_id_that_is_used_for_something_else_is_refused(client: TestClient, database: Database, again: str) -> None:
    now = clock(database)
    assert client.post(SIGNALS, json={"signals": [signal("a", now)]}).status_code == 200
    kind, _, value = again.partition(" ")
    other = signal("a", now - timedelta(seconds=1)) if again == "later" else signal("a", now, kind, value)
    for batch in ([other, signal("new", now)], [signal("new", now), signal("x", now), {**other, "id": "x"}]):
        answer = client.post(SIGNALS, json={"signals": batch})
        assert answer.status_code == 422
        assert "was used for another signal" in answer.json()["detail"]
    assert len(stored(database)) == 1  # all of a batch or nothing


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"value": "10.1"}, "from 0 to 10, not 10.1"),
        ({"value": -1}, "from 0 to 10, not -1"),
        ({"value": "NaN"}, "finite"),
        ({"value": "1.0000001"}, "at most six decimals"),
        ({"kind": "recognition", "value": "1.5"}, "whole events"),
        ({"kind": "recognition", "value": "1000001"}, "from 0 to 1,000,000"),
        ({"kind": "volume", "value": "1"}, "kind"),
        ({"id": ""}, "id"),
        ({"id": "x" * 101}, "id"),
        ({"id": "a\u0000b"}, "id"),
        ({"occurred_at": "2026-11-25T08:00:00"}, "occurred_at"),
        ({"occurred_at": 1_764_056_000}, "occurred_at"),
        ({"occurred_at": "1999-12-31T00:00:00Z"}, "occurred_at"),
        ({"source": "venice"}, "source"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_of_its_batch_is_taken(
    client: TestClient, database: Database, change: dict[str, Any], says: str
) -> None:
    now = clock(database)
    answer = client.post(SIGNALS, json={"signals": [signal("good", now), {**signal("bad", now), **change}]})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert stored(database) == []


def test_a_time_that_has_not_come_is_refused_but_a_clock_may_be_a_little_ahead(
    client: TestClient, database: Database
) -> None:
    now = clock(database)
    ahead = client.post(SIGNALS, json={"signals": [signal("a", now + timedelta(minutes=3))]})
    assert ahead.status_code == 422
    assert "has not come yet" in ahead.json()["detail"]
    assert client.post(SIGNALS, json={"signals": [signal("b", now + timedelta(seconds=90))]}).status_code == 200


def test_a_late_one_is_taken_and_called_late(client: TestClient, database: Database) -> None:
    now = clock(database)
    batch = [signal("late", now - timedelta(days=8)), signal("not", now - timedelta(days=6))]
    assert client.post(SIGNALS, json={"signals": batch}).json() == {"accepted": 2, "duplicates": 0, "late": 1}


def test_the_order_in_which_they_arrive_does_not_matter(client: TestClient, database: Database) -> None:
    now = clock(database)
    for minutes in (10, 2, 30, 5):
        batch = [signal(f"{minutes}", now - timedelta(minutes=minutes), value=minutes / 4)]
        client.post(SIGNALS, json={"signals": batch})
    with database.transaction() as connection:
        inputs = collect_inputs(connection, orders.clock(connection))
    (level,) = inputs["consciousness"]  # type: ignore[index]
    assert level.now_micro == 500_000  # the newest by its own time: of two minutes ago


@pytest.mark.parametrize("count", [0, 501])
def test_a_batch_has_one_to_five_hundred(client: TestClient, database: Database, count: int) -> None:
    now = clock(database)
    answer = client.post(SIGNALS, json={"signals": [signal(f"s{n}", now) for n in range(count)]})
    assert (answer.status_code, answer.json()["field"]) == (422, "signals")


def test_a_whole_batch_fits_and_more_bytes_do_not(client: TestClient, database: Database) -> None:
    now = clock(database)
    batch = [signal(f"{n:0>100}", now, "reported_acceleration", "-999999.123456") for n in range(500)]
    assert client.post(SIGNALS, json={"signals": batch}).json()["accepted"] == 500
    assert client.post(SIGNALS, content=b"{" + b" " * 300_000).status_code == 413


def test_only_a_key_of_that_scope_is_let_in(
    client: TestClient, database: Database, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = {"signals": [signal("a", clock(database))]}
    wrong = ("", "Bearer ", f"Bearer {key}x", f"Basic {key}", f"Bearer {key.upper()}", "Bearer " + "k" * 32)
    for credentials in wrong:
        answer = client.post(SIGNALS, json=batch, headers={"authorization": credentials})
        assert answer.status_code == 401, credentials
        assert answer.headers["www-authenticate"] == "Bearer"
    with database.transaction() as connection:
        connection.execute("UPDATE api_keys SET scopes = '{reads}'")
    assert client.post(SIGNALS, json=batch).status_code == 401
    with database.transaction() as connection:
        connection.execute("UPDATE api_keys SET scopes = '{signals}'")
        api_keys.revoke(connection, "observatory")
    assert client.post(SIGNALS, json=batch).status_code == 401
    assert stored(database) == []


def test_the_platforms_key_does_not_report(
    environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_API_KEY", "k" * 32)
    with TestClient(create_app()) as client:
        headers = {"authorization": "Bearer " + "k" * 32}
        answer = client.post(SIGNALS, json={"signals": [signal("a", clock(database))]}, headers=headers)
    assert answer.status_code == 401


def test_a_key_is_never_stored_and_its_use_is_noted(client: TestClient, database: Database, key: str) -> None:
    client.post(SIGNALS, json={"signals": [signal("a", clock(database))]})
    with database.transaction() as connection:
        row = connection.execute("SELECT to_jsonb(k)::text AS text, used_at FROM api_keys k").fetchone()
    assert row is not None
    assert key not in row["text"]
    assert row["used_at"] is not None


def test_batches_have_a_limit_of_their_own(environment: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_SIGNALS_PER_MINUTE", "2")
    with TestClient(create_app()) as client:
        statuses = [client.post(SIGNALS, json={"signals": []}).status_code for _ in range(3)]
        assert statuses == [401, 401, 429]  # also for those who guess keys
        assert client.get("/api/economics/exchange-rate").status_code == 200


def cities(stream: Stream) -> Iterator[dict[str, Any]]:
    for message in stream.messages():
        assert message["event"] == "cascade"
        yield message


def test_the_city_is_told_live(environment: Path, database: Database, key: str) -> None:
    with Api.served() as api, api.stream(EVENTS) as stream:
        told = cities(stream)
        first = next(told)
        assert (first["consciousness_level"], first["tick"], first["usd_per_ducat"]) == (None, None, "0.10")
        batch = {"signals": [signal("a", clock(database), value=9)]}
        answer = api.client.post(SIGNALS, json=batch, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        second = next(told)
        assert second["consciousness_level"] == "9"
        with database.transaction() as connection:
            tick = write_tick(connection, orders.clock(connection).replace(second=0, microsecond=0))
        third = next(told)
        assert third["tick"] == f"{tick.at:%Y-%m-%dT%H:%M:%SZ}"
        assert first["id"] < second["id"] < third["id"]
        assert third == {**third, **api.client.get("/api/economics/cascade").json(), "at": third["at"]}


def test_who_comes_back_hears_of_now_and_not_of_what_was(environment: Path, database: Database) -> None:
    with database.transaction() as connection:
        insert_signal(connection, SignalKind.COHERENCE, 40, orders.clock(connection) - timedelta(seconds=1))
    with Api.served() as api, api.stream(EVENTS, after=2**31 - 1) as stream:
        assert next(cities(stream))["tessere_coherence"] == "40"
    assert SOON_SECONDS > 0
