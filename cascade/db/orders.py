"""Orders and what each of them asks for on chain."""

from __future__ import annotations

from datetime import datetime

from cascade.db.database import Conn, Row
from cascade.domain.ducat_rate import Rate
from cascade.domain.money import ASSETS, DUCAT, USD, Money
from cascade.domain.orders import ChainTerms, Order
from cascade.domain.quotes import Quote
from cascade.errors import NotFound

_COLUMNS = (
    "id, link_token, citizen_id, package, price_cents, ducat_units, bonus_units, rate_nano_usd, rate_tick, created_at,"
    " expires_at, link_id, renewal_of"
)


def clock(connection: Conn) -> datetime:
    """Return the database's time, UTC: the one clock that all processes share."""
    row = connection.execute("SELECT now() AS now").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    now: datetime = row["now"]
    return now


def insert(connection: Conn, order: Order) -> None:
    """Store a new order."""
    quote = order.quote
    connection.execute(
        f"INSERT INTO orders ({_COLUMNS}, link_single_use, expiry_due)"  # noqa: S608 - constant
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
        " (SELECT single_use FROM payment_links WHERE id = %s), %s)",
        (
            order.id,
            order.link_token,
            order.citizen_id,
            quote.package,
            quote.price.units,
            quote.ducats.units,
            quote.bonus.units,
            quote.rate.nano_usd,
            quote.tick,
            order.created_at,
            order.expires_at,
            order.link_id,
            order.renewal_of,
            order.link_id,
            order.expires_at,
        ),
    )


def lock_expired(connection: Conn, *, seconds: float, limit: int) -> list[Order]:
    """Return orders whose time has been over for some seconds and of which that was not told, each locked.

    Those that others hold, that can still be paid by card, or whose payment is on its way are left out.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM orders o WHERE expiry_due <= now() - %s * interval '1 second'"  # noqa: S608 - constant
        " AND NOT EXISTS (SELECT FROM card_attempts a WHERE a.order_id = o.id AND a.closed_at IS NULL)"
        " AND NOT EXISTS (SELECT FROM card_intents i WHERE i.order_id = o.id AND i.status = 'processing')"
        " AND NOT EXISTS (SELECT FROM chain_sightings s JOIN chain_terms t USING (on_chain_order_id)"
        " WHERE t.order_id = o.id)"
        " ORDER BY expiry_due LIMIT %s FOR NO KEY UPDATE OF o SKIP LOCKED",
        (seconds, limit),
    ).fetchall()
    return [_order(row, "") for row in rows]


def forget_expiry(connection: Conn, order_id: str) -> None:
    """Note that an order need not be looked at when its time is over: it is paid, or was told of."""
    connection.execute("UPDATE orders SET expiry_due = NULL WHERE id = %s", (order_id,))


def note_language(connection: Conn, order_id: str, language: str) -> None:
    """Note the language that an order is read in, unless one is noted or the order is being booked at the moment."""
    connection.execute(
        "UPDATE orders SET language = %s WHERE id ="
        " (SELECT id FROM orders WHERE id = %s AND language IS NULL FOR NO KEY UPDATE SKIP LOCKED)",
        (language, order_id),
    )


def language_of(connection: Conn, order_id: str) -> str | None:
    """Return the language that an order is read in; None while nobody has opened it."""
    row = connection.execute("SELECT language FROM orders WHERE id = %s", (order_id,)).fetchone()
    return row["language"] if row else None


def insert_chain_terms(connection: Conn, order_id: str, terms: ChainTerms, deposit_address: str) -> None:
    """Store what an order asks for on chain, and where a plain transfer for it goes."""
    connection.execute(
        "INSERT INTO chain_terms (on_chain_order_id, order_id, chain_id, router, token, token_address, units,"
        " expires_at, salt, deposit_address) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            terms.on_chain_order_id,
            order_id,
            terms.chain_id,
            terms.router,
            terms.token.code,
            terms.token_address,
            terms.units,
            terms.expires_at,
            terms.salt,
            deposit_address,
        ),
    )


def by_id(connection: Conn, order_id: str) -> Order:
    """Return the order with this id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(f"SELECT {_COLUMNS} FROM orders WHERE id = %s", (order_id,)).fetchone()  # noqa: S608
    return _order(row, "There is no such order.")


def by_link_token(connection: Conn, link_token: str) -> Order:
    """Return the order whose own page this token opens.

    Raises:
        NotFound: there is none.
    """
    query = f"SELECT {_COLUMNS} FROM orders WHERE link_token = %s"  # noqa: S608 - constant
    return _order(connection.execute(query, (link_token,)).fetchone(), "There is no such payment link.")


def lock(connection: Conn, order_id: str) -> Order | None:
    """Return the order with this id, locked until the transaction ends; None when there is none."""
    query = f"SELECT {_COLUMNS} FROM orders WHERE id = %s FOR NO KEY UPDATE"  # noqa: S608 - constant
    row = connection.execute(query, (order_id,)).fetchone()
    return _order(row, "") if row else None


def lock_newest(connection: Conn, order_id: str) -> Order:
    """Return the order that has taken the place of this one, through all renewals, or itself; locked with all on the
    way.

    Raises:
        NotFound: there is no such order.
    """
    newest = lock(connection, order_id)
    if newest is None:
        raise NotFound("There is no such order.")
    # One by one: the holder of the lock before us may have renewed it meanwhile.
    while row := connection.execute("SELECT id FROM orders WHERE renewal_of = %s", (newest.id,)).fetchone():
        newest = lock(connection, row["id"]) or newest
    return newest


def newest_renewal(connection: Conn, order_id: str) -> Order | None:
    """Return the order that has taken the place of this one, through all renewals; None while none has."""
    row = connection.execute(
        "WITH RECURSIVE line AS (SELECT id, 0 AS step FROM orders WHERE id = %s UNION ALL"
        " SELECT o.id, step + 1 FROM orders o JOIN line ON o.renewal_of = line.id)"
        " SELECT id FROM line WHERE step > 0 ORDER BY step DESC LIMIT 1",
        (order_id,),
    ).fetchone()
    return by_id(connection, row["id"]) if row else None


def of_link(connection: Conn, link_id: str, *, limit: int) -> list[Order]:
    """Return orders of a link whose place no other has taken, the newest first; of a single-use link there is one at
    most."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM orders o WHERE link_id = %s"  # noqa: S608 - constant
        " AND NOT EXISTS (SELECT FROM orders WHERE renewal_of = o.id) ORDER BY created_at DESC LIMIT %s",
        (link_id, limit),
    ).fetchall()
    return [_order(row, "") for row in rows]


def lock_by_on_chain_order_id(connection: Conn, on_chain_order_id: bytes) -> tuple[Order, ChainTerms] | None:
    """Return the order that the router's order id belongs to, locked until the transaction ends; None for a
    stranger's id."""
    found = connection.execute(
        "SELECT * FROM chain_terms WHERE on_chain_order_id = %s", (on_chain_order_id,)
    ).fetchone()
    order = lock(connection, found["order_id"]) if found else None
    return (order, _terms(found)) if found and order else None


def chain_terms(connection: Conn, order_id: str) -> list[ChainTerms]:
    """Read everything that an order asks for on chain, by token."""
    rows = connection.execute("SELECT * FROM chain_terms WHERE order_id = %s ORDER BY token", (order_id,)).fetchall()
    return [_terms(row) for row in rows]


def terms_by_id(connection: Conn, on_chain_order_id: bytes) -> ChainTerms:
    """Return the terms behind a router's order id that is ours.

    Raises:
        NotFound: it is a stranger's.
    """
    row = connection.execute("SELECT * FROM chain_terms WHERE on_chain_order_id = %s", (on_chain_order_id,)).fetchone()
    if row is None:
        raise NotFound("There is no such order.")
    return _terms(row)


def _order(row: Row | None, missing: str) -> Order:
    if row is None:
        raise NotFound(missing)
    quote = Quote(
        row["package"],
        Money(USD, row["price_cents"]),
        Money(DUCAT, row["ducat_units"]),
        Money(DUCAT, row["bonus_units"]),
        Rate(row["rate_nano_usd"]),
        row["rate_tick"],
    )
    return Order(
        row["id"],
        row["link_token"],
        row["citizen_id"],
        quote,
        row["created_at"],
        row["expires_at"],
        row["link_id"],
        row["renewal_of"],
    )


def _terms(row: Row) -> ChainTerms:
    return ChainTerms(
        bytes(row["on_chain_order_id"]),
        row["chain_id"],
        row["router"],
        ASSETS[row["token"]],
        row["token_address"],
        int(row["units"]),
        row["expires_at"],
        bytes(row["salt"]),
    )
