"""The queue of the relayer, with the state of each item; the transactions themselves are in ``relay_transactions``."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from cascade.db.database import Conn, Row
from cascade.domain.relay_batch_rules import Lane
from cascade.domain.relay_items import RejectReason, RelayItem, RelayKind, RelayState
from cascade.errors import NotPayable

_ITEMS = (
    "SELECT i.*, (SELECT a.hash FROM relay_attempts a WHERE a.transaction_id = i.transaction_id"
    " ORDER BY a.max_fee_wei DESC LIMIT 1) AS hash FROM relay_items i"
)
_FIRST_OF_EACH_PAYER = (
    "SELECT DISTINCT ON (coalesce(payer, id::text)) id FROM relay_items WHERE state = 'queued' AND lane = %s"
    " ORDER BY coalesce(payer, id::text), id"
)
QUEUED_CHANNEL = "relay_queued"
"""Notified when something is put in the queue."""


def enqueue_signed(
    connection: Conn,
    *,
    order_id: str,
    on_chain_order_id: bytes,
    kind: RelayKind,
    token_address: str,
    payer: str,
    signature: bytes,
    has_code: bool,
) -> RelayItem:
    """Queue a payment that its payer signed. The same one again, while it is alive, is the one that is there.

    Raises:
        NotPayable: another payment of this order is being sent.
    """
    alive = _alive(connection, on_chain_order_id, token_address)
    if alive is None:
        _insert(connection, order_id, on_chain_order_id, kind, token_address, payer, signature, has_code)
        alive = _alive(connection, on_chain_order_id, token_address)
    assert alive is not None  # noqa: S101 - the order is locked by the caller, or the index let one in
    if (alive.payer, alive.signature) != (payer, signature):
        raise NotPayable("A payment of this order is being sent. Wait for it instead of paying twice.")
    return alive


def enqueue_collect(connection: Conn, *, order_id: str, on_chain_order_id: bytes, token_address: str) -> None:
    """Queue the collecting of what lies at an order's deposit address; nothing is changed while one is alive."""
    _insert(connection, order_id, on_chain_order_id, RelayKind.COLLECT, token_address, None, None, False)


def of_order(connection: Conn, order_id: str) -> list[RelayItem]:
    """Return all items of an order, oldest first."""
    rows = connection.execute(f"{_ITEMS} WHERE i.order_id = %s ORDER BY i.id", (order_id,)).fetchall()
    return [_item(row) for row in rows]


def queued(connection: Conn, lane: Lane, limit: int) -> list[RelayItem]:
    """Return what waits in a lane, oldest first; of each payer only the oldest."""
    rows = connection.execute(
        f"{_ITEMS} WHERE i.id IN ({_FIRST_OF_EACH_PAYER}) ORDER BY i.id LIMIT %s", (lane, limit)
    ).fetchall()
    return [_item(row) for row in rows]


def of_transaction(connection: Conn, transaction_id: int) -> list[RelayItem]:
    """Return what a transaction carries, in the order of its calldata."""
    rows = connection.execute(
        f"{_ITEMS} WHERE i.transaction_id = %s AND i.state = 'sent' ORDER BY i.id", (transaction_id,)
    ).fetchall()
    return [_item(row) for row in rows]


def oldest_wait_seconds(connection: Conn) -> dict[Lane, float]:
    """Return how long the oldest in each lane has waited; a lane in which nothing waits is not named."""
    rows = connection.execute(
        "SELECT lane, extract(epoch FROM clock_timestamp() - min(created_at))::float AS age FROM relay_items"
        " WHERE state = 'queued' GROUP BY lane"
    ).fetchall()
    return {Lane(row["lane"]): row["age"] for row in rows}


def lock_payer(connection: Conn, payer: str) -> None:
    """Let nobody else count or queue an account's payments until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('relay:' || %s, 0))", (payer,))


def sent_for(connection: Conn, payer: str, seconds: float) -> int:
    """Return how many payments this account has had queued lately, whatever became of them."""
    row = connection.execute(
        "SELECT count(*) AS n FROM relay_items WHERE payer = %s"
        " AND created_at > clock_timestamp() - %s * interval '1 second'",
        (payer, seconds),
    ).fetchone()
    return int(row["n"]) if row else 0


def costly_payers(connection: Conn, payers: Sequence[str], seconds: float, limit: int) -> set[str]:
    """Return those of some accounts for whose failed payments we have lately paid so often."""
    rows = connection.execute(
        "SELECT payer FROM relay_items WHERE payer = ANY(%s)"
        " AND created_at > clock_timestamp() - %s * interval '1 second' GROUP BY payer HAVING sum(failed_sends) >= %s",
        (list(payers), seconds, limit),
    ).fetchall()
    return {row["payer"] for row in rows}


def refuse(connection: Conn, item_id: int, reason: RejectReason) -> None:
    """Note that a queued or sent item ended without a payment."""
    connection.execute(
        "UPDATE relay_items SET state = 'refused', reason = %s WHERE id = %s AND state IN ('queued', 'sent')",
        (reason, item_id),
    )


def mark_sent(connection: Conn, item_ids: Sequence[int], transaction_id: int) -> None:
    """Bind queued items to the transaction that carries them."""
    connection.execute(
        "UPDATE relay_items SET state = 'sent', tries = tries + 1, transaction_id = %s"
        " WHERE id = ANY(%s) AND state = 'queued'",
        (transaction_id, list(item_ids)),
    )


def settle(connection: Conn, item_id: int) -> None:
    """Note that an item's transaction is final and paid its order."""
    connection.execute("UPDATE relay_items SET state = 'settled' WHERE id = %s AND state = 'sent'", (item_id,))


def queue_again(connection: Conn, item_ids: Sequence[int], *, together: int | None = None) -> None:
    """Put items back that their transaction did not pay, or that cannot be sent as they were chosen.

    Args:
        connection: an open transaction.
        item_ids: which.
        together: most payments in the next transaction, when one failed as a whole.
    """
    connection.execute(
        "UPDATE relay_items SET state = 'queued', transaction_id = NULL, together = coalesce(%s, together)"
        " WHERE id = ANY(%s) AND state IN ('queued', 'sent')",
        (together, list(item_ids)),
    )


def fail(connection: Conn, item_id: int, *, tries: int, on_chain: bool) -> None:
    """Note that an item failed by itself, and queue it again; refuse it when it has failed so often.

    Args:
        connection: an open transaction.
        item_id: which.
        tries: at how many failures it is refused.
        on_chain: a transaction was paid for it.
    """
    connection.execute(
        "UPDATE relay_items SET failures = failures + 1, failed_sends = failed_sends + %(paid)s,"
        " state = CASE WHEN failures + 1 < %(tries)s THEN 'queued' ELSE 'refused' END,"
        " transaction_id = CASE WHEN failures + 1 < %(tries)s THEN NULL ELSE transaction_id END,"
        " reason = CASE WHEN failures + 1 < %(tries)s THEN NULL ELSE %(reason)s END"
        " WHERE id = %(id)s AND state IN ('queued', 'sent')",
        {"paid": int(on_chain), "tries": tries, "reason": RejectReason.REVERTED, "id": item_id},
    )


def note_code(connection: Conn, item_id: int, *, has_code: bool) -> None:
    """Note whether there is code at the payer's address now, which changes an item's lane."""
    connection.execute("UPDATE relay_items SET has_code = %s WHERE id = %s AND state = 'queued'", (has_code, item_id))


def _alive(connection: Conn, on_chain_order_id: bytes, token_address: str) -> RelayItem | None:
    row = connection.execute(
        f"{_ITEMS} WHERE i.on_chain_order_id = %s AND i.token_address = %s AND i.state IN ('queued', 'sent')",
        (on_chain_order_id, token_address),
    ).fetchone()
    return _item(row) if row else None


def _insert(
    connection: psycopg.Connection[Row],
    order_id: str,
    on_chain_order_id: bytes,
    kind: RelayKind,
    token_address: str,
    payer: str | None,
    signature: bytes | None,
    has_code: bool,
) -> None:
    done = connection.execute(
        "INSERT INTO relay_items (order_id, on_chain_order_id, kind, token_address, payer, signature, has_code)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (on_chain_order_id, token_address)"
        " WHERE state IN ('queued', 'sent') DO NOTHING",
        (order_id, on_chain_order_id, kind, token_address, payer, signature, has_code),
    )
    if done.rowcount:
        connection.execute(f"NOTIFY {QUEUED_CHANNEL}")


def _item(row: Row) -> RelayItem:
    return RelayItem(
        row["id"],
        row["order_id"],
        bytes(row["on_chain_order_id"]),
        RelayKind(row["kind"]),
        row["token_address"],
        row["payer"],
        None if row["signature"] is None else bytes(row["signature"]),
        row["has_code"],
        RelayState(row["state"]),
        None if row["reason"] is None else RejectReason(row["reason"]),
        None if row["hash"] is None else "0x" + bytes(row["hash"]).hex(),
        row["tries"],
        row["failures"],
        row["together"],
    )
