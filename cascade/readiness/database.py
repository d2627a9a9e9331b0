"""Checks of the database."""

from __future__ import annotations

import time
from typing import Final

import psycopg

from cascade.app import App
from cascade.db.connection_errors import await_database
from cascade.db.database import OLDEST_SERVER, check_history, migrations
from cascade.errors import DatabaseUnreachable, MigrationError
from cascade.readiness.findings import Finding, clock, error, ok, warning

_SECONDS: Final = 5


def database(app: App) -> list[Finding]:
    """Look whether the database can be reached, written to, and has the schema of this release."""
    url = app.settings.database_url.get_secret_value()
    try:
        await_database(url, 0)
        with psycopg.connect(url, connect_timeout=_SECONDS, options=f"-c statement_timeout={_SECONDS}s") as connection:
            return [*_server(connection), _writing(connection), _schema(connection)]
    except DatabaseUnreachable as cause:
        return [error("database", str(cause).removeprefix("DATABASE_URL: "), "the sentence says it: see DATABASE_URL")]
    except psycopg.Error as cause:
        return [error("database", f"it broke off: {type(cause).__name__}", "look into PostgreSQL's log")]


def version_of(connection: psycopg.Connection) -> int:
    """Return the server's version, such as 150004."""
    return connection.info.server_version


def _server(connection: psycopg.Connection) -> list[Finding]:
    version = version_of(connection)
    shown = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < OLDEST_SERVER * 10_000:
        return [error("database", f"{shown} is too old", f"use PostgreSQL {OLDEST_SERVER} or later")]
    begun = time.monotonic()
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp()), current_setting('synchronous_commit')")
    (theirs, durable) = row.fetchone() or (0, "")
    took = time.monotonic() - begun
    found = [ok("database", f"{shown}, answers in {took * 1000:.0f} ms")]
    if durable == "off":
        remedy = "set synchronous_commit = on: a crash would lose credits that were reported"
        found.append(warning("database durability", "synchronous_commit is off", remedy))
    connection.rollback()
    return [*found, clock("the database", float(theirs) - (time.time() - took / 2))]


def _writing(connection: psycopg.Connection) -> Finding:
    """Write something and take it back; migrations need to make tables as well."""
    name = "database writable"
    try:
        connection.execute("CREATE TABLE cascade_check (number int)")
        connection.execute("INSERT INTO cascade_check VALUES (1)")
    except psycopg.errors.InsufficientPrivilege:
        return error(
            name, "our user may not make tables", "GRANT CREATE, USAGE ON SCHEMA public TO our user, or own it"
        )
    except psycopg.errors.DiskFull:
        return error(name, "its disk is full", "make room on the database's disk")
    except psycopg.Error as cause:
        return error(name, f"nothing can be written: {type(cause).__name__}", "look into PostgreSQL's log")
    finally:
        connection.rollback()
    return ok(name, "yes")


def _schema(connection: psycopg.Connection) -> Finding:
    known = migrations()
    try:
        rows = connection.execute("SELECT name, digest FROM migrations").fetchall()
    except psycopg.errors.UndefinedTable:
        rows = []
    except psycopg.Error as cause:
        return error("schema", f"cannot be read: {type(cause).__name__}", "GRANT our user the tables, or own them")
    finally:
        connection.rollback()
    applied = {name: bytes(digest) for name, digest in rows}
    try:
        check_history(applied, known)
    except MigrationError as cause:
        return error("schema", str(cause), "run the release that the database was made by, or a newer one")
    missing = [migration.name for migration in known if migration.name not in applied]
    if missing:
        text = f"{len(missing)} of {len(known)} migrations are missing, the first is {missing[0]}"
        return error("schema", text, "run `cascade migrate` (`cascade up` does it by itself)")
    return ok("schema", f"all {len(known)} migrations, the last is {known[-1].name}")
