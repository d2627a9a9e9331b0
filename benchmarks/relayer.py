"""What a payment by signature costs through the relayer, alone and with others in one transaction.

python -m benchmarks.relayer

Real USDC, the real router on a local Polygon, the real relayer on PostgreSQL. Gas is exact; POL is at 30 gwei.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascade.chains import Deployment
from cascade.db.database import Database, migrate
from sandbox.deploy import deploy_router
from sandbox.polygon import LocalPolygon
from sandbox.postgres import EmbeddedPostgres
from tests.faults.relaying import POL, order_of, payer, queue, relayer

SIZES = (1, 5, 20, 35)
"""35 are the most that fit into a transaction's gas."""
GWEI = 30


def main() -> None:
    """Print the table."""
    table = Table(title=f"A payment in USDC by signature, sent by the relayer; POL at {GWEI} gwei")
    for name in ("payments in one transaction", "gas each", "POL each"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder, LocalPolygon.start() as polygon:
        postgres = EmbeddedPostgres.start(Path(folder) / "pg")
        try:
            record = Path(folder) / "137.json"
            deploy_router(polygon, record)
            router = Deployment.load(record)
            database = Database(postgres.create_database("relayer"))
            database.open()
            migrate(database)
            _pay(polygon, database, router, 1, first=1000)  # both sides have held the token before
            first = 0
            for size in SIZES:
                gas = _pay(polygon, database, router, size, first=first) / size
                table.add_row(str(size), f"{gas:,.0f}", f"{gas * GWEI * 10**9 / POL:.5f}")
                first += size
            database.close()
        finally:
            postgres.stop()
    Console().print(table)


def _pay(polygon: LocalPolygon, database: Database, router: Deployment, size: int, *, first: int) -> int:
    """So many payments at once; returns the gas of their one transaction."""
    for number in range(first, first + size):
        view = order_of(polygon, database, router, number)
        polygon.mint("USDC", payer(number).address, 1)  # who is left with nothing gets gas back, which would flatter us
        queue(database, view, payer(number))
    with relayer(database, router, polygon.rpc_url, batch=size) as worker:
        worker.step()
        polygon.mine(3)
        worker.step()
    with database.transaction() as connection:
        row = connection.execute(
            "SELECT a.hash, t.state FROM relay_transactions t JOIN relay_attempts a ON a.transaction_id = t.id"
            " ORDER BY t.id DESC LIMIT 1"
        ).fetchone()
        paid = connection.execute("SELECT count(*) AS n FROM relay_items WHERE state = 'settled'").fetchone()
    if row is None or paid is None or row["state"] != "final" or paid["n"] < size:
        raise SystemExit(f"{size} payments were to be final, and are not: {row}")
    return int(polygon.rpc("eth_getTransactionReceipt", "0x" + bytes(row["hash"]).hex())["gasUsed"], 16)


if __name__ == "__main__":
    main()
