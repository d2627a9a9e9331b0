"""The read-only door to the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cascade.db.database import Conn
from cascade.domain.money import ASSETS, DUCAT, Money
from cascade.domain.postings import SALES, SalesVolume, citizen, venice


@dataclass(frozen=True, slots=True)
class Drift:
    """An account whose kept balance is not the sum of its postings. There must be none."""

    account: str
    kept: Money
    posted: Money


def citizen_ducats(connection: Conn, citizen_id: str) -> Money:
    """Return ducats that a citizen holds with us; zero for somebody who never bought any."""
    return balance(connection, citizen(citizen_id), DUCAT.code)


def ducats_in_venice(connection: Conn, citizen_id: str) -> Money:
    """Return ducats that were handed over to Venice for a citizen."""
    return balance(connection, venice(citizen_id), DUCAT.code)


def balance(connection: Conn, account: str, asset: str) -> Money:
    """Return credits minus debits of one account; zero when it was never used."""
    row = connection.execute(
        "SELECT units FROM ledger.accounts WHERE name = %s AND asset = %s", (account, asset)
    ).fetchone()
    return Money(ASSETS[asset], int(row["units"]) if row else 0)


def check_now(connection: Conn) -> None:
    """Let the database check at once what it would check at the end of the transaction.

    Raises:
        psycopg.errors.IntegrityError: what was posted is refused.
    """
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    connection.execute("SET CONSTRAINTS ALL DEFERRED")


def totals(connection: Conn) -> dict[str, int]:
    """Sum of all postings by asset, in units, both sides counted: zero for each, or the books are wrong."""
    rows = connection.execute("SELECT asset, sum(units) AS units FROM ledger.journal GROUP BY asset").fetchall()
    return {row["asset"]: int(row["units"]) for row in rows}


def drifts(connection: Conn) -> list[Drift]:
    """Return accounts whose kept balance differs from the sum of their postings."""
    rows = connection.execute(
        "SELECT a.name, a.asset, a.units AS kept, coalesce(sum(j.units), 0) AS posted"
        " FROM ledger.accounts a LEFT JOIN ledger.journal j ON j.account = a.name AND j.asset = a.asset"
        " GROUP BY a.id HAVING a.units <> coalesce(sum(j.units), 0) ORDER BY a.name, a.asset"
    ).fetchall()
    return [
        Drift(r["name"], Money(ASSETS[r["asset"]], int(r["kept"])), Money(ASSETS[r["asset"]], int(r["posted"])))
        for r in rows
    ]


def sold(connection: Conn, at: datetime) -> SalesVolume:
    """Return what was sold up to a moment, UTC, less what went back; a dollar stablecoin is a dollar."""
    row = connection.execute(
        # Bounded: a sum beyond what the database can count would end the keeping of the rate.
        "SELECT greatest(-1e15, least(1e15, coalesce(sum(micro) FILTER (WHERE posted_at > %(day)s), 0)))::bigint"
        " AS last_day,"
        " greatest(-1e15, least(1e15, coalesce(sum(micro) FILTER (WHERE posted_at <= %(day)s), 0)))::bigint"
        " AS week_before,"
        " min(posted_at) AS first_at FROM ("
        " SELECT j.posted_at, j.units * 10::numeric ^ (6 - a.scale) AS micro FROM ledger.journal j"
        " JOIN ledger.assets a ON a.code = j.asset"
        " WHERE j.account = %(account)s AND j.posted_at > %(start)s AND j.posted_at <= %(at)s) AS moved",
        {"account": SALES, "at": at, "day": at - timedelta(days=1), "start": at - timedelta(days=8)},
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return SalesVolume(row["last_day"], row["week_before"], row["first_at"])
