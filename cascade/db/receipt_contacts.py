"""The address for the receipts of an order. Only the dispatcher reads it."""

from __future__ import annotations

from cascade.db.database import Conn


def insert(connection: Conn, order_id: str, email: str) -> None:
    """Keep the address for an order's receipts; a later one replaces it."""
    connection.execute(
        "INSERT INTO order_contacts (order_id, email) VALUES (%s, %s)"
        " ON CONFLICT (order_id) DO UPDATE SET email = excluded.email",
        (order_id, email),
    )


def email_of(connection: Conn, order_id: str) -> str | None:
    """Return the address for an order's receipts; None when the citizen gave none."""
    row = connection.execute("SELECT email FROM order_contacts WHERE order_id = %s", (order_id,)).fetchone()
    return row["email"] if row else None
