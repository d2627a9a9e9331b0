"""Answers to requests that carried an Idempotency-Key: kept for a day, and given again to the same request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cascade.db.database import Conn

KEEP_SECONDS: Final = 24 * 60 * 60
HOLD_SECONDS: Final = 90
"""Longer than any request takes. After a crash the key is free again."""
MOST_ROWS: Final = 100_000
MOST_ANSWER_BYTES: Final = 20_000
_MOST_PURGED: Final = 200


class Claim(StrEnum):
    """The result of claiming a key."""

    HELD = "held"
    """The key is ours: answer the request, then store the answer or release the key."""
    RUNNING = "running"
    """The same request is being answered at this moment."""
    ANSWERED = "answered"
    """The same request was answered before."""
    OTHER = "other"
    """The key belongs to another request."""
    REVOKED = "revoked"
    """The caller's API key was revoked: nothing is given out again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request with a key; every value is a SHA-256.

    Attributes:
        caller: of the API key, or of the address of somebody without one.
        key: of the Idempotency-Key.
        digest: of the method, the path and the body.
        holder: 16 random bytes that name this very request.
    """

    caller: bytes
    key: bytes
    digest: bytes
    holder: bytes


def claim(connection: Conn, request: Request) -> tuple[Claim, bytes | None]:
    """Ask for a key. Returns what became of it, and the sealed answer of a request that was answered before."""
    revoked = connection.execute(
        "SELECT FROM api_keys WHERE hash = %s AND revoked_at IS NOT NULL", (request.caller,)
    ).fetchone()
    if revoked is not None:
        return Claim.REVOKED, None
    taken = connection.execute(
        """
        INSERT INTO idempotency_keys AS k (caller, key, request, holder, held_until, expires_at)
        VALUES (%(caller)s, %(key)s, %(request)s, %(holder)s, clock_timestamp() + %(hold)s * interval '1 second',
                clock_timestamp() + %(keep)s * interval '1 second')
        ON CONFLICT (caller, key) DO UPDATE
        SET request = excluded.request, holder = excluded.holder, held_until = excluded.held_until,
            expires_at = excluded.expires_at, answer = NULL
        WHERE k.expires_at <= clock_timestamp() OR (k.answer IS NULL AND k.held_until <= clock_timestamp())
        RETURNING number
        """,
        {
            "caller": request.caller,
            "key": request.key,
            "request": request.digest,
            "holder": request.holder,
            "hold": HOLD_SECONDS,
            "keep": KEEP_SECONDS,
        },
    ).fetchone()
    if taken is not None:
        _purge(connection, taken["number"])
        return Claim.HELD, None
    row = connection.execute(
        "SELECT request, answer FROM idempotency_keys WHERE (caller, key) = (%s, %s)", (request.caller, request.key)
    ).fetchone()
    if row is None:  # released a moment ago: ask again
        return Claim.RUNNING, None
    if bytes(row["request"]) != request.digest:
        return Claim.OTHER, None
    if row["answer"] is None:
        return Claim.RUNNING, None
    return Claim.ANSWERED, bytes(row["answer"])


def store(connection: Conn, request: Request, answer: bytes) -> None:
    """Store the sealed answer of the request that holds its key; nothing when it holds it no longer."""
    connection.execute(
        "UPDATE idempotency_keys SET answer = %s WHERE (caller, key, holder) = (%s, %s, %s) AND answer IS NULL",
        (answer, request.caller, request.key, request.holder),
    )


def release(connection: Conn, request: Request) -> None:
    """Free the key of a request that made nothing, if that still holds it."""
    connection.execute(
        "DELETE FROM idempotency_keys WHERE (caller, key, holder) = (%s, %s, %s) AND answer IS NULL",
        (request.caller, request.key, request.holder),
    )


_EXPIRED: Final = """
    DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_keys WHERE expires_at <= clock_timestamp()
        ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED))
"""
_TOO_MANY: Final = """
    DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_keys WHERE number <= %s ORDER BY number LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def _purge(connection: Conn, newest: int) -> None:
    """Delete some of what has expired, and the oldest above the bound, but nothing that somebody else has locked."""
    connection.execute(_EXPIRED, (_MOST_PURGED,))
    connection.execute(_TOO_MANY, (newest - MOST_ROWS, _MOST_PURGED))
