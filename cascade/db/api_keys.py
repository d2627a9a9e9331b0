"""Keys that let programs in, each with what it may do. Only hashes are stored."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.errors import UniqueViolation

from cascade.db.database import Conn
from cascade.domain.signal_kinds import OUR_LEDGER, VENICE
from cascade.errors import InvalidInput, NotFound

_PREFIX = "csk_"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
RESERVED = (VENICE, OUR_LEDGER)
"""Sources of our own: no key may speak in their name."""


class Scope(StrEnum):
    """The permissions of a key."""

    SIGNALS = "signals"
    """Report signals of the city."""
    LINKS = "links"
    """Make, read and deactivate payment links."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the operator sees it; the key itself was shown once."""

    name: str
    scopes: Sequence[Scope]
    created_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


def add(connection: Conn, name: str, scopes: Sequence[Scope]) -> str:
    """Make a key: 256 random bits, of which only the hash is kept.

    Raises:
        InvalidInput: the name cannot be used, or was used before: what a revoked key reported stays under its name.
    """
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise InvalidInput(
            "name",
            f"{name!r} cannot name a key: use lower-case letters, digits, dots, - and _, and none of {RESERVED}.",
        )
    key = _PREFIX + secrets.token_urlsafe(32)
    try:
        connection.execute(
            "INSERT INTO api_keys (name, hash, scopes) VALUES (%s, %s, %s)", (name, _hash(key), list(scopes))
        )
    except UniqueViolation:
        raise InvalidInput("name", f"There is or was a key {name!r} already: choose another name.") from None
    return key


def holder(connection: Conn, key: str, scope: Scope) -> str | None:
    """Return the name of the key that this is, if it may do what the scope says; None otherwise.

    The hash is looked up, so how long that takes tells nothing about any key.
    """
    row = connection.execute(
        "SELECT name, used_at > now() - interval '1 hour' AS fresh FROM api_keys"
        " WHERE hash = %s AND %s = ANY(scopes) AND revoked_at IS NULL",
        (_hash(key), scope),
    ).fetchone()
    if row is None:
        return None
    if not row["fresh"]:
        connection.execute("UPDATE api_keys SET used_at = now() WHERE name = %s", (row["name"],))
    name: str = row["name"]
    return name


def revoke(connection: Conn, name: str) -> None:
    """Let nobody in with a key any more.

    Raises:
        NotFound: there is no such key, or it is revoked.
    """
    revoked = connection.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE name = %s AND revoked_at IS NULL", (name,)
    )
    if revoked.rowcount == 0:
        raise NotFound(f"there is no key {name!r} that could be revoked")


def all_keys(connection: Conn) -> list[ApiKey]:
    """Return every key there is or was, oldest first."""
    rows = connection.execute(
        "SELECT name, scopes, created_at, used_at, revoked_at FROM api_keys ORDER BY created_at, name"
    ).fetchall()
    return [ApiKey(**{**row, "scopes": [Scope(scope) for scope in row["scopes"]]}) for row in rows]


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
