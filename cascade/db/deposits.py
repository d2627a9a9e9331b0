"""Deposit addresses that are watched, and the transfers that came to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascade.db.database import Conn
from cascade.domain.deposit_collection import DepositBalance, InTime, Transfer
from cascade.domain.payments import PaidEvent, RouterEvent


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
    """Return addresses of orders that are open or have expired in the last so many days; at most ``limit`` of them."""
    rows = connection.execute(
        "SELECT deposit_address FROM chain_terms WHERE chain_id = %s AND router = %s AND deposit_address IS NOT NULL"
        " AND expires_at > extract(epoch FROM now()) - %s * 86400 LIMIT %s",
        (chain_id, router, days, limit),
    ).fetchall()
    return [row["deposit_address"] for row in rows]


def ours(connection: Conn, transfers: Sequence[Transfer]) -> dict[str, bytes]:
    """Return the order id of each deposit address among the recipients."""
    found = connection.execute(
        "SELECT deposit_address, on_chain_order_id FROM chain_terms WHERE deposit_address = ANY(%s)",
        ([transfer.recipient for transfer in transfers],),
    ).fetchall()
    return {row["deposit_address"]: bytes(row["on_chain_order_id"]) for row in found}


def insert(
    connection: Conn, chain_id: int, transfers: Sequence[Transfer], addressed: Mapping[str, bytes]
) -> list[Transfer]:
    """Store transfers to deposit addresses; the same again only adds the time of its block where that is missing.

    Args:
        connection: they are stored in its transaction.
        chain_id: where they were made.
        transfers: what to store, each with the time of its block.
        addressed: the order id of each recipient.

    Returns:
        Those that were not stored before.
    """
    new = []
    for transfer in transfers:
        row = connection.execute(
            "INSERT INTO deposit_transfers AS d (chain_id, block_number, log_index, block_hash, transaction_hash,"
            " on_chain_order_id, token_address, sender, units, block_time)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (chain_id, block_number, log_index)"
            " DO UPDATE SET block_time = excluded.block_time WHERE d.block_time IS NULL"
            " RETURNING xmax = 0 AS is_new",
            (
                chain_id,
                transfer.block_number,
                transfer.log_index,
                transfer.block_hash,
                transfer.transaction_hash,
                addressed[transfer.recipient],
                transfer.token_address,
                transfer.sender,
                transfer.units,
                transfer.block_time,
            ),
        ).fetchone()
        if row is not None and row["is_new"]:
            new.append(transfer)
    return new


@dataclass(frozen=True, slots=True)
class Deadline:
    """The deadline of transfers to an order's deposit address.

    Attributes:
        opened_at: Unix seconds; no transfer can be older than its order.
        expires_at: Unix seconds; in time is what is in a block before it.
        read: all that came in time is stored.
    """

    opened_at: int
    expires_at: int
    read: bool


def deadline(connection: Conn, on_chain_order_id: bytes) -> Deadline | None:
    """Return an order's deadline; None when no order has this id."""
    row = connection.execute(
        "SELECT floor(extract(epoch FROM o.created_at))::bigint AS opened_at, t.expires_at, t.deposits_read AS read"
        " FROM chain_terms t JOIN orders o ON o.id = t.order_id WHERE t.on_chain_order_id = %s",
        (on_chain_order_id,),
    ).fetchone()
    return Deadline(**row) if row else None


def mark_read(connection: Conn, on_chain_order_id: bytes) -> None:
    """Note that all transfers that came in time for an order are stored."""
    connection.execute("UPDATE chain_terms SET deposits_read = true WHERE on_chain_order_id = %s", (on_chain_order_id,))


def stored_before(connection: Conn, chain_id: int, event: PaidEvent) -> int:
    """Add up what is known to have come in a collect's token to its address before it, with the time of each."""
    row = connection.execute(
        "SELECT coalesce(sum(units), 0) AS units FROM deposit_transfers WHERE chain_id = %s AND on_chain_order_id = %s"
        " AND token_address = %s AND block_time IS NOT NULL AND (block_number, log_index) < (%s, %s)",
        (chain_id, event.on_chain_order_id, event.token_address, event.block_number, event.log_index),
    ).fetchone()
    return int(row["units"]) if row else 0


def collected_before(connection: Conn, chain_id: int, event: PaidEvent, block_number: int, log_index: int) -> int:
    """Add up what was collected in an event's token at its address, by stored evidence, before a place on the chain."""
    row = connection.execute(
        "SELECT coalesce(sum(units), 0) AS units FROM chain_logs WHERE chain_id = %s AND on_chain_order_id = %s"
        " AND token_address = %s AND payer = %s AND (block_number, log_index) < (%s, %s)",
        (chain_id, event.on_chain_order_id, event.token_address, event.payer, block_number, log_index),
    ).fetchone()
    return int(row["units"]) if row else 0


def in_time(connection: Conn, chain_id: int, event: PaidEvent, expires_at: int) -> InTime:
    """Add up what came before the deadline in a collect's token."""
    row = connection.execute(
        "SELECT coalesce(sum(units), 0) AS units, coalesce(max(block_time), 0) AS last FROM deposit_transfers"
        " WHERE chain_id = %s AND on_chain_order_id = %s AND token_address = %s AND block_time < %s",
        (chain_id, event.on_chain_order_id, event.token_address, expires_at),
    ).fetchone()
    return InTime(int(row["units"]), int(row["last"])) if row else InTime(0, 0)


TO_LOOK_AT = (
    "SELECT on_chain_order_id FROM deposit_transfers WHERE NOT collected AND (look_due <= now()"
    # An order ends within a day, so a later time was written while the database's clock was ahead.
    " OR (look_due > now() + interval '2 days' AND look_due < 'infinity')) ORDER BY look_due LIMIT %(most)s"
)
_LYING = (
    f"WITH due AS MATERIALIZED ({TO_LOOK_AT}),"  # noqa: S608 - constants
    " ids AS MATERIALIZED (SELECT c.on_chain_order_id FROM chain_terms c WHERE c.order_id IN"
    " (SELECT t.order_id FROM chain_terms t JOIN due USING (on_chain_order_id)))"
    " SELECT t.order_id, t.on_chain_order_id, d.token_address, sum(d.units) AS arrived, t.units AS price,"
    # Either stablecoin counts, each at an address of its own; both have six decimals.
    " (SELECT sum(o.units) FROM deposit_transfers o JOIN chain_terms c USING (on_chain_order_id)"
    " WHERE c.order_id = t.order_id) AS arrived_in_all,"
    " t.expires_at - extract(epoch FROM now())::float AS seconds_left,"
    " coalesce((SELECT sum(l.units) FROM chain_logs l WHERE l.on_chain_order_id = t.on_chain_order_id"
    " AND l.token_address = d.token_address AND l.payer = t.deposit_address), 0) AS collected,"
    " EXISTS (SELECT FROM relay_items i WHERE i.on_chain_order_id = t.on_chain_order_id"
    " AND i.token_address = d.token_address AND i.kind = 'collect' AND (i.state IN ('queued', 'sent')"
    " OR (i.state = 'settled' AND i.created_at > max(d.recorded_at))"
    " OR (i.state = 'refused' AND i.created_at BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp())"
    ")) AS busy"
    " FROM deposit_transfers d JOIN chain_terms t USING (on_chain_order_id) JOIN ids USING (on_chain_order_id)"
    " WHERE d.chain_id = %(chain)s GROUP BY t.on_chain_order_id, d.token_address HAVING bool_or(NOT d.collected)"
    " ORDER BY t.on_chain_order_id, d.token_address"
)


def uncollected(connection: Conn, chain_id: int, most: int = 500) -> list[DepositBalance]:
    """Return what has come and was not all collected, by order and token, of orders that it is time to look at.

    An item of the relayer that began after the last transfer has taken it along; one that failed is tried again after
    a minute.

    Args:
        connection: where it is read.
        chain_id: EIP-155 chain id.
        most: so many transfers are looked at at once; the others are as soon as these have been.
    """
    rows = connection.execute(_LYING, {"chain": chain_id, "most": most}).fetchall()
    return [
        DepositBalance(
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


def look_again(connection: Conn, one: DepositBalance, seconds: float | None) -> None:
    """Set when an order's transfers in a token are looked at again; None: when something happens to them."""
    connection.execute(
        "UPDATE deposit_transfers SET look_due = coalesce(clock_timestamp() + %(seconds)s * interval '1 second',"
        " 'infinity') WHERE on_chain_order_id = %(id)s AND token_address = %(token)s AND NOT collected",
        {"seconds": seconds, "id": one.on_chain_order_id, "token": one.token_address},
    )


def look_now(connection: Conn, events: Sequence[RouterEvent]) -> None:
    """Have what lies at some addresses looked at: the router has told of collects there."""
    collected = {e.on_chain_order_id for e in events if isinstance(e, PaidEvent) and e.block_time is not None}
    if collected:
        connection.execute(
            "UPDATE deposit_transfers SET look_due = '-infinity' WHERE (chain_id, block_number, log_index) IN"
            " (SELECT chain_id, block_number, log_index FROM deposit_transfers"
            " WHERE on_chain_order_id = ANY(%s) AND NOT collected"
            # In one order, as the watcher does: else two could wait for each other.
            " ORDER BY on_chain_order_id, token_address FOR UPDATE)",
            (sorted(collected),),
        )


def look_at_all(connection: Conn) -> None:
    """Have everything that was not collected looked at once: what is worth it may have been set anew."""
    connection.execute("UPDATE deposit_transfers SET look_due = '-infinity' WHERE NOT collected AND look_due > now()")


def uncollected_of_order(connection: Conn, order_id: str) -> list[tuple[str, int]]:
    """Return what came to an order's deposit addresses and is not among its payments yet: token and units, in its
    order."""
    rows = connection.execute(
        "SELECT d.token_address, sum(d.units) - coalesce((SELECT sum(l.units) FROM chain_logs l"
        " WHERE l.on_chain_order_id = t.on_chain_order_id AND l.token_address = d.token_address"
        " AND l.payer = t.deposit_address), 0) AS units"
        " FROM deposit_transfers d JOIN chain_terms t USING (on_chain_order_id) WHERE t.order_id = %s"
        " GROUP BY t.on_chain_order_id, d.token_address ORDER BY min(ARRAY[d.block_number, d.log_index])",
        (order_id,),
    ).fetchall()
    return [(row["token_address"], int(row["units"])) for row in rows if row["units"] > 0]


def mark_collected(connection: Conn, one: DepositBalance) -> None:
    """Note that the router has told of all that came, so that it need not be looked at again."""
    connection.execute(
        "UPDATE deposit_transfers SET collected = true WHERE on_chain_order_id = %s AND token_address = %s"
        " AND NOT collected",
        (one.on_chain_order_id, one.token_address),
    )


def of_order(connection: Conn, order_id: str) -> list[Arrival]:
    """Return all transfers that came for an order, oldest first; those below a cent as one of each token, by the
    last."""
    rows = connection.execute(
        "SELECT d.token_address, sum(d.units) AS units, bool_and(d.collected) AS collected,"
        " (array_agg(d.transaction_hash ORDER BY d.block_number DESC, d.log_index DESC))[1] AS transaction_hash"
        " FROM deposit_transfers d JOIN chain_terms t USING (on_chain_order_id) WHERE t.order_id = %s"
        " GROUP BY d.token_address, CASE WHEN d.units < 10000 THEN NULL ELSE (d.block_number, d.log_index) END"
        " ORDER BY max(d.block_number), max(d.log_index)",
        (order_id,),
    ).fetchall()
    return [
        Arrival(row["token_address"], int(row["units"]), "0x" + bytes(row["transaction_hash"]).hex(), row["collected"])
        for row in rows
    ]
