"""Reports of the ledger: ducats that are owed to us, and the audit of all sums."""

from __future__ import annotations

import sys

import click

from cascade.cli.terminal import Record, as_json_option, console, opened, show, show_json
from cascade.db import balances, reversals


@click.command()
@click.option("--limit", default=100, show_default=True, help="Most debts to show.")
@as_json_option
def receivables(limit: int, as_json: bool) -> None:
    """List ducats that were spent before the money for them went back, the largest debt first."""
    with opened() as app, app.database.transaction() as connection:
        owed = reversals.receivables(connection, limit=limit)
    records: list[Record] = [
        {"order_id": debt.order_id, "citizen_id": debt.citizen_id, "owed": debt.owed} for debt in owed
    ]
    show(records, "Nobody owes any ducats.", as_json=as_json)


@click.command()
@as_json_option
def audit(as_json: bool) -> None:
    """Add up the whole ledger; exit 1 when a sum is not zero or a kept balance has drifted."""
    with opened() as app, app.database.transaction() as connection:
        totals, drifts = balances.totals(connection), balances.drifts(connection)
    if as_json:
        sums = {asset: str(units) for asset, units in totals.items()}
        show_json(
            {
                "sums_in_units": sums,
                "drifts": [{"account": one.account, "kept": one.kept, "posted": one.posted} for one in drifts],
            }
        )
        sys.exit(1 if drifts or any(totals.values()) else 0)
    for drift in drifts:
        console.print(f"{drift.account} {drift.kept.asset.code}: kept {drift.kept}, posted {drift.posted}")
    for asset, units in totals.items():
        console.print(f"{asset}: all postings sum to {units}")
    if drifts or any(totals.values()):
        sys.exit(1)
