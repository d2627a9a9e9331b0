"""Disturbs the database by turns: restarts it, freezes it, turns it read-only; and remembers when it was away."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

import psutil
import psycopg

from benchmarks.soak.judge import Window
from sandbox.postgres import EmbeddedPostgres

_READY_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_SECONDS = {"restart": (2.0, 6.0), "freeze": (8.0, 20.0), "read-only": (8.0, 20.0)}
"""How long each of them lasts, at least and at most; a restart adds the server's own time."""


@dataclass
class FailingDatabase:
    """A PostgreSQL on a TCP port that can be disturbed."""

    directory: Path
    port: int
    server: EmbeddedPostgres
    name: str = "cascade"
    state: str = "calm"
    windows: list[tuple[str, float, float]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def start(cls, directory: Path, port: int) -> FailingDatabase:
        """Start a server with an empty database."""
        server = EmbeddedPostgres.start(directory, port)
        made = cls(directory, port, server)
        server.create_database(made.name)
        return made

    @property
    def url(self) -> str:
        """Where the system under test connects."""
        return self.server.url_of(self.name)

    def away(self) -> list[Window]:
        """When it was away, the present included."""
        with self._lock:
            return [(start, end) for _, start, end in self.windows]

    def stop(self) -> None:
        """End it, frozen or not."""
        self._signal(signal.SIGCONT)
        self.server.stop()

    def disturb(self, kind: str, seconds: float, over: Event) -> None:
        """Let the database be away for about so long; it takes writes again when this returns."""
        act = {"restart": self._restarted, "freeze": self._frozen, "read-only": self._read_only}[kind]
        with self._remembered(kind):
            with act():
                over.wait(seconds)
            self._await_writable()

    @contextmanager
    def _remembered(self, kind: str) -> Iterator[None]:
        start = time.time()
        with self._lock:
            self.state = kind
            self.windows.append((kind, start, float("inf")))
        try:
            yield
        finally:
            with self._lock:
                self.windows[-1] = (kind, start, time.time())
                self.state = "calm"

    @contextmanager
    def _restarted(self) -> Iterator[None]:
        self.server.stop()
        yield
        self.server = EmbeddedPostgres.start(self.directory, self.port)

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    @contextmanager
    def _read_only(self) -> Iterator[None]:
        """As after a failover to a standby: connections are cut, and new ones cannot write."""
        self._set_read_only("on")
        try:
            yield
        finally:
            self._set_read_only("off")

    def _set_read_only(self, value: str) -> None:
        options = "-c default_transaction_read_only=off"
        with psycopg.connect(self.server.url, autocommit=True, options=options) as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}".encode())
            connection.execute("SELECT pg_reload_conf()")
            time.sleep(0.2)  # the reload is a signal: a new connection before it would see the old setting
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self.name,)
            )

    def _signal(self, number: signal.Signals) -> None:
        """To the postmaster first, so that no child is made meanwhile."""
        with suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self.server.pid)
            postmaster.send_signal(number)
            for child in postmaster.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(number)

    def _await_writable(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                with psycopg.connect(self.url, connect_timeout=2) as connection:
                    row = connection.execute("SHOW transaction_read_only").fetchone()
                    if row == ("off",):
                        return
            except psycopg.OperationalError:
                pass
            time.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"PostgreSQL on port {self.port} takes no writes {_READY_SECONDS} s after it was mended")


def by_turns(
    database: FailingDatabase,
    kinds: list[str],
    *,
    calm_seconds: float,
    until: float,
    draw: random.Random,
    over: Event,
    tell: Callable[[str], None],
) -> None:
    """Disturb the database with each kind in turn, calm between them, and leave it well at a monotonic time."""
    turn = 0
    while kinds and not over.wait(calm_seconds):
        kind = kinds[turn % len(kinds)]
        seconds = draw.uniform(*_SECONDS[kind])
        if time.monotonic() + seconds > until:
            return
        tell(f"the database is away: {kind}, {seconds:.0f} s")
        database.disturb(kind, seconds, over)
        turn += 1
