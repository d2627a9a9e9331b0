"""Deposit addresses that are watched, and the transfers that came to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cascade.domain.deposits import Lying, Transfer
from cascade.store.database import Conn


@dataclass(frozen=True, slots=True)
class Arrival:
    """A transfer as its payer sees it; ``collected``: it is among the payments."""

    token_address: str
    units: int
    transaction: str
    collected: bool


def unaddressed(connection: Conn, chain_id: int, router: str, limit: int) -> list[bytes]:
    """Order ids of a router whose deposit address was never written down."""
    rows = connection.execute(
        "SELECT on_chain_order_id FROM chain_terms WHERE deposit_address IS NULL"
        " AND chain_id = %s AND router = %s LIMIT %s",
        (chain_id, router, limit),
    ).fetchall()
    return [bytes(row["on_chain_order_id"]) for row in rows]


def write_addresses(connection: Conn, addresses: Mapping[bytes, str]) -> None:
    """Write deposit addresses down, by order id."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE chain_terms SET deposit_address = %s WHERE on_chain_order_id = %s",
            [(address, order_id) for order_id, address in addresses.items()],
        )


def watched(connection: Conn, chain_id: int, router: str, days: int, limit: int) -> list[str]:
    """Addresses of orders that are open or have expired in the last so many days; at most ``limit`` of them."""
    rows = connection.execute(
        "SELECT deposit_address FROM chain_terms WHERE chain_id = %s AND router = %s AND deposit_address IS NOT NULL"
        " AND expires_at > extract(epoch FROM now()) - %s * 86400 LIMIT %s",
        (chain_id, router, days, limit),
    ).fetchall()
    return [row["deposit_address"] for row in rows]


def insert(connection: Conn, chain_id: int, transfers: Sequence[Transfer]) -> list[Transfer]:
    """Store those that came to a deposit address of ours; the same again is a no-op. Returns those that are new."""
    found = connection.execute(
        "SELECT deposit_address, on_chain_order_id FROM chain_terms WHERE deposit_address = ANY(%s)",
        ([transfer.recipient for transfer in transfers],),
    ).fetchall()
    ours = {row["deposit_address"]: bytes(row["on_chain_order_id"]) for row in found}
    new = []
    for transfer in transfers:
        if transfer.recipient not in ours:
            continue
        inserted = connection.execute(
            "INSERT INTO deposit_transfers (chain_id, block_number, log_index, block_hash, transaction_hash,"
            " on_chain_order_id, token_address, sender, units) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (
                chain_id,
                transfer.block_number,
                transfer.log_index,
                transfer.block_hash,
                transfer.transaction_hash,
                ours[transfer.recipient],
                transfer.token_address,
                transfer.sender,
                transfer.units,
            ),
        )
        if inserted.rowcount:
            new.append(transfer)
    return new


def lying(connection: Conn, chain_id: int) -> list[Lying]:
    """What has come and was not all collected, by order and token.

    An item of the relayer that began after the last transfer has taken it along; one that failed is tried again after
    a minute.
    """
    rows = connection.execute(
        "SELECT t.order_id, t.on_chain_order_id, d.token_address, sum(d.units) AS arrived, t.units AS price,"
        # Either stablecoin counts, each at an address of its own; both have six decimals.
        " (SELECT sum(o.units) FROM deposit_transfers o JOIN chain_terms c USING (on_chain_order_id)"
        " WHERE c.order_id = t.order_id) AS arrived_in_all,"
        " t.expires_at - extract(epoch FROM now())::float AS seconds_left,"
        " coalesce((SELECT sum(l.units) FROM chain_logs l WHERE l.on_chain_order_id = t.on_chain_order_id"
        " AND l.token_address = d.token_address AND l.payer = t.deposit_address), 0) AS collected,"
        " EXISTS (SELECT FROM relay_items i WHERE i.on_chain_order_id = t.on_chain_order_id"
        " AND i.token_address = d.token_address AND i.kind = 'collect' AND (i.state IN ('queued', 'sent')"
        " OR (i.state = 'settled' AND i.created_at > max(d.recorded_at))"
        " OR i.created_at > clock_timestamp() - interval '1 minute')) AS busy"
        " FROM deposit_transfers d JOIN chain_terms t USING (on_chain_order_id)"
        " WHERE d.chain_id = %s"
        " AND d.on_chain_order_id IN (SELECT on_chain_order_id FROM deposit_transfers WHERE NOT collected)"
        " GROUP BY t.on_chain_order_id, d.token_address",
        (chain_id,),
    ).fetchall()
    return [
        Lying(
            row["order_id"],
            bytes(row["on_chain_order_id"]),
            row["token_address"],
            int(row["arrived"]),
            int(row["collected"]),
            int(row["price"]),
            int(row["arrived_in_all"]),
            float(row["seconds_left"]),
            row["busy"],
        )
        for row in rows
    ]


def lying_of_order(connection: Conn, order_id: str) -> list[tuple[str, int]]:
    """What came to an order's deposit addresses and is not among its payments yet: token and units, in its order."""
    rows = connection.execute(
        "SELECT d.token_address, sum(d.units) - coalesce((SELECT sum(l.units) FROM chain_logs l"
        " WHERE l.on_chain_order_id = t.on_chain_order_id AND l.token_address = d.token_address"
        " AND l.payer = t.deposit_address), 0) AS units"
        " FROM deposit_transfers d JOIN chain_terms t USING (on_chain_order_id) WHERE t.order_id = %s"
        " GROUP BY t.on_chain_order_id, d.token_address ORDER BY min((d.block_number, d.log_index))",
        (order_id,),
    ).fetchall()
    return [(row["token_address"], int(row["units"])) for row in rows if row["units"] > 0]


def mark_collected(connection: Conn, done: Iterable[Lying]) -> None:
    """Note that the router has told of all that came, so that it need not be looked at again."""
    for one in done:
        connection.execute(
            "UPDATE deposit_transfers SET collected = true WHERE on_chain_order_id = %s AND token_address = %s"
            " AND NOT collected",
            (one.on_chain_order_id, one.token_address),
        )


def of_order(connection: Conn, order_id: str) -> list[Arrival]:
    """All transfers that came for an order, oldest first."""
    rows = connection.execute(
        "SELECT d.token_address, d.units, d.transaction_hash, d.collected FROM deposit_transfers d"
        " JOIN chain_terms t USING (on_chain_order_id) WHERE t.order_id = %s ORDER BY d.block_number, d.log_index",
        (order_id,),
    ).fetchall()
    return [
        Arrival(row["token_address"], int(row["units"]), "0x" + bytes(row["transaction_hash"]).hex(), row["collected"])
        for row in rows
    ]
