"""A start that fails: its cause is the last line, says both sides and the remedy, and holds no secret."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from eth_account import Account

from cascade.db.database import Database
from sandbox.polygon import LocalPolygon
from sandbox.polygon.anvil import Anvil
from sandbox.ports import free_port
from tests.conftest import ROOT
from tests.support.purchases import write_nowhere

SECRET = "hunter2hunter2"
Start = Callable[..., str]


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Runs a command of `cascade` that must fail, and returns its last line."""

    def run(*command: str, **variables: str) -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CASCADE_", "STRIPE_"))},
            "DATABASE_URL": database_url,
            "CASCADE_HOME": str(tmp_path / "home"),
            "CASCADE_PORT": str(free_port()),
            "CASCADE_RPC_URL": "http://127.0.0.1:1",
            "CASCADE_DEPLOYMENT": str(write_nowhere(tmp_path)),
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-m", "cascade", *(command or ("up",))],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1, done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "application startup" not in done.stderr  # nothing was started that would have to be stopped
        last = done.stderr.rstrip("\n").splitlines()[-1]
        assert last.startswith("cascade: ")
        return last

    return run


@pytest.fixture
def stranger(database_url: str) -> str:
    """The URL of a user with a password, at a server that asks for it, with another password."""
    name = f"stranger_{secrets.token_hex(4)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'".encode())
        found = connection.execute("SHOW hba_file").fetchone()
        assert found is not None
        rules = Path(found[0])
        rules.write_text(f"local all {name} scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    return re.sub(r"//[^@]*@", f"//{name}:{SECRET}@", database_url)


def test_a_wrong_password(start: Start, stranger: str) -> None:
    for command in ("up", "status"):
        last = start(command, DATABASE_URL=stranger)
        assert "DATABASE_URL: wrong password: PostgreSQL at /" in last
        assert re.search(r'refuses user "stranger_\w+" with the password in DATABASE_URL; correct it', last)


def test_no_password(start: Start, stranger: str) -> None:
    assert "DATABASE_URL: no password: " in start(DATABASE_URL=stranger.replace(f":{SECRET}@", "@"))


def test_no_such_user_and_no_such_database(start: Start, database_url: str) -> None:
    nobody = re.sub(r"//[^@]*@", f"//nobody:{SECRET}@", database_url)
    assert "no such user: PostgreSQL at /" in start(DATABASE_URL=nobody)
    nowhere = re.sub(r"/test_\w+", "/nowhere", database_url)
    last = start(DATABASE_URL=nowhere)
    assert "no such database: PostgreSQL at /" in last
    assert 'has no database "nowhere"; create it with CREATE DATABASE "nowhere"' in last


def test_nothing_listens_and_unknown_host(start: Start) -> None:
    port = free_port()
    last = start(DATABASE_URL=f"postgresql://u:{SECRET}@127.0.0.1:{port}/x")
    assert f"nothing listens at PostgreSQL at 127.0.0.1, port {port}; start PostgreSQL there" in last
    last = start(DATABASE_URL=f"postgresql://u:{SECRET}@nowhere.invalid/x")
    assert "unknown host: no address is known for PostgreSQL at nowhere.invalid" in last
    assert "nothing listens at PostgreSQL at /nowhere" in start(DATABASE_URL="postgresql:///x?host=/nowhere")


def test_another_chain(start: Start, tmp_path: Path) -> None:
    other = Anvil("--chain-id", "1")
    try:
        last = start(CASCADE_RPC_URL=f"http://127.0.0.1:{other.port}")
        alone = start("indexer", CASCADE_RPC_URL=f"http://127.0.0.1:{other.port}")
    finally:
        other.stop()
    for told in (last, alone):
        assert "is a node of chain 1, but CASCADE_DEPLOYMENT is of chain 137 (Polygon): make them the same" in told


def test_another_router(start: Start, polygon: LocalPolygon) -> None:
    last = start(CASCADE_RPC_URL=polygon.rpc_url)
    assert "CASCADE_DEPLOYMENT says 0x00" in last
    assert "it is the record of another deployment or of another chain" in last


def test_a_keystore(start: Start, tmp_path: Path) -> None:
    missing = tmp_path / "nothing.json"
    keystore = {"CASCADE_RELAYER_KEYSTORE": str(missing), "CASCADE_RELAYER_PASSWORD": SECRET}
    assert f"CASCADE_RELAYER_KEYSTORE: {missing}: No such file or directory" in start(**keystore)
    missing.write_text(json.dumps(Account.encrypt(b"\x11" * 32, "right", iterations=2)))
    assert "CASCADE_RELAYER_PASSWORD" in start(**keystore)


def test_a_port_in_use(start: Start, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("up", "api"):
            last = start(command, CASCADE_PORT=str(port))
            assert f"CASCADE_HOST and CASCADE_PORT: cannot listen on 127.0.0.1, port {port}: Address already" in last
    assert "cannot listen on nowhere.invalid" in start(CASCADE_HOST="nowhere.invalid")


def test_a_home_that_cannot_be_written(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    last = start(CASCADE_HOME=str(tmp_path / "file" / "home"))
    assert f"CASCADE_HOME: cannot write to {tmp_path}/file/home: Not a directory; make it writable" in last


def test_a_database_of_a_newer_release(start: Start, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO migrations (name, digest) VALUES ('9999_future.sql', '')")
    assert "has migration 9999_future.sql, which this release does not know: upgrade Cascade" in start()


def test_a_schema_that_is_missing(start: Start) -> None:
    last = start("status")
    assert "run `cascade migrate`" in last


def test_settings(start: Start) -> None:
    assert "CASCADE_PORT: " in start(CASCADE_PORT="http")
    assert "CASCADE_DEPLOYMENT: there is no nothing.json: deploy a router" in start(CASCADE_DEPLOYMENT="nothing.json")
    assert "CASCADE_CATALOGUE: nothing.toml: No such file" in start(CASCADE_CATALOGUE="nothing.toml")
