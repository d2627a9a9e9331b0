"""The database is restarted, killed, frozen, turned read-only or cut off, with a payment under way: every request gets
its 503 soon, every process goes on, and the payment is credited once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from benchmarks.soak.outages import FailingDatabase
from cascade.db import database as database_module
from cascade.db.database import OUTAGES, REQUESTS, WORKERS, Database, Deadlines, migrate
from cascade.errors import SettingsError
from sandbox.polygon import LocalPolygon
from sandbox.ports import free_port
from tests.conftest import RunningCascade, starting_cascades
from tests.integration.test_chain_rail import becomes, order, pay
from tests.support.delivery import until

SOON_SECONDS = 3.0
"""Two are promised; a busy machine gets one more."""
AWAY_SECONDS = 4.0


@dataclass(frozen=True)
class Shop:
    """`cascade up` on a database that can be disturbed."""

    cascade: RunningCascade
    server: FailingDatabase
    polygon: LocalPolygon

    def requests(self, intent: dict[str, Any]) -> list[tuple[int, float, str | None]]:
        """Ask for everything that needs the database, at once; status, seconds and Retry-After of each."""
        wish = {"citizen_id": "Marco", "package": "starter", "token": "USDC"}
        asks: list[tuple[str, str, dict[str, str] | None]] = [
            ("GET", "/health", None),
            ("GET", "/api/payments/pricing", None),
            ("GET", f"/api/payments/orders/{intent['order_id']}", None),
            ("GET", f"/api/payments/orders/{intent['order_id']}/events", None),
            ("GET", "/api/citizens/Marco/balance", None),
            ("POST", "/api/payments/crypto-payment-intent", wish),
        ]
        with ThreadPoolExecutor(len(asks)) as pool:
            return list(pool.map(self._ask, asks))

    def _ask(self, ask: tuple[str, str, dict[str, str] | None]) -> tuple[int, float, str | None]:
        method, path, body = ask
        begun = time.monotonic()
        with httpx.stream(method, f"{self.cascade.api}{path}", json=body, timeout=20) as answer:
            return answer.status_code, time.monotonic() - begun, answer.headers.get("retry-after")


@pytest.fixture(scope="module")
def shop(_chain: LocalPolygon, deployment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("failing")
    snapshot = _chain.snapshot()
    server = FailingDatabase.start(folder, free_port())
    try:
        with starting_cascades(_chain, deployment, server.url, folder) as start:
            yield Shop(start(), server, _chain)
    finally:
        server.stop()
        _chain.revert(snapshot)


@contextmanager
def killed(server: FailingDatabase) -> Iterator[None]:
    """As `pg_ctl stop -m immediate`: nothing is closed, and the next start has to recover."""
    server._signal(signal.SIGQUIT)
    until(lambda: not server.server.running)
    with server._restarted():
        yield


@contextmanager
def made_read_only(server: FailingDatabase) -> Iterator[None]:
    """As a primary that was demoted: it answers, nobody is cut off, and nothing can be written."""
    options = "-c default_transaction_read_only=off"
    with psycopg.connect(server.server.url, autocommit=True, options=options) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")


@contextmanager
def cut_off(server: FailingDatabase) -> Iterator[None]:
    """As a proxy that drops everything: all sessions end again and again."""
    over = threading.Event()

    def cut() -> None:
        with psycopg.connect(server.server.url, autocommit=True) as connection:
            while not over.wait(0.05):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (server.name,)
                )

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


FAULTS: dict[str, Callable[[FailingDatabase], AbstractContextManager[None]]] = {
    "restarted": FailingDatabase._restarted,
    "killed": killed,
    "frozen": FailingDatabase._frozen,
    "demoted": FailingDatabase._read_only,
    "read-only": made_read_only,
    "cut off": cut_off,
}


@pytest.mark.parametrize("error", FAULTS)
def test_a_payment_outlives_what_happens_to_the_database(shop: Shop, error: str) -> None:
    intent = order(shop.cascade, package="starter", token="USDC")
    pay(shop.polygon, intent)
    with FAULTS[error](shop.server):
        shop.polygon.mine(3)  # it is final while nobody can book it
        ends, answers = time.monotonic() + AWAY_SECONDS, []
        time.sleep(0.3)  # a reload, and the end of what was running
        while time.monotonic() < ends:
            answers += shop.requests(intent)
    assert max(seconds for _, seconds, _ in answers) < SOON_SECONDS, answers
    if error in ("cut off", "read-only"):  # between two cuts one may get through; a stream has a connection that reads
        answers = [answer for answer in answers if answer[0] not in (200, 201)]
    assert {(status, retry is not None) for status, _, retry in answers} == {(503, True)}, answers
    assert shop.cascade.process.poll() is None
    assert len(becomes(shop.cascade, intent, "fulfilled")["payments"]) == 1
    until(lambda: httpx.get(f"{shop.cascade.api}/health").status_code == 200, 15)
    with psycopg.connect(shop.server.url) as connection:
        booked = connection.execute("SELECT count(*) FROM payments WHERE order_id = %s", (intent["order_id"],))
        assert booked.fetchone() == (1,)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[FailingDatabase]:
    server = FailingDatabase.start(tmp_path / "pg", free_port())
    yield server
    server.stop()


@pytest.mark.parametrize("deadlines", [REQUESTS, Deadlines(5, 0.5, 0.5)], ids=["requests", "workers"])
def test_a_server_that_freezes_inside_a_transaction_is_given_up(failing: FailingDatabase, deadlines: Deadlines) -> None:
    """The server's own limits do not end it, and the kernel acknowledges every packet: only we can."""
    database = Database(failing.url, connections=1, deadlines=deadlines)
    database.open()
    with pytest.raises(psycopg.OperationalError, match="no answer in time"), database.transaction() as connection:
        connection.execute("CREATE TABLE written (id int)")
        with failing._frozen():
            begun = time.monotonic()
            connection.execute("INSERT INTO written VALUES (1)")
    assert time.monotonic() - begun < SOON_SECONDS
    with database.transaction() as connection:  # in a new connection
        assert connection.execute("SELECT to_regclass('written') AS name").fetchone() == {"name": None}
    database.close()


def test_a_worker_waits_for_a_statement_that_takes_long(database_url: str) -> None:
    """Only a request has an end for the whole transaction."""
    database = Database(database_url, deadlines=Deadlines(5, 1.0, 1.0))
    database.open()
    with database.transaction() as connection:
        for _ in range(3):
            connection.execute("SELECT pg_sleep(0.6)")
    database.close()
    assert WORKERS.transaction_seconds is None


def test_a_read_only_database_is_left_for_the_one_that_writes(failing: FailingDatabase) -> None:
    """A connection that was good leads to a primary that was demoted: it is not taken again."""
    database = Database(failing.url, connections=2, deadlines=REQUESTS)
    database.open()
    migrate(database)
    with made_read_only(failing):
        until(lambda: _fails(database))
    until(lambda: not _fails(database), 5)
    database.close()


def _fails(database: Database) -> bool:
    try:
        with database.transaction() as connection:
            connection.execute("UPDATE health_probe SET written_at = now()")
    except OUTAGES:
        return True
    return False


def test_an_older_server_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "OLDEST_SERVER", 99)
    database = Database(database_url)
    with pytest.raises(SettingsError, match=r"the server is PostgreSQL 1\d, and Cascade needs 99 or later: upgrade"):
        database.open()
    database.close()


@pytest.mark.parametrize(
    "raises",
    [
        "25006", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "58030",
        "XX000", "08006",
    ],
)  # fmt: skip
def test_whatever_the_database_cannot_do_now_is_a_503(environment: Path, database: Database, raises: str) -> None:
    """The server itself raises each of them, where an order is stored."""
    with database.transaction() as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{raises}'; END$$".encode()
        )
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON orders EXECUTE FUNCTION fail()")
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        wish = {"citizen_id": "Marco", "package": "starter", "token": "USDC"}
        answer = client.post("/api/payments/crypto-payment-intent", json=wish)
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "5"


def test_health_is_503_when_nothing_can_be_written(environment: Path, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END$$"
        )
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON health_probe EXECUTE FUNCTION fail()")
    with TestClient(create_app()) as client:
        answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"], answer.headers["retry-after"]) == (503, "down", "5")
