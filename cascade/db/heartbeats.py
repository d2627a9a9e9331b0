"""Heartbeats of workers: which of them fail, whichever process they run in."""

from __future__ import annotations

from dataclasses import dataclass

from cascade.db.database import Conn

FRESH_SECONDS = 60
"""A heartbeat that is older says nothing: its process was killed, or is in a step that takes long."""
PROBE_SECONDS = 3
"""How often `/health` writes."""
_KEEP_HOURS = 1


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """The state of the workers of one kind.

    Attributes:
        worker: their name.
        fault: class of the fault that one of them meets again and again; None: all are well.
        detail: what is known of the fault, for operators.
        failing_seconds: for how long.
    """

    worker: str
    fault: str | None
    detail: str | None
    failing_seconds: int


def save(connection: Conn, worker: str, instance: str, fault: str | None, detail: str | None) -> None:
    """Store how a worker does now, and forget those that have been silent for long.

    Args:
        connection: the heartbeat is stored in its transaction.
        worker: name of the kind of worker.
        instance: name of this one.
        fault: class of what it meets; None when its last step succeeded.
        detail: the fault in words, without secrets.
    """
    connection.execute(
        "DELETE FROM worker_heartbeats WHERE beat_at < clock_timestamp() - %s * interval '1 hour'", (_KEEP_HOURS,)
    )
    connection.execute(
        "INSERT INTO worker_heartbeats (worker, instance, fault, detail, failing_since) VALUES"
        " (%(worker)s, %(instance)s, %(fault)s, %(detail)s, CASE WHEN %(fault)s::text IS NOT NULL THEN now() END)"
        " ON CONFLICT (worker, instance) DO UPDATE SET beat_at = clock_timestamp(), fault = excluded.fault,"
        " detail = excluded.detail, failing_since = CASE WHEN excluded.fault IS NOT NULL"
        " THEN coalesce(worker_heartbeats.failing_since, excluded.failing_since) END",
        {"worker": worker, "instance": instance, "fault": fault, "detail": detail},
    )


def remove(connection: Conn, worker: str, instance: str) -> None:
    """Forget a worker that ends in order."""
    connection.execute("DELETE FROM worker_heartbeats WHERE worker = %s AND instance = %s", (worker, instance))


def prove_writable(connection: Conn) -> None:
    """Write something, once in a few seconds, for all that ask: a database that only answers questions books nothing.

    An update alone finds room in a page that is there. So 256 kB that do not fit into `work_mem` are kept for a moment
    too, which takes new room on the disk, as an order does.

    Raises:
        psycopg.Error: it cannot be written: the disk is full, or the database is read-only.
    """
    written = connection.execute(
        "INSERT INTO health_probe SELECT WHERE NOT EXISTS (SELECT FROM health_probe"
        " WHERE written_at BETWEEN clock_timestamp() - %s * interval '1 second' AND clock_timestamp())"
        " ON CONFLICT (only_row) DO UPDATE SET written_at = clock_timestamp()",
        (PROBE_SECONDS,),
    )
    if written.rowcount:
        connection.execute("SET LOCAL work_mem = '64kB'")
        connection.execute(
            "WITH filler AS MATERIALIZED (SELECT repeat('x', 1000) || n AS line FROM generate_series(1, 256) n)"
            " SELECT sum(length(line)) FROM filler"
        )


def health(connection: Conn) -> list[WorkerHealth]:
    """Return how the workers that were heard of lately do, by kind; of several faults the oldest."""
    rows = connection.execute(
        "SELECT DISTINCT ON (worker) worker, fault, detail,"
        " coalesce(extract(epoch FROM clock_timestamp() - failing_since), 0)::bigint AS failing_seconds"
        " FROM worker_heartbeats WHERE beat_at > clock_timestamp() - %s * interval '1 second'"
        " ORDER BY worker, failing_since NULLS LAST",
        (FRESH_SECONDS,),
    ).fetchall()
    return [WorkerHealth(**row) for row in rows]
