"""The embedded PostgreSQL keeps every commit through a kill, and starts again on what a kill leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from sandbox import postgres
from sandbox.ports import free_port
from sandbox.postgres import DatabaseFailed, DatabaseInUse, EmbeddedPostgres

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from sandbox.postgres import EmbeddedPostgres

server = EmbeddedPostgres.start(Path(sys.argv[1]))
print(server.url, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that runs a server on `tmp_path`, and the server's URL."""
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def commit(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])


def kept(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


def server_pids(directory: Path) -> list[int]:
    return [process.pid for process in postgres._processes_in(directory / "data")]


def wait_until_gone(directory: Path) -> None:
    deadline = time.monotonic() + 10
    while pids := server_pids(directory):
        assert time.monotonic() < deadline, f"PostgreSQL's processes {pids} outlived their owner"
        time.sleep(0.02)


def test_a_kill_of_everything_loses_no_commit(owner: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, url = owner
    commit(url, 1)
    for pid in [*server_pids(tmp_path), process.pid]:  # the postmaster first: its owner's end would be a wish to stop
        with contextlib.suppress(ProcessLookupError):  # without the postmaster the others end by themselves
            os.kill(pid, signal.SIGKILL)
    process.wait()
    # As after a restart of the machine: the pid in the file is somebody else's now.
    pid_file = tmp_path / "data" / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text().splitlines()[1:]]) + "\n")

    server = EmbeddedPostgres.start(tmp_path)
    assert kept(server.url) == [1]
    commit(server.url, 2)
    server.stop()
    server.stop()


def test_it_goes_when_its_owner_is_killed(owner: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, url = owner
    commit(url, 1)
    process.kill()
    wait_until_gone(tmp_path)
    assert not (tmp_path / "data" / "postmaster.pid").exists(), "it did not shut down in order"


def test_it_does_not_hear_the_terminals_ctrl_c(owner: tuple[subprocess.Popen[str], str]) -> None:
    process, url = owner
    process.send_signal(signal.SIGSTOP)  # the owner is still busy stopping other things
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.2)
    commit(url, 1)


def test_a_second_owner_waits_his_turn(tmp_path: Path) -> None:
    server = EmbeddedPostgres.start(tmp_path)
    with pytest.raises(DatabaseInUse, match="stop it first"):
        EmbeddedPostgres.start(tmp_path)
    server.stop()
    assert server_pids(tmp_path) == []
    EmbeddedPostgres.start(tmp_path).stop()


def test_an_unfinished_preparation_is_thrown_away(tmp_path: Path) -> None:
    unfinished = tmp_path / "data.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    EmbeddedPostgres.start(tmp_path).stop()


def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path: Path) -> None:
    server = EmbeddedPostgres.start(tmp_path / ("long" * 30))
    commit(server.create_database("orders"), 1)
    assert server._socket_folder.exists()
    server.stop()
    assert not server._socket_folder.exists()


def test_it_is_durable_and_speaks_utc(tmp_path: Path) -> None:
    server = EmbeddedPostgres.start(tmp_path)
    with psycopg.connect(server.create_database('od"d name')) as connection:
        names = ("fsync", "full_page_writes", "synchronous_commit", "TimeZone", "server_encoding")
        row = connection.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names)).fetchone()
    assert row == ("on", "on", "on", "UTC", "UTF8")
    server.stop()


def test_damaged_data_is_refused_with_the_servers_words(tmp_path: Path) -> None:
    EmbeddedPostgres.start(tmp_path).stop()
    (tmp_path / "data" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(DatabaseFailed, match="pg_control"):
        EmbeddedPostgres.start(tmp_path)
    assert not any(psutil.pid_exists(pid) for pid in server_pids(tmp_path))


def test_listens_on_tcp_when_a_port_is_named(tmp_path: Path) -> None:
    port = free_port()
    server = EmbeddedPostgres.start(tmp_path, port)
    try:
        assert server.url == f"postgresql://postgres@127.0.0.1:{port}/postgres"
        commit(server.url, 1)
        assert psutil.Process(server.pid).cwd() == str(tmp_path / "data")
    finally:
        server.stop()
    again = EmbeddedPostgres.start(tmp_path, port)
    try:
        assert kept(again.url) == [1]
    finally:
        again.stop()


def test_a_locale_that_is_not_installed_keeps_nothing_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LANG", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.setenv(name, "xx_YY.UTF-8")
    server = EmbeddedPostgres.start(tmp_path / "pg")
    try:
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    finally:
        server.stop()
    assert os.environ["LANG"] == "xx_YY.UTF-8"
