"""Payment links."""

from __future__ import annotations

from dataclasses import dataclass

from cascade.db.database import Conn, Row
from cascade.domain.money import USD, Money
from cascade.domain.payment_links import PaymentLink
from cascade.errors import NotFound

_UNKNOWN = "There is no such payment link."
_USES = (
    "SELECT l.*, (SELECT count(*) FROM orders o WHERE o.link_id = l.id) AS opened,"
    " (SELECT count(*) FROM orders o JOIN payments p ON p.order_id = o.id AND p.outcome = 'fulfilled'"
    " WHERE o.link_id = l.id) AS paid FROM payment_links l"
)


@dataclass(frozen=True, slots=True)
class LinkUse:
    """A link, how many orders it has opened, and how many of them were paid, also when that money went back since."""

    link: PaymentLink
    opened: int
    paid: int


def insert(connection: Conn, link: PaymentLink) -> None:
    """Store a new link."""
    connection.execute(
        "INSERT INTO payment_links (id, token, package, usd_cents, citizen_id, single_use, created_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            link.id,
            link.token,
            link.package,
            None if link.usd is None else link.usd.units,
            link.citizen_id,
            link.single_use,
            link.created_at,
            link.expires_at,
        ),
    )


def lock(connection: Conn, link_id: str) -> PaymentLink:
    """Return the link with this id, locked until the transaction ends. Lock it before any of its orders.

    Raises:
        NotFound: there is none.
    """
    return _link(connection.execute("SELECT * FROM payment_links WHERE id = %s FOR UPDATE", (link_id,)).fetchone())


def lock_by_token(connection: Conn, token: str) -> PaymentLink:
    """Return the link that this token opens, locked until the transaction ends. Lock it before any of its orders.

    Raises:
        NotFound: there is none.
    """
    return _link(connection.execute("SELECT * FROM payment_links WHERE token = %s FOR UPDATE", (token,)).fetchone())


def by_token(connection: Conn, token: str) -> LinkUse:
    """Return the link that this token opens.

    Raises:
        NotFound: there is none.
    """
    return _use(connection.execute(f"{_USES} WHERE l.token = %s", (token,)).fetchone())


def by_id(connection: Conn, link_id: str) -> LinkUse:
    """Return the link with this id.

    Raises:
        NotFound: there is none.
    """
    return _use(connection.execute(f"{_USES} WHERE l.id = %s", (link_id,)).fetchone())


def newest(connection: Conn, *, limit: int, before: str | None = None) -> list[LinkUse]:
    """Return links, the newest first; ``before``: only those that are older than the link with this id.

    Raises:
        NotFound: there is no link ``before``.
    """
    if before is not None:
        by_id(connection, before)
    rows = connection.execute(
        f"{_USES} WHERE %(before)s::text IS NULL"  # noqa: S608 - constant
        " OR l.number < (SELECT number FROM payment_links WHERE id = %(before)s)"
        " ORDER BY l.number DESC LIMIT %(limit)s",
        {"before": before, "limit": limit},
    )
    return [_use(row) for row in rows.fetchall()]


def deactivate(connection: Conn, link_id: str) -> LinkUse:
    """Let a link open nothing any more; again is a no-op. It waits for a request that is opening it.

    Raises:
        NotFound: there is no such link.
    """
    connection.execute(
        "UPDATE payment_links SET deactivated_at = clock_timestamp() WHERE id = %s AND deactivated_at IS NULL",
        (link_id,),
    )
    return by_id(connection, link_id)


def _use(row: Row | None) -> LinkUse:
    link = _link(row)
    assert row is not None  # noqa: S101 - or it would have raised
    return LinkUse(link, row["opened"], row["paid"])


def _link(row: Row | None) -> PaymentLink:
    if row is None:
        raise NotFound(_UNKNOWN)
    return PaymentLink(
        row["id"],
        row["token"],
        row["package"],
        None if row["usd_cents"] is None else Money(USD, row["usd_cents"]),
        row["citizen_id"],
        row["single_use"],
        row["created_at"],
        row["expires_at"],
        row["deactivated_at"],
    )
