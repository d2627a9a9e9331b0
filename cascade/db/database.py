"""The connection to PostgreSQL, and the migrations that shape it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, Connection, OperationalError
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ConnectionTimeout, DeadlockDetected, LockNotAvailable
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from cascade.errors import MigrationError, SettingsError

Row = DictRow
Conn = Connection[Row]

OUTAGES: Final = (OperationalError, psycopg.InternalError, psycopg.InterfaceError)
"""What says that the database cannot serve now, rather than that it was asked wrongly: besides what psycopg calls
operational, a transaction that is read-only, a session that was ended, a connection that was closed."""

OLDEST_SERVER: Final = 15
OPEN_SECONDS: Final = 10.0
_CHECK_SECONDS: Final = 0.7
"""A connection that answers a trifle no sooner is given up for a new one."""
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
_MIGRATION_LOCK_SECONDS = 5.0
_MIGRATION_PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The deadlines of the database. A server that is frozen answers nothing, so each has an end on our side too.

    Attributes:
        pool_seconds: to get a connection.
        statement_seconds: for a statement; the server's own limit.
        lock_seconds: for a lock; the server's own limit.
        transaction_seconds: from asking for a connection to the commit; None: each statement has its own end only.
    """

    pool_seconds: float
    statement_seconds: float
    lock_seconds: float
    transaction_seconds: float | None = None

    @property
    def options(self) -> str:
        """Return the server's limits, as libpq takes them."""
        settings = {
            "timezone": "UTC",
            "statement_timeout": f"{self.statement_seconds * 1000:.0f}ms",
            "lock_timeout": f"{self.lock_seconds * 1000:.0f}ms",
            # A process that hangs inside a transaction must not block the next leader for longer than a lease lasts.
            "idle_in_transaction_session_timeout": "4s",
        }
        return " ".join(f"-c {name}={value}" for name, value in settings.items())


COMMANDS: Final = Deadlines(pool_seconds=10, statement_seconds=30, lock_seconds=10)
WORKERS: Final = Deadlines(pool_seconds=5, statement_seconds=10, lock_seconds=8)
REQUESTS: Final = Deadlines(pool_seconds=1.3, statement_seconds=2, lock_seconds=1.5, transaction_seconds=2)
"""With the check of a connection, a request is answered within two seconds, whatever the database does."""
_ANSWER_MARGIN_SECONDS: Final = 1.0
"""The server's own limit comes first, and keeps the connection."""


class _Connection(Connection[Row]):
    """A connection that gives a silent server up."""

    answer_seconds: float | None = None
    """How long one answer may take; None: for ever."""
    ends_at: float | None = None
    """When every answer has to be there, on the monotonic clock."""

    def wait(self, gen: Generator[Any, Any, Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server's answer.

        Raises:
            ConnectionTimeout: there was none in time; the connection is closed, since the answer may still come.
        """
        limits = [timeout, self.answer_seconds, self.ends_at and max(0.0, self.ends_at - time.monotonic())]
        try:
            return super().wait(gen, interval, min((limit for limit in limits if limit is not None), default=None))
        except OperationalError as error:
            if error.sqlstate is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
                raise ConnectionTimeout("the database gave no answer in time") from None
            raise


class Database:
    """A pool of connections; each use is one transaction.

    Args:
        url: libpq URL; never logged, since it may hold a password.
        connections: most connections at once.
        deadlines: how long the database may take.
    """

    def __init__(self, url: str, *, connections: int = 10, deadlines: Deadlines = COMMANDS) -> None:
        self._url = url
        self._deadlines = deadlines
        self._parameters: dict[str, Any] = {
            "row_factory": dict_row,
            "options": deadlines.options,
            "connect_timeout": 2 if deadlines.transaction_seconds else 5,
            **_KEEPALIVE,
            **writer_only(url),
        }
        self._pool: ConnectionPool[_Connection] = ConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=deadlines.pool_seconds,
            reconnect_timeout=3,
            check=_check,
            kwargs=self._parameters,
            connection_class=_Connection,
        )

    def open(self) -> None:
        """Connect.

        Raises:
            psycopg.OperationalError: the database does not answer within ten seconds.
            SettingsError: the server is too old.
        """
        self._pool.open()
        patient = Retrying(
            retry=retry_if_exception_type(OperationalError), stop=stop_after_delay(OPEN_SECONDS), reraise=True
        )
        version = patient(self._server_version)
        if version < OLDEST_SERVER * 10_000:
            raise SettingsError(
                f"DATABASE_URL: the server is PostgreSQL {version // 10_000}, and Cascade needs {OLDEST_SERVER} or"
                " later: upgrade the server, or name another"
            )

    def _server_version(self) -> int:
        with self.transaction() as connection:
            return connection.info.server_version

    def close(self) -> None:
        """Give every connection back."""
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Conn]:
        """Open one transaction: committed at the end of the block, rolled back when an exception leaves it.

        Raises:
            psycopg.OperationalError: the database does not answer in time.
        """
        most = self._deadlines.transaction_seconds
        ends_at = most and time.monotonic() + most
        with self._pool.connection() as connection:
            connection.answer_seconds = self._deadlines.statement_seconds + _ANSWER_MARGIN_SECONDS
            connection.ends_at = ends_at
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Conn]:
        """Open one transaction that may take as long as it needs, but waits for no lock for long: others wait
        behind it."""
        with self._pool.connection() as connection:
            connection.answer_seconds = connection.ends_at = None
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute(f"SET LOCAL lock_timeout = '{_MIGRATION_LOCK_SECONDS * 1000:.0f}ms'")
            yield connection

    async def listen(self, channel: str) -> AsyncConnection[Row]:
        """Return a connection of its own, outside of the pool, that hears what is notified on a channel.

        Raises:
            psycopg.OperationalError: the database does not answer.
        """
        connection = await AsyncConnection[Row].connect(
            self._url, **self._parameters | {"autocommit": True, "application_name": channel}
        )
        await connection.execute(f"LISTEN {channel}".encode())
        return connection


def writer_only(url: str) -> dict[str, Any]:
    """Return what lets libpq connect only to a server that writes, unless the URL says otherwise.

    A standby, or a primary that was demoted, is no database for us, even while it can be read.
    """
    return {} if "target_session_attrs" in conninfo_to_dict(url) else {"target_session_attrs": "read-write"}


def _check(connection: _Connection) -> None:
    """Look whether a connection still leads to a server that writes."""
    connection.ends_at = time.monotonic() + _CHECK_SECONDS
    connection.autocommit = True
    row = connection.execute("SHOW transaction_read_only").fetchone()
    connection.autocommit = False
    if row is None or row["transaction_read_only"] != "off":
        connection.close()  # the next one may lead to the new primary
        raise OperationalError("the database is read-only")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``; never edited once released."""

    name: str
    sql: str

    @property
    def digest(self) -> bytes:
        """Return SHA-256 of the file."""
        return hashlib.sha256(self.sql.encode()).digest()


def migrations() -> list[Migration]:
    """Return all migrations of this release, in order."""
    folder = files("cascade.db") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(name, (folder / name).read_text(encoding="utf-8")) for name in names]


def migrate(database: Database, available: list[Migration] | None = None) -> list[str]:
    """Bring the database to this release's shape; safe to run by many processes at once.

    Args:
        database: an open database.
        available: the migrations to apply; by default those of this release.

    Returns:
        The names of the migrations that were applied now.

    Raises:
        MigrationError: the database was shaped by other files than these (an edited or a newer migration).
    """
    wanted = migrations() if available is None else available
    patient = Retrying(
        retry=retry_if_exception_type((LockNotAvailable, DeadlockDetected)),
        wait=wait_random(0.2, 1.0),
        stop=stop_after_delay(_MIGRATION_PATIENCE_SECONDS),
        reraise=True,
    )
    return patient(_migrate, database, wanted)


def check_schema(database: Database, wanted: list[Migration] | None = None) -> None:
    """Look whether the database has exactly the shape that this release knows.

    Raises:
        MigrationError: it has another; the message says what to do.
    """
    known = migrations() if wanted is None else wanted
    with database.transaction() as connection:
        row = connection.execute("SELECT to_regclass('migrations') IS NOT NULL AS there").fetchone()
        applied = _applied(connection) if row and row["there"] else {}
    check_history(applied, known)
    missing = [migration.name for migration in known if migration.name not in applied]
    if missing:
        raise MigrationError(
            f"the database lacks migration {missing[0]}, which this release needs: run `cascade migrate`"
        )


def _migrate(database: Database, wanted: list[Migration]) -> list[str]:
    with database.migrating() as connection:
        # Ends with the transaction, so a killed process leaves nothing locked.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('cascade.migrations'))")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, digest bytea NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = _applied(connection)
        check_history(applied, wanted)
        pending = [migration for migration in wanted if migration.name not in applied]
        for migration in pending:
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO migrations (name, digest) VALUES (%s, %s)", (migration.name, migration.digest)
            )
    return [migration.name for migration in pending]


def _applied(connection: Conn) -> dict[str, bytes]:
    rows = connection.execute("SELECT name, digest FROM migrations").fetchall()
    return {row["name"]: bytes(row["digest"]) for row in rows}


def check_history(applied: dict[str, bytes], wanted: list[Migration]) -> None:
    """Refuse a database that was shaped by other files than these.

    Raises:
        MigrationError: a migration is unknown here, was edited, or comes too late.
    """
    known = {migration.name: migration.digest for migration in wanted}
    for name, digest in applied.items():
        if name not in known:
            raise MigrationError(
                f"the database has migration {name}, which this release does not know: upgrade Cascade"
            )
        if known[name] != digest:
            raise MigrationError(
                f"migration {name} was applied as {digest.hex()[:12]}, but this release holds {known[name].hex()[:12]}:"
                " a released migration must never be edited, add a new one"
            )
    newest_applied = max(applied, default="")
    for name in known:
        if name not in applied and name < newest_applied:
            raise MigrationError(f"migration {name} comes before {newest_applied}, which is applied: number it higher")
