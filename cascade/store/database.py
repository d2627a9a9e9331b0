"""The connection to PostgreSQL, and the migrations that shape it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

from psycopg import AsyncConnection, Connection, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from cascade.errors import MigrationError

Row = DictRow
Conn = Connection[Row]

# A process that hangs inside a transaction must not block the next leader for longer than a lease lasts.
_SESSION = " ".join(
    f"-c {setting}"
    for setting in (
        "timezone=UTC",
        "statement_timeout=30s",
        "lock_timeout=10s",
        "idle_in_transaction_session_timeout=4s",
    )
)
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}


class Database:
    """A pool of connections; each use is one transaction.

    Args:
        url: libpq URL; never logged, since it may hold a password.
        connections: most connections at once.
    """

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self._url = url
        self._pool: ConnectionPool[Conn] = ConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=10,
            check=ConnectionPool.check_connection,
            kwargs={"row_factory": dict_row, "options": _SESSION, "connect_timeout": 5, **_KEEPALIVE},
            connection_class=Connection[Row],
        )

    def open(self) -> None:
        """Connect.

        Raises:
            psycopg_pool.PoolTimeout: the database does not answer within ten seconds.
        """
        self._pool.open(wait=True, timeout=10)

    def close(self) -> None:
        """Give every connection back."""
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Conn]:
        """One transaction: committed at the end of the block, rolled back when an exception leaves it."""
        with self._pool.connection() as connection:
            yield connection

    async def listen(self, channel: str) -> AsyncConnection[Row]:
        """A connection of its own, outside of the pool, that hears what is notified on a channel.

        Raises:
            psycopg.OperationalError: the database does not answer.
        """
        connection = await AsyncConnection[Row].connect(
            self._url,
            autocommit=True,
            row_factory=dict_row,
            options=_SESSION,
            connect_timeout=5,
            application_name=channel,
            **_KEEPALIVE,  # type: ignore[arg-type] # libpq's own names
        )
        await connection.execute(f"LISTEN {channel}".encode())
        return connection

    def is_up(self) -> bool:
        """Whether a query gets an answer."""
        try:
            with self.transaction() as connection:
                connection.execute("SELECT 1")
        except OperationalError:  # psycopg_pool's own errors are among them
            return False
        return True


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``; never edited once released."""

    name: str
    sql: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file."""
        return hashlib.sha256(self.sql.encode()).digest()


def migrations() -> list[Migration]:
    """All migrations of this release, in order."""
    folder = files("cascade.store") / "migrations"
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
    with database.transaction() as connection:
        # Ends with the transaction, so a killed process leaves nothing locked.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('cascade.migrations'))")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, digest bytea NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = {
            row["name"]: bytes(row["digest"])
            for row in connection.execute("SELECT name, digest FROM migrations").fetchall()
        }
        _check_history(applied, wanted)
        pending = [migration for migration in wanted if migration.name not in applied]
        for migration in pending:
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO migrations (name, digest) VALUES (%s, %s)", (migration.name, migration.digest)
            )
    return [migration.name for migration in pending]


def _check_history(applied: dict[str, bytes], wanted: list[Migration]) -> None:
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
