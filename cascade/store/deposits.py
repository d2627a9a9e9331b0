"""Deposit addresses that are watched, what arrived at them, and what of it was not collected yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eth_utils.address import to_checksum_address

from cascade.domain.deposits import Deposit, DepositState, SeenDeposit, Transfer
from cascade.errors import LedgerConflict
from cascade.store.database import Conn

# Collecting takes all that lies there of a token, so a payment from the address itself covers every transfer before it.
_COLLECTED = (
    "EXISTS (SELECT FROM chain_logs l WHERE l.chain_id = d.chain_id AND l.on_chain_order_id = d.on_chain_order_id"
    " AND l.token_address = d.token_address AND decode(substr(l.payer, 3), 'hex') = t.deposit_address"
    " AND (l.block_number, l.log_index) > (d.block_number, d.log_index))"
)
_WATCHED = (
    "chain_id = %(chain_id)s AND router = %(router)s"
    " AND expires_at > extract(epoch FROM now()) - %(days)s::float * 86400"
)
_COLUMNS = (
    "chain_id, block_number, log_index, block_hash, transaction_hash, on_chain_order_id, token_address, sender, units"
)


def without_address(connection: Conn, limit: int) -> list[tuple[bytes, str]]:
    """Terms from before deposit addresses were stored: the order's id on chain, and its router."""
    rows = connection.execute(
        "SELECT on_chain_order_id, router FROM chain_terms WHERE deposit_address IS NULL LIMIT %s", (limit,)
    ).fetchall()
    return [(bytes(row["on_chain_order_id"]), row["router"]) for row in rows]


def set_addresses(connection: Conn, addresses: Mapping[bytes, bytes]) -> None:
    """Store deposit addresses by the order's id on chain."""
    connection.execute(
        "UPDATE chain_terms t SET deposit_address = new.address"
        " FROM unnest(%s::bytea[], %s::bytea[]) AS new (id, address) WHERE t.on_chain_order_id = new.id",
        (list(addresses), list(addresses.values())),
    )


def watched(connection: Conn, chain_id: int, router: str, days: float, limit: int) -> list[bytes]:
    """Addresses of orders that are open, or whose time has been over for less than some days; any ``limit`` of them."""
    rows = connection.execute(
        f"SELECT deposit_address FROM chain_terms WHERE {_WATCHED} LIMIT %(limit)s",  # noqa: S608 - constant
        {"chain_id": chain_id, "router": router, "days": days, "limit": limit},
    ).fetchall()
    return [bytes(row["deposit_address"]) for row in rows]


def matched(
    connection: Conn, chain_id: int, router: str, days: float, transfers: Sequence[Transfer]
) -> list[tuple[bytes, Transfer]]:
    """Those transfers that went to a watched address, each with the order's id on chain; one query for all."""
    recipients = list({transfer.recipient for transfer in transfers})
    rows = connection.execute(
        "SELECT on_chain_order_id, deposit_address FROM chain_terms"  # noqa: S608 - constant
        f" WHERE deposit_address = ANY(%(recipients)b::bytea[]) AND {_WATCHED}",
        {"recipients": recipients, "chain_id": chain_id, "router": router, "days": days},
    ).fetchall()
    keys = {bytes(row["deposit_address"]): bytes(row["on_chain_order_id"]) for row in rows}
    return [(keys[transfer.recipient], transfer) for transfer in transfers if transfer.recipient in keys]


def insert(connection: Conn, chain_id: int, found: Sequence[tuple[bytes, Transfer]]) -> None:
    """Store what arrived, each with the order's id on chain; the same again is a no-op.

    Raises:
        LedgerConflict: another transfer was stored at the same place.
    """
    for key, transfer in found:
        values = (
            *(chain_id, transfer.block_number, transfer.log_index, transfer.block_hash, transfer.transaction_hash),
            *(key, transfer.token_address, to_checksum_address(transfer.sender), transfer.units),
        )
        marks = ", ".join(["%s"] * len(values))
        insertion = f"INSERT INTO deposit_transfers ({_COLUMNS}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        if connection.execute(insertion.encode(), values).rowcount:
            connection.execute(
                "INSERT INTO deposits_waiting VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, transfer.token_address)
            )
            continue
        same = f"SELECT FROM deposit_transfers WHERE ROW ({_COLUMNS}) = ROW ({marks})"  # noqa: S608 - our names
        if connection.execute(same.encode(), values).fetchone() is None:
            raise LedgerConflict(
                f"block {transfer.block_number}, log {transfer.log_index} is stored with other contents: two nodes"
                " disagree about a final block, ask a third before anything is collected"
            )


def waiting(connection: Conn, chain_id: int, router: str) -> list[Deposit]:
    """What may lie at deposit addresses, and what was tried to collect it."""
    rows = connection.execute(
        "SELECT t.order_id, w.on_chain_order_id, w.token_address, t.expires_at,"  # noqa: S608 - constant
        " CASE WHEN t.token_address = w.token_address THEN t.units END AS price,"
        " coalesce(lying.units, 0) AS units, lying.arrived_at, tried.refused, tried.at AS tried_at"
        " FROM deposits_waiting w JOIN chain_terms t USING (on_chain_order_id),"
        " LATERAL (SELECT sum(d.units) AS units, max(d.recorded_at) AS arrived_at FROM deposit_transfers d"
        " WHERE d.on_chain_order_id = w.on_chain_order_id AND d.token_address = w.token_address"
        f" AND NOT {_COLLECTED}) lying,"
        " LATERAL (SELECT count(*) FILTER (WHERE i.state = 'refused') AS refused, max(i.created_at) AS at"
        " FROM relay_items i WHERE i.order_id = t.order_id AND i.on_chain_order_id = w.on_chain_order_id"
        " AND i.token_address = w.token_address AND i.kind = 'collect') tried"
        " WHERE t.chain_id = %s AND t.router = %s ORDER BY t.order_id, w.token_address",
        (chain_id, router),
    ).fetchall()
    return [
        Deposit(
            row["order_id"],
            bytes(row["on_chain_order_id"]),
            row["token_address"],
            int(row["units"]),
            None if row["price"] is None else int(row["price"]),
            row["expires_at"],
            row["arrived_at"],
            row["refused"],
            row["tried_at"],
        )
        for row in rows
    ]


def forget(connection: Conn, deposit: Deposit) -> None:
    """Note that nothing is left to do at an address, until another transfer comes."""
    connection.execute(
        "DELETE FROM deposits_waiting WHERE on_chain_order_id = %s AND token_address = %s",
        (deposit.on_chain_order_id, deposit.token_address),
    )


def of_order(connection: Conn, order_id: str) -> list[SeenDeposit]:
    """Every transfer to an order's addresses, oldest first."""
    rows = connection.execute(
        f"SELECT d.token_address, d.units, d.transaction_hash, {_COLLECTED} AS collected"  # noqa: S608 - constant
        " FROM deposit_transfers d JOIN chain_terms t USING (on_chain_order_id)"
        " WHERE t.order_id = %s ORDER BY d.chain_id, d.block_number, d.log_index",
        (order_id,),
    ).fetchall()
    return [
        SeenDeposit(
            row["token_address"],
            int(row["units"]),
            bytes(row["transaction_hash"]),
            DepositState.COLLECTED if row["collected"] else DepositState.ARRIVED,
        )
        for row in rows
    ]
