"""Write the ledger: only ``services.booking`` and ``credits`` may. Balances are read through ``db.balances``."""

from __future__ import annotations

from cascade.db.database import Conn
from cascade.domain.postings import Posting, Transaction
from cascade.errors import LedgerConflict


def lock(connection: Conn) -> None:
    """Lock the ledger against other writers until the transaction ends (docs/decisions/0019); again is a no-op.

    To be taken before any order: the writer may then lock as many of them as it books for, in any order.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('cascade.ledger'))")


def post(connection: Conn, transaction: Transaction) -> bool:
    """Post a transaction once.

    Returns:
        True when it was posted now; False when the very same one was posted before (a replay).

    Raises:
        LedgerConflict: the reference is taken by a transaction with other contents.
        psycopg.errors.IntegrityError: the database refuses it, e.g. a citizen has not enough.
    """
    contents_hash = transaction.contents_hash()
    inserted = connection.execute(
        "INSERT INTO ledger.transactions (reference, kind, reverses, contents_hash) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (reference) DO NOTHING RETURNING id",
        (transaction.reference, transaction.kind, transaction.reverses, contents_hash),
    ).fetchone()
    if inserted is None:
        _check_replay(connection, transaction.reference, contents_hash)
        return False
    accounts = _accounts(connection, transaction.postings)
    legs = [
        (p.amount.asset.code, accounts[p.debit, p.amount.asset.code], accounts[p.credit, p.amount.asset.code], p.amount)
        for p in transaction.postings
    ]
    connection.execute(
        "INSERT INTO ledger.postings (transaction_id, leg, asset, debit, credit, units)"
        " SELECT %s, leg - 1, asset, debit, credit, units"
        " FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::numeric[])"
        " WITH ORDINALITY AS legs (asset, debit, credit, units, leg)",
        (inserted["id"], [leg[0] for leg in legs], [leg[1] for leg in legs], [leg[2] for leg in legs],
         [leg[3].units for leg in legs]),
    )  # fmt: skip
    return True


def _check_replay(connection: Conn, reference: str, contents_hash: bytes) -> None:
    row = connection.execute(
        "SELECT contents_hash FROM ledger.transactions WHERE reference = %s", (reference,)
    ).fetchone()
    if row is None or bytes(row["contents_hash"]) != contents_hash:
        raise LedgerConflict(
            f"{reference} is in the ledger with other contents than these ({contents_hash.hex()[:12]}):"
            " compare the evidence of both before you post anything"
        )


def _accounts(connection: Conn, postings: tuple[Posting, ...]) -> dict[tuple[str, str], int]:
    """Return ids of all accounts that the postings touch, opened where they are new."""
    wanted = sorted({(name, p.amount.asset.code) for p in postings for name in (p.debit, p.credit)})
    names, assets = [name for name, _ in wanted], [asset for _, asset in wanted]
    connection.execute(
        "INSERT INTO ledger.accounts (name, asset) SELECT * FROM unnest(%s::text[], %s::text[])"
        " ON CONFLICT (name, asset) DO NOTHING",
        (names, assets),
    )
    rows = connection.execute(
        "SELECT a.id, a.name, a.asset FROM ledger.accounts a"
        " JOIN unnest(%s::text[], %s::text[]) AS wanted (name, asset) USING (name, asset)",
        (names, assets),
    ).fetchall()
    return {(row["name"], row["asset"]): row["id"] for row in rows}
