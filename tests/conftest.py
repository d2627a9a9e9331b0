"""Real parts for every suite: a local Polygon, a deployed router, PostgreSQL, and `cascade up` on top of them.

Nothing starts until a test asks for it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
import pytest

from cascade.db.database import Database, migrate
from sandbox.deploy import deploy_router
from sandbox.polygon import LocalPolygon
from sandbox.ports import free_port
from sandbox.postgres import EmbeddedPostgres
from tests.support.card_shop import CardShop
from tests.support.purchases import write_nowhere

ROOT = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Gives each run a folder of its own.

    pytest closes the one that all runs share to other users whenever a run begins; and PostgreSQL, which refuses to be
    root, would be locked out in the middle of another run.
    """
    if config.option.basetemp is None:
        folder = tempfile.mkdtemp(prefix="cascade-tests-")
        config.option.basetemp = str(Path(folder) / "run")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session")
def _postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = _in_memory() or tmp_path_factory.mktemp("pg")
    server = EmbeddedPostgres.start(folder)
    with psycopg.connect(server.url, autocommit=True) as connection:
        # A killed server loses nothing even so, only a machine that goes down would.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _in_memory() -> Path | None:
    """A folder for a server's data in memory, where a database is made ten times as fast; None without much room."""
    memory = Path("/dev/shm")  # noqa: S108
    if not memory.is_dir() or shutil.disk_usage(memory).free < 4 * 2**30:
        return None
    return Path(tempfile.mkdtemp(prefix="cascade-tests-", dir=memory))


@pytest.fixture(scope="session")
def _migrated(_postgres: EmbeddedPostgres) -> str:
    """The name of a database in this release's shape, which tests get copies of."""
    database = Database(_postgres.create_database("migrated"), connections=1)
    database.open()
    migrate(database)
    database.close()
    return "migrated"


@pytest.fixture
def database_url(_postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of its own: empty, unless the test has it migrated by the fixture `database` as well."""
    name = f"test_{secrets.token_hex(6)}"
    template = request.getfixturevalue("_migrated") if "database" in request.fixturenames else "template1"
    with psycopg.connect(_postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    yield _postgres.url_of(name)
    with psycopg.connect(_postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database in this release's shape, with a pool of connections."""
    database = Database(database_url)
    database.open()
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def environment(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The variables that the application starts with; returns the deployment record's path."""
    path = write_nowhere(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CASCADE_RPC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CASCADE_DEPLOYMENT", str(path))
    monkeypatch.setenv("CASCADE_PUBLIC_URL", "https://pay.example.org/")
    return path


@pytest.fixture
def card_shop(environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[CardShop]:
    """A shop that takes cards at a double of Stripe; it needs no chain."""
    with CardShop.open(database, monkeypatch.setenv) as shop:
        yield shop


@pytest.fixture(scope="session")
def _chain() -> Iterator[LocalPolygon]:
    with LocalPolygon.start() as chain:
        yield chain


@pytest.fixture(scope="session")
def deployment(_chain: LocalPolygon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a router that the operators' own script deployed, owned by a real 2-of-3 Safe."""
    record = tmp_path_factory.mktemp("deployment") / "137.json"
    deploy_router(_chain, record)
    return record


@pytest.fixture
def polygon(_chain: LocalPolygon, deployment: Path) -> Iterator[LocalPolygon]:
    """The local Polygon with the router; whatever a test does to it is taken back."""
    snapshot = _chain.snapshot()
    yield _chain
    _chain.revert(snapshot)


@dataclass(frozen=True)
class RunningCascade:
    """A `cascade up` process of its own."""

    process: subprocess.Popen[bytes]
    api: str
    endpoints: Mapping[str, object]
    environment: Mapping[str, str]


@contextmanager
def starting_cascades(
    polygon: LocalPolygon, deployment: Path, database_url: str, folder: Path
) -> Iterator[Callable[..., RunningCascade]]:
    """Starts `cascade up` as an operator does, on one database, and in the end stops what was started.

    Keyword arguments become further CASCADE_ variables, but for `stripe`, which holds Stripe's own.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(
        python: Path = Path(sys.executable),
        cwd: Path = ROOT,
        output: IO[bytes] | None = None,
        stripe: Mapping[str, str] | None = None,
        **variables: str,
    ) -> RunningCascade:
        home = folder / f"home{len(started)}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CASCADE_", "STRIPE_"))},
            "DATABASE_URL": database_url,
            "CASCADE_HOME": str(home),
            "CASCADE_PORT": str(free_port()),
            "CASCADE_RPC_URL": polygon.rpc_url,
            "CASCADE_DEPLOYMENT": str(deployment),
            "CASCADE_PUBLIC_BALANCES": "true",
            "CASCADE_POLL_SECONDS": "0.1",
            **{f"CASCADE_{name.upper()}": value for name, value in variables.items()},
            **(stripe or {}),
        }
        command = [str(python), "-m", "cascade", "up"]
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=output)
        started.append(process)
        endpoints = _await_endpoints(process, home / "endpoints.json")
        return RunningCascade(process, str(endpoints["api"]), endpoints, environment)

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(15)


@pytest.fixture
def start_cascade(
    polygon: LocalPolygon, deployment: Path, database_url: str, tmp_path: Path
) -> Iterator[Callable[..., RunningCascade]]:
    """Starts `cascade up` on the database of this test."""
    with starting_cascades(polygon, deployment, database_url, tmp_path) as start:
        yield start


@pytest.fixture
def cascade_up(start_cascade: Callable[..., RunningCascade]) -> RunningCascade:
    """The whole system, running."""
    return start_cascade()


def _await_endpoints(process: subprocess.Popen[bytes], path: Path) -> Mapping[str, object]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"cascade up ended with code {process.returncode} before it was up")
        if path.exists():
            endpoints: Mapping[str, object] = json.loads(path.read_text())
            return endpoints
        time.sleep(0.05)
    raise AssertionError("cascade up was not up within 30 seconds")
