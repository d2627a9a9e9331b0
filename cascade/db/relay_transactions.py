"""The relayer's transactions: one row a nonce, and every signed form of each, stored before any is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cascade.db.database import Conn
from cascade.db.leases import LeaseTable
from cascade.domain.gas_fees import Fees
from cascade.domain.relay_batch_rules import Lane, Spent
from cascade.errors import LeaseLost

_LEASES: Final = LeaseTable("relay_senders", ("chain_id", "address"))


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to give nonces of a sender; the epoch fences every write of a relayer that was replaced."""

    chain_id: int
    sender: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed form of a transaction; ``age_seconds`` since it was stored."""

    hash: bytes
    raw: bytes
    fees: Fees
    age_seconds: float


@dataclass(frozen=True, slots=True)
class PendingTx:
    """A transaction that is not final; the dearest attempt is the last."""

    id: int
    nonce: int
    router: str
    calldata: bytes
    gas_limit: int
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class SenderHealth:
    """The state of a hot key; ``alarm``: why nothing is sent, or soon nothing will be."""

    address: str
    balance_wei: int | None
    alarm: str | None
    waiting: int
    oldest_seconds: int


def health(connection: Conn, chain_id: int) -> list[SenderHealth]:
    """Return how every hot key stands that was used within a day; all send from one queue."""
    rows = connection.execute(
        "SELECT address, balance_wei, alarm, (SELECT count(*) FROM relay_items WHERE state = 'queued') AS waiting,"
        " (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::int FROM relay_items"
        " WHERE state = 'queued') AS oldest FROM relay_senders"
        " WHERE chain_id = %s AND leased_until > now() - interval '1 day' ORDER BY address",
        (chain_id,),
    ).fetchall()
    return [
        SenderHealth(
            row["address"],
            None if row["balance_wei"] is None else int(row["balance_wei"]),
            row["alarm"],
            row["waiting"],
            row["oldest"],
        )
        for row in rows
    ]


def lease(connection: Conn, chain_id: int, sender: str, leader: str, seconds: float) -> Lease | None:
    """Take or keep the lead; None while another relayer has it."""
    connection.execute(
        "INSERT INTO relay_senders (chain_id, address) VALUES (%s, %s) ON CONFLICT DO NOTHING", (chain_id, sender)
    )
    row = _LEASES.take(connection, [chain_id, sender], leader, seconds)
    return Lease(chain_id, sender, row["epoch"]) if row else None


def release(connection: Conn, chain_id: int, sender: str, leader: str) -> None:
    """Give the lead up."""
    _LEASES.release(connection, [chain_id, sender], leader)


def fence(connection: Conn, lead: Lease) -> None:
    """Hold the lead until the transaction ends; first in every transaction that writes.

    Raises:
        LeaseLost: another relayer leads now; the whole transaction must be rolled back.
    """
    held = connection.execute(
        "SELECT FROM relay_senders WHERE chain_id = %s AND address = %s AND epoch = %s FOR UPDATE",
        (lead.chain_id, lead.sender, lead.epoch),
    ).fetchone()
    if held is None:
        raise LeaseLost(f"another relayer leads {lead.sender} since epoch {lead.epoch}; it sends from here on")


def note(connection: Conn, lead: Lease, balance_wei: int, alarm: str | None) -> None:
    """Say what the sender holds, and why nothing is sent or soon will not be."""
    connection.execute(
        "UPDATE relay_senders SET balance_wei = %s, alarm = %s WHERE chain_id = %s AND address = %s",
        (balance_wei, alarm, lead.chain_id, lead.sender),
    )


def unfinished(connection: Conn, lead: Lease) -> list[PendingTx]:
    """Return all that are not final, in order of their nonces."""
    rows = connection.execute(
        "SELECT t.id, t.nonce, t.router, t.calldata, t.gas_limit, a.hash, a.raw, a.max_fee_wei, a.tip_wei,"
        " extract(epoch FROM clock_timestamp() - a.created_at)::float AS age"
        " FROM relay_transactions t JOIN relay_attempts a ON a.transaction_id = t.id"
        " WHERE t.chain_id = %s AND t.sender = %s AND t.state = 'sent' ORDER BY t.nonce, a.max_fee_wei",
        (lead.chain_id, lead.sender),
    ).fetchall()
    found: dict[int, PendingTx] = {}
    attempts: dict[int, list[Attempt]] = {}
    for row in rows:
        fees = Fees(int(row["max_fee_wei"]), int(row["tip_wei"]))
        attempts.setdefault(row["id"], []).append(Attempt(bytes(row["hash"]), bytes(row["raw"]), fees, row["age"]))
        found[row["id"]] = PendingTx(
            row["id"], row["nonce"], row["router"], bytes(row["calldata"]), row["gas_limit"], attempts[row["id"]]
        )
    return list(found.values())


def next_nonce(connection: Conn, lead: Lease, on_chain: int) -> int:
    """Return the nonce after all that were given; ``on_chain``: how many the chain counts, which can lag, or be
    ahead."""
    row = connection.execute(
        "SELECT coalesce(max(nonce) + 1, 0) AS next FROM relay_transactions"
        " WHERE chain_id = %s AND sender = %s AND state <> 'usurped'",
        (lead.chain_id, lead.sender),
    ).fetchone()
    return max(int(row["next"]) if row else 0, on_chain)


def insert(
    connection: Conn, lead: Lease, nonce: int, *, lane: Lane, router: str, calldata: bytes, gas_limit: int
) -> int:
    """Give a nonce; returns the transaction's id."""
    row = connection.execute(
        "INSERT INTO relay_transactions (chain_id, sender, nonce, lane, router, calldata, gas_limit)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (lead.chain_id, lead.sender, nonce, lane, router, calldata, gas_limit),
    ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING
    return int(row["id"])


def insert_attempt(connection: Conn, transaction_id: int, hash_: bytes, raw: bytes, fees: Fees) -> None:
    """Store a signed form, before it is sent."""
    connection.execute(
        "INSERT INTO relay_attempts (hash, transaction_id, raw, max_fee_wei, tip_wei) VALUES (%s, %s, %s, %s, %s)",
        (hash_, transaction_id, raw, fees.max_fee, fees.tip),
    )


def finish(connection: Conn, transaction_id: int, cost_wei: int) -> None:
    """Note that a transaction is final, and what it cost."""
    connection.execute(
        "UPDATE relay_transactions SET state = 'final', cost_wei = %s WHERE id = %s AND state = 'sent'",
        (cost_wei, transaction_id),
    )


def mark_nonce_taken(connection: Conn, transaction_id: int) -> None:
    """Note that a transaction of somebody else has this nonce for good."""
    connection.execute(
        "UPDATE relay_transactions SET state = 'usurped' WHERE id = %s AND state = 'sent'", (transaction_id,)
    )


def spent(connection: Conn, lead: Lease, seconds: float) -> Spent:
    """Return what each lane's transactions of the last so many seconds cost.

    Of those that are not final it is the most that they can cost.
    """
    rows = connection.execute(
        "SELECT lane, sum(coalesce(cost_wei, gas_limit * (SELECT max(max_fee_wei) FROM relay_attempts a"
        " WHERE a.transaction_id = t.id))) AS wei FROM relay_transactions t WHERE chain_id = %s AND sender = %s"
        " AND state <> 'usurped' AND created_at > clock_timestamp() - %s * interval '1 second' GROUP BY lane",
        (lead.chain_id, lead.sender, seconds),
    ).fetchall()
    return Spent({Lane(row["lane"]): int(row["wei"]) for row in rows})
