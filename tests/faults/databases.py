"""Copies of a database, to begin from the same state again and again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo


@contextmanager
def copy_of(database_url: str) -> Iterator[str]:
    """A copy of a database, as it stands. PostgreSQL copies only one that nobody uses, so all others are sent away."""
    name = f"copy_{secrets.token_hex(6)}"
    original = conninfo_to_dict(database_url)["dbname"]
    maintenance = make_conninfo(database_url, dbname="postgres")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (original,))
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {original}".encode())
        yield database_url.replace(f"/{original}", f"/{name}", 1)
        connection.execute(f"DROP DATABASE {name}".encode())
