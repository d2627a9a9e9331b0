"""The platform's webhook endpoints and their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cascade.db.database import Conn, Row
from cascade.domain.order_events import EventType


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that hears of events.

    Attributes:
        id: ``ep_`` and 80 random bits.
        url: where events are posted.
        event_types: those that it hears of; none means all.
        failing_since: UTC; of the first failure since the last success; None while all is well.
        disabled_at: UTC; from then on events are kept for it, parked; None while it is enabled.
        disabled_why: in words.
    """

    id: str
    url: str
    event_types: Sequence[str]
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None


_COLUMNS = "id, url, event_types, created_at, failing_since, disabled_at, disabled_why"


def insert(connection: Conn, endpoint_id: str, url: str, event_types: Sequence[EventType], secret: str) -> None:
    """Add an endpoint with its first secret."""
    connection.execute(
        "INSERT INTO webhook_endpoints (id, url, event_types) VALUES (%s, %s, %s)",
        (endpoint_id, url, [str(kind) for kind in event_types]),
    )
    connection.execute("INSERT INTO webhook_secrets (endpoint_id, secret) VALUES (%s, %s)", (endpoint_id, secret))


def all_of(connection: Conn) -> list[Endpoint]:
    """Return all endpoints, the oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE deleted_at IS NULL ORDER BY created_at, id"  # noqa: S608
    ).fetchall()
    return [_endpoint(row) for row in rows]


def by_id(connection: Conn, endpoint_id: str) -> Endpoint | None:
    """Return the endpoint with this id; None when there is none."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE id = %s AND deleted_at IS NULL",  # noqa: S608
        (endpoint_id,),
    ).fetchone()
    return _endpoint(row) if row else None


def listening(connection: Conn, kind: EventType) -> list[str]:
    """Return ids of the endpoints that want to hear of a type of event; those that are disabled as well."""
    rows = connection.execute(
        "SELECT id FROM webhook_endpoints WHERE deleted_at IS NULL"
        " AND (cardinality(event_types) = 0 OR %s = ANY(event_types)) ORDER BY id",
        (str(kind),),
    )
    return [row["id"] for row in rows.fetchall()]


def secrets_of(connection: Conn, endpoint_id: str) -> list[str]:
    """Return the secrets that sign now, the newest first."""
    rows = connection.execute(
        "SELECT secret FROM webhook_secrets WHERE endpoint_id = %s"
        " AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY created_at DESC, secret",
        (endpoint_id,),
    )
    return [row["secret"] for row in rows.fetchall()]


def rotate(connection: Conn, endpoint_id: str, secret: str, overlap_seconds: float) -> None:
    """Add a secret; those from before sign beside it for a while."""
    connection.execute(
        "UPDATE webhook_secrets SET expires_at = clock_timestamp() + %s * interval '1 second'"
        " WHERE endpoint_id = %s AND (expires_at IS NULL"
        " OR expires_at > clock_timestamp() + %s * interval '1 second')",
        (overlap_seconds, endpoint_id, overlap_seconds),
    )
    connection.execute(
        "INSERT INTO webhook_secrets (endpoint_id, secret, created_at) VALUES (%s, %s, clock_timestamp())",
        (endpoint_id, secret),
    )


def note_success(connection: Conn, endpoint_id: str) -> None:
    """Note that an endpoint accepted something."""
    connection.execute(
        "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = %s AND failing_since IS NOT NULL", (endpoint_id,)
    )


def note_failure(connection: Conn, endpoint_id: str, disable_after_seconds: float) -> bool:
    """Note that an endpoint did not accept something.

    Returns:
        True when it is disabled now, since it has failed for so long.
    """
    connection.execute(
        "UPDATE webhook_endpoints SET failing_since = clock_timestamp() WHERE id = %s AND failing_since IS NULL",
        (endpoint_id,),
    )
    disabled = connection.execute(
        "UPDATE webhook_endpoints SET disabled_at = clock_timestamp(), disabled_why = 'nothing was accepted since '"
        " || to_char(failing_since, 'YYYY-MM-DD HH24:MI') || ' UTC' WHERE id = %s AND disabled_at IS NULL"
        " AND failing_since < clock_timestamp() - %s * interval '1 second'",
        (endpoint_id, disable_after_seconds),
    )
    return disabled.rowcount == 1


def set_enabled(connection: Conn, endpoint_id: str, enabled: bool, why: str | None = None) -> bool:
    """Enable or disable an endpoint. False when there is none."""
    changed = connection.execute(
        "UPDATE webhook_endpoints SET disabled_at = CASE WHEN %s THEN NULL ELSE clock_timestamp() END,"
        " disabled_why = %s, failing_since = NULL WHERE id = %s AND deleted_at IS NULL",
        (enabled, why, endpoint_id),
    )
    return changed.rowcount == 1


def delete(connection: Conn, endpoint_id: str) -> bool:
    """Forget an endpoint and its secrets; what was enqueued for it is voided. False when there is none."""
    deleted = connection.execute(
        "UPDATE webhook_endpoints SET deleted_at = now() WHERE id = %s AND deleted_at IS NULL", (endpoint_id,)
    )
    connection.execute("DELETE FROM webhook_secrets WHERE endpoint_id = %s", (endpoint_id,))
    connection.execute(
        "UPDATE outbox SET state = 'void', settled_at = now(), error = 'the endpoint was deleted'"
        " WHERE destination = 'webhook:' || %s AND state IN ('pending', 'parked')",
        (endpoint_id,),
    )
    return deleted.rowcount == 1


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(**row)
