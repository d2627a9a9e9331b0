"""Checkpoints: up to which block each router has been read, the lease of its reader, and the logs that were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cascade.db.database import Conn, Row
from cascade.db.leases import LeaseTable
from cascade.domain.payments import PaidEvent, RefundedEvent, RouterEvent
from cascade.errors import LeaseLost, LedgerConflict

_LEASES: Final = LeaseTable("chain_cursors", ("stream",))


@dataclass(frozen=True, slots=True)
class Cursor:
    """A stream's checkpoint, as a leader holds it.

    Attributes:
        stream: ``chain:<chain id>:<router>``.
        height: every block up to here is booked.
        hash: of that block.
        last_seq: the router's number of the last payment booked.
        epoch: fences the writes of a leader that was replaced.
    """

    stream: str
    height: int
    hash: bytes
    last_seq: int
    epoch: int


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """The state of a stream, for operators.

    Attributes:
        behind_blocks: final blocks that are not booked yet.
        finalized_at: time of the last final block that the node told of, UTC.
        alarm: why the stream stands still; None when it does not.
        led: some indexer holds the lease.
    """

    stream: str
    height: int
    behind_blocks: int
    finalized_at: datetime
    alarm: str | None
    led: bool


@dataclass(frozen=True, slots=True)
class PendingPayment:
    """A payment in a block above the checkpoint; ``final``: only the booking is still to come."""

    transaction_hash: bytes
    final: bool


def start(connection: Conn, stream: str, height: int, block_hash: bytes, block_time: int) -> None:
    """Set a new stream's first checkpoint; an existing one stays as it is. ``block_time``: Unix seconds."""
    connection.execute(
        "INSERT INTO chain_cursors (stream, height, hash, finalized_height, finalized_at)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (stream) DO NOTHING",
        (stream, height, block_hash, height, datetime.fromtimestamp(block_time, UTC)),
    )


def exists(connection: Conn, stream: str) -> bool:
    """Return whether the stream has a checkpoint."""
    return connection.execute("SELECT FROM chain_cursors WHERE stream = %s", (stream,)).fetchone() is not None


def height(connection: Conn, stream: str) -> int:
    """Return number of the last block that is booked; 0 for a stream that was never followed."""
    row = connection.execute("SELECT height FROM chain_cursors WHERE stream = %s", (stream,)).fetchone()
    return int(row["height"]) if row else 0


def lease(connection: Conn, stream: str, leader: str, seconds: float) -> Cursor | None:
    """Take or keep the lead of a stream; None while another worker has it."""
    row = _LEASES.take(connection, [stream], leader, seconds)
    return _cursor(row) if row else None


def release(connection: Conn, stream: str, leader: str) -> None:
    """Give the lead of a stream up."""
    _LEASES.release(connection, [stream], leader)


def note_finalized(connection: Conn, cursor: Cursor, height: int, block_time: int) -> None:
    """Remember the last block that the node called final (``block_time``: Unix seconds). It never goes back."""
    connection.execute(
        "UPDATE chain_cursors SET finalized_height = %s, finalized_at = %s WHERE stream = %s AND finalized_height < %s",
        (height, datetime.fromtimestamp(block_time, UTC), cursor.stream, height),
    )


def advance(connection: Conn, cursor: Cursor, height: int, block_hash: bytes, last_seq: int) -> None:
    """Move the checkpoint, in the transaction that books what it covers.

    Raises:
        LeaseLost: another indexer moved it or leads now; the whole transaction must be rolled back.
    """
    moved = connection.execute(
        "UPDATE chain_cursors SET height = %s, hash = %s, last_seq = %s, alarm = NULL"
        " WHERE stream = %s AND height = %s AND hash = %s AND epoch = %s",
        (height, block_hash, last_seq, cursor.stream, cursor.height, cursor.hash, cursor.epoch),
    )
    if moved.rowcount != 1:
        raise LeaseLost(f"{cursor.stream}: another indexer leads since epoch {cursor.epoch}; it books from here on")
    # What is booked is no longer only seen: the order would show its payment twice.
    connection.execute("DELETE FROM chain_sightings WHERE stream = %s AND block_number <= %s", (cursor.stream, height))


def set_alarm(connection: Conn, stream: str, alarm: str | None) -> None:
    """Say why a stream stands still, or that it no longer does."""
    connection.execute(
        "UPDATE chain_cursors SET alarm = %(alarm)s WHERE stream = %(stream)s AND alarm IS DISTINCT FROM %(alarm)s",
        {"stream": stream, "alarm": alarm},
    )


def insert_logs(connection: Conn, chain_id: int, router: str, logs: Sequence[RouterEvent]) -> list[RouterEvent]:
    """Store evidence; the same log again is a no-op.

    Returns:
        Those that were not stored before.

    Raises:
        LedgerConflict: another log was stored at the same place.
    """
    new = []
    for log in logs:
        table, told = _evidence(log)
        values = {
            "chain_id": chain_id,
            "block_number": log.block_number,
            "log_index": log.log_index,
            "block_hash": log.block_hash,
            "transaction_hash": log.transaction_hash,
            "router": router,
            "on_chain_order_id": log.on_chain_order_id,
            "token_address": log.token_address,
            "units": log.units,
            **told,
        }
        columns, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        insertion = f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - our names
        if connection.execute(insertion.encode(), values).rowcount:
            new.append(log)
            continue
        same = (
            f"SELECT FROM {table} WHERE (chain_id, block_number, log_index)"  # noqa: S608 - our names
            " = (%(chain_id)s, %(block_number)s, %(log_index)s)"
            f" AND ROW ({columns}) IS NOT DISTINCT FROM ROW ({marks})"
        )
        if connection.execute(same.encode(), values).fetchone() is None:
            raise LedgerConflict(
                f"block {log.block_number}, log {log.log_index} is stored with other contents: two nodes disagree about"
                " a final block, ask a third before anything is booked"
            )
    return new


def _evidence(log: RouterEvent) -> tuple[str, dict[str, object]]:
    """Return where a log is kept, and what it tells besides what all of them do."""
    if isinstance(log, RefundedEvent):
        return "chain_refund_logs", {"recipient": log.recipient}
    told = {"payer": log.payer, "partner_units": log.partner_units, "seq": log.seq, "block_time": log.block_time}
    return "chain_logs", told


def replace_sightings(connection: Conn, stream: str, logs: Sequence[PaidEvent]) -> None:
    """Replace what is known of the blocks above the checkpoint."""
    connection.execute("DELETE FROM chain_sightings WHERE stream = %s", (stream,))
    with connection.cursor() as rows:
        rows.executemany(
            "INSERT INTO chain_sightings (stream, on_chain_order_id, block_number, log_index, block_hash,"
            " transaction_hash) VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (stream, log.on_chain_order_id, log.block_number, log.log_index, log.block_hash, log.transaction_hash)
                for log in logs
            ],
        )


def has_sightings(connection: Conn, stream: str) -> bool:
    """Return whether anything is known of the blocks above the checkpoint."""
    return connection.execute("SELECT FROM chain_sightings WHERE stream = %s LIMIT 1", (stream,)).fetchone() is not None


def sightings_of_order(connection: Conn, order_id: str) -> list[PendingPayment]:
    """Return payments of an order in blocks that are not booked yet."""
    rows = connection.execute(
        "SELECT s.transaction_hash, s.block_number <= c.finalized_height AS final FROM chain_sightings s"
        " JOIN chain_terms t USING (on_chain_order_id) JOIN chain_cursors c USING (stream)"
        " WHERE t.order_id = %s ORDER BY s.block_number, s.log_index",
        (order_id,),
    ).fetchall()
    return [PendingPayment(bytes(row["transaction_hash"]), row["final"]) for row in rows]


def unannounced_sightings(connection: Conn) -> list[tuple[str, bytes]]:
    """Return sightings of orders that were not told yet: order id and transaction, in the order in which orders are
    locked."""
    rows = connection.execute(
        "SELECT DISTINCT t.order_id, s.transaction_hash FROM chain_sightings s"
        " JOIN chain_terms t USING (on_chain_order_id) WHERE NOT EXISTS (SELECT FROM order_events e"
        " WHERE e.order_id = t.order_id AND e.type = 'order.seen'"
        " AND e.key = '0x' || encode(s.transaction_hash, 'hex'))"
        " ORDER BY t.order_id, s.transaction_hash"
    ).fetchall()
    return [(row["order_id"], bytes(row["transaction_hash"])) for row in rows]


def health(connection: Conn) -> list[StreamHealth]:
    """Return how every stream stands."""
    rows = connection.execute(
        "SELECT stream, height, greatest(finalized_height - height, 0) AS behind_blocks, finalized_at, alarm,"
        " leased_until > clock_timestamp() AS led FROM chain_cursors ORDER BY stream"
    ).fetchall()
    return [StreamHealth(**row) for row in rows]


def retire(connection: Conn, stream: str) -> bool:
    """Forget a stream's checkpoint and what was seen above it; what is booked stays.

    Followed again, it is read from its beginning, and every movement is found booked.

    Returns:
        False when there is no such stream, or somebody follows it.
    """
    found = connection.execute(
        "SELECT FROM chain_cursors WHERE stream = %s AND leased_until < clock_timestamp() FOR UPDATE", (stream,)
    ).fetchone()
    if found is None:
        return False
    connection.execute("DELETE FROM chain_sightings WHERE stream = %s", (stream,))
    connection.execute("DELETE FROM chain_cursors WHERE stream = %s", (stream,))
    return True


def _cursor(row: Row) -> Cursor:
    return Cursor(row["stream"], row["height"], bytes(row["hash"]), row["last_seq"], row["epoch"])
