"""What watching for plain transfers costs: requests, bytes and time of a look, with more and more open orders.

Usage: python -m benchmarks.deposits [--transfers 2000]

A look of each kind is timed: one at new blocks, in which people send each other USDC and a few pay an order; and
one when nothing is new. PostgreSQL, the local chain and the watcher share this machine.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cascade.adapters.chain.log_reader import Node
from cascade.chains import Deployment
from cascade.db.database import Database, migrate
from cascade.workers.deposit_watcher import DepositWatcher
from cascade.workers.log_follower import Router
from sandbox.deploy import deploy_router
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.rpc import Rpc, calldata
from sandbox.postgres import EmbeddedPostgres
from tests.support.purchases import open_order

OPEN_ORDERS = (10, 1_000, 100_000)
PAYERS = 10
ROUNDS = 5
PER_BLOCK = 100
UNITS = 1_000


class CountingNode(Node):
    """Counts what goes over the wire."""

    requests = calls = received = 0

    def _post(self, body: bytes, max_bytes: int) -> Any:
        self.requests += 1
        self.calls += len(orjson.loads(body))
        answer = super()._post(body, max_bytes)
        self.received += len(orjson.dumps(answer))
        return answer


@dataclass(frozen=True)
class Look:
    """What one look cost."""

    requests: int
    calls: int
    received: int
    milliseconds: float


def add_orders(database: Database, count: int) -> None:
    """More open orders, like the first one, at addresses of their own."""
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO orders (id, link_token, citizen_id, package, price_cents, ducat_units, bonus_units,"
            " rate_nano_usd, created_at, expires_at) SELECT 'ord_' || translate(substr(encode(sha256(i::text::bytea),"
            " 'hex'), 1, 26), '0189', 'wxyz'), md5(i::text), citizen_id, package, price_cents, ducat_units,"
            " bonus_units, rate_nano_usd, created_at, expires_at"
            " FROM (SELECT * FROM orders ORDER BY created_at LIMIT 1) o, generate_series(1, %s) i",
            (count,),
        )
        connection.execute(
            "INSERT INTO chain_terms SELECT sha256(o.id::bytea), o.id, t.chain_id, t.router, t.token, t.token_address,"
            " t.units, t.expires_at, t.salt, '0x' || encode(substr(sha256(sha256(o.id::bytea)), 1, 20), 'hex')"
            " FROM (SELECT * FROM chain_terms WHERE expires_at > 0 LIMIT 1) t, orders o"
            " WHERE o.id NOT IN (SELECT order_id FROM chain_terms)"
        )
    with database.transaction() as connection:
        connection.execute("ANALYZE")


def send_about(polygon: LocalPolygon, addresses: list[str], count: int) -> None:
    """Transfers among people, and one to each of some addresses; final at the end."""
    rpc, sender = Rpc(polygon.rpc_url), polygon.accounts[3]
    polygon.mint("USDC", sender, count * UNITS)
    polygon.rpc("evm_setAutomine", False)
    recipients = [*addresses, *(f"0x{i + 1:040x}" for i in range(count - len(addresses)))]
    for i, recipient in enumerate(recipients, 1):
        data = "0x" + calldata("transfer(address,uint256)", recipient, UNITS).hex()
        call = {"from": sender, "to": TOKENS["USDC"].address, "data": data, "gas": hex(100_000)}
        rpc("eth_sendTransaction", call)
        if i % PER_BLOCK == 0:
            polygon.mine()
    polygon.mine(3)
    polygon.rpc("evm_setAutomine", True)
    rpc.close()


def look(node: CountingNode, watcher: DepositWatcher) -> Look:
    """One look, counted and timed."""
    node.requests = node.calls = node.received = 0
    begun = time.perf_counter()
    if watcher.step():
        raise SystemExit("one look was not enough: the measurement would be of several")
    return Look(node.requests, node.calls, node.received, (time.perf_counter() - begun) * 1000)


def measure(polygon: LocalPolygon, router: Deployment, url: str, count: int, transfers: int) -> tuple[Look, Look]:
    """A look at new blocks and one at nothing new; medians."""
    database = Database(url)
    database.open()
    migrate(database)
    # As many as pay are real; the others only have to be there.
    payers = [open_order(database, router) for _ in range(min(PAYERS, count))]
    add_orders(database, count - len(payers))
    with database.transaction() as connection:
        rows = connection.execute("SELECT deposit_address FROM chain_terms LIMIT %s", (PAYERS,)).fetchall()
    addresses = [row["deposit_address"] for row in rows]
    node = CountingNode(polygon.rpc_url)
    watcher = DepositWatcher(
        database,
        node,
        Router(router.chain.chain_id, router.router, router.block_number, router.stablecoins),
        check=lambda: None,
        days=30,
        minimum=50_000,
        poll_seconds=1,
        lease_seconds=60,
        log_range_blocks=2_000,
    )
    while watcher.step():
        pass
    busy, idle = [], []
    for _ in track(range(ROUNDS), f"{count} orders"):
        send_about(polygon, addresses, transfers)
        busy.append(look(node, watcher))
        idle.append(look(node, watcher))
    with database.transaction() as connection:
        stored = connection.execute("SELECT count(*) AS n FROM deposit_transfers").fetchone()
    if stored is None or stored["n"] != ROUNDS * len(addresses):
        raise SystemExit(f"{ROUNDS * len(addresses)} transfers went to orders, stored are {stored}")
    node.close()
    database.close()
    return _median(busy), _median(idle)


def _median(looks: list[Look]) -> Look:
    return sorted(looks, key=lambda one: one.milliseconds)[len(looks) // 2]


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=int, default=2_000, help="in the new blocks of a look")
    transfers = parser.parse_args().transfers
    logging.disable(logging.WARNING)
    table = Table(title=f"A look at {transfers} new transfers, and one at nothing new; medians of {ROUNDS}")
    for name in ("open orders", "requests", "calls", "kB", "ms", "idle requests", "idle kB", "idle ms"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder, LocalPolygon.start() as polygon:
        server = EmbeddedPostgres.start(Path(folder) / "postgres")
        record = Path(folder) / "137.json"
        deploy_router(polygon, record)
        router = Deployment.load(record)
        for count in OPEN_ORDERS:
            busy, idle = measure(polygon, router, server.create_database(f"orders_{count}"), count, transfers)
            cells = (busy.requests, busy.calls, f"{busy.received / 1e3:.1f}", f"{busy.milliseconds:.1f}")
            rest = (idle.requests, f"{idle.received / 1e3:.1f}", f"{idle.milliseconds:.1f}")
            table.add_row(f"{count:,}", *(str(cell) for cell in (*cells, *rest)))
        server.stop()
    Console().print(table)


if __name__ == "__main__":
    main()
