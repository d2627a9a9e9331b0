"""Streams of routers that are configured no more: health does not count them, and an operator retires them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.cli import cli
from cascade.db import checkpoints, orders
from cascade.db.database import Database
from tests.support.purchases import NOWHERE, open_order

FOLLOWED = f"chain:137:{NOWHERE.router}"
DEPOSITS = f"deposits:137:{NOWHERE.router}"
MISTAKE = "chain:137:0x" + "99" * 20


@pytest.fixture
def client(environment: Path) -> Iterator[TestClient]:
    with TestClient(create_app()) as client:
        yield client


def follow(database: Database, stream: str, *, age_seconds: int = 0, led: bool = True) -> None:
    """Write down a stream as its worker does."""
    with database.transaction() as connection:
        time = int(orders.clock(connection).timestamp()) - age_seconds
        checkpoints.start(connection, stream, 5, b"\1" * 32, time)
        if led:
            checkpoints.lease(connection, stream, "me", 60)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner(env={"COLUMNS": "400"}).invoke(cli, words)
    return done.exit_code, done.output + (str(done.exception) if done.exception else "")


def test_a_router_that_was_named_once_by_mistake_is_no_alarm(client: TestClient, database: Database) -> None:
    follow(database, FOLLOWED)
    follow(database, MISTAKE, age_seconds=10**6, led=False)
    follow(database, DEPOSITS, age_seconds=10**6, led=False)  # of a time with a relayer
    answer = client.get("/health")
    assert answer.status_code == 200
    assert [stream["stream"] for stream in answer.json()["streams"]] == [FOLLOWED]


def test_only_other_routers_streams_are_not_enough(client: TestClient, database: Database) -> None:
    follow(database, MISTAKE)
    assert client.get("/health").status_code == 503


def test_deposits_count_where_a_relayer_is_configured(
    environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_RELAYER_KEY", "0x" + "11" * 32)
    follow(database, FOLLOWED)
    follow(database, DEPOSITS, age_seconds=10**6, led=False)
    with TestClient(create_app()) as client:
        assert client.get("/health").status_code == 503


def test_a_stream_is_retired_and_what_was_seen_of_it_with_it(environment: Path, database: Database) -> None:
    order = open_order(database)
    follow(database, FOLLOWED)
    follow(database, MISTAKE, led=False)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO chain_sightings VALUES (%s, %s, 7, 0, %s, %s)",
            (MISTAKE, order.terms[0].on_chain_order_id, b"\1" * 32, b"\2" * 32),
        )
    code, shown = run("streams")
    assert code == 0
    rows = [line.split("\t") for line in shown.splitlines()]
    assert [(row[0], row[4]) for row in rows] == [("stream", "configured"), (FOLLOWED, "yes"), (MISTAKE, "no")]
    assert f"{MISTAKE} is not what this configuration follows" in run("status")[1]
    assert run("streams", "retire", MISTAKE) == (0, f"{MISTAKE} is retired.\n")
    with database.transaction() as connection:
        assert [stream.stream for stream in checkpoints.health(connection)] == [FOLLOWED]
        assert checkpoints.sightings_of_order(connection, order.order.id) == []
    assert MISTAKE not in run("streams")[1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (FOLLOWED, "is what this configuration follows"),
        (MISTAKE, "is followed by a running process: stop that one first"),
        ("chain:1:0x", "there is no stream chain:1:0x"),
    ],
)
def test_what_is_followed_or_unknown_is_not_retired(
    environment: Path, database: Database, name: str, says: str
) -> None:
    follow(database, FOLLOWED, led=False)
    follow(database, MISTAKE)
    code, shown = run("streams", "retire", name)
    assert code != 0
    assert says in shown
    with database.transaction() as connection:
        assert len(checkpoints.health(connection)) == 2
