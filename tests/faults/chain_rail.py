"""Indexers for tests: each one new, as after a restart, on a database and a chain that may be disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import deposit_address
from cascade.chains import Deployment
from cascade.db import balances, payments, reversals
from cascade.db.database import Database
from cascade.services.order_view import OrderView
from cascade.workers.indexer import Indexer
from cascade.workers.log_follower import Router
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.rpc import Rpc, calldata
from tests.support.purchases import balance_of, open_order, pay

STARTER_UNITS = 100 * 10**6
"""Ducats that each of the orders below brings, in units."""


@dataclass(frozen=True)
class Paid:
    """Orders that are paid on the chain and not yet booked."""

    orders: list[OrderView]
    strangers: int


def pay_orders(polygon: LocalPolygon, database: Database, deployment: Deployment, count: int) -> Paid:
    """Opens orders for citizens of their own and pays each; every block is final at the end.

    One more payment is of an order that another shop sold, which our books do not know.
    """
    orders = [
        open_order(database, deployment, citizen=f"citizen{i}", package="starter", token=("USDC", "USDT")[i % 2])
        for i in range(count)
    ]
    for view in orders:
        pay(polygon, view.terms[0])
    pay(polygon, _forgotten(database, deployment))
    polygon.mine(3)
    return Paid(orders, strangers=1)


SURPLUS_UNITS = 3
"""How much more goes back than was paid."""
COLLECTOR = 7
"""The development account that collects: anybody may."""


def transfer(
    polygon: LocalPolygon, router: Deployment, order_key: bytes, token: str, units: int, *, at: int | None = None
) -> None:
    """Make a plain transfer to an order's deposit address, if wished in a block of a certain second."""
    if at is not None:
        polygon.rpc("evm_setNextBlockTimestamp", at)
    polygon.mint(token, deposit_address(router.router, order_key), units)


def collect(
    polygon: LocalPolygon, router: Deployment, order_key: bytes, token: str, units: int = 0, *, at: int | None = None
) -> None:
    """A plain transfer to an order's deposit address, and somebody who collects it, if wished at a certain second."""
    if units:
        transfer(polygon, router, order_key, token, units)
    if at is not None:
        polygon.rpc("evm_setNextBlockTimestamp", at)
    rpc = Rpc(polygon.rpc_url)
    data = calldata("collect(bytes32,address)", order_key, TOKENS[token].address)
    rpc.receipt(rpc.submit(polygon.accounts[COLLECTOR], router.router, data))
    rpc.close()


def refund(
    polygon: LocalPolygon, router: Deployment, order_key: bytes, token: str, units: int, *, to: str | None = None
) -> None:
    """What the Safe does when it gives money back: allows the router to take it, and calls `refund`.

    Here it acts without its owners' signatures; tests/fork has those.
    """
    polygon.mint(token, router.treasury, units)
    address = TOKENS[token].address
    rpc = Rpc(polygon.rpc_url)
    data = calldata("refund(bytes32,address,address,uint256)", order_key, address, to or polygon.accounts[1], units)
    rpc.receipt(rpc.submit_as(router.treasury, address, calldata("approve(address,uint256)", router.router, units)))
    rpc.receipt(rpc.submit_as(router.treasury, router.router, data))
    rpc.close()


def give_back(polygon: LocalPolygon, router: Deployment, paid: Paid) -> None:
    """Gives the first order's payment back, and more; every block is final at the end."""
    terms = paid.orders[0].terms[0]
    refund(polygon, router, terms.on_chain_order_id, terms.token.code, terms.units + SURPLUS_UNITS)
    polygon.mine(3)


def assert_given_back_once(database: Database, paid: Paid) -> None:
    """The first order is taken back, the surplus waits for an operator, the others are credited."""
    first, *others = paid.orders
    token = first.terms[0].token.code
    assert balance_of(database, f"citizen:{first.order.citizen_id}") == 0
    for view in others:
        assert balance_of(database, f"citizen:{view.order.citizen_id}") == STARTER_UNITS
    assert balance_of(database, "refunds:unmatched", token) == -SURPLUS_UNITS
    with database.transaction() as connection:
        (booked,) = reversals.refunds(connection)
        logs = connection.execute("SELECT FROM chain_refund_logs").rowcount
        parts = connection.execute("SELECT FROM reversals").rowcount
        assert (logs, parts, booked.unmatched.units) == (1, 1, SURPLUS_UNITS)
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []


def follow(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    """Makes all that happened final, and lets an indexer book it."""
    polygon.mine(3)
    with indexer(database, router, polygon.rpc_url, lease_seconds=0.01) as worker:  # the next one need not wait
        while worker.step():
            pass


def _forgotten(database: Database, deployment: Deployment):  # type: ignore[no-untyped-def] # noqa: ANN202
    view = open_order(database, deployment, citizen="stranger", package="starter")
    with database.transaction() as connection:
        connection.execute("DELETE FROM chain_terms WHERE order_id = %s", (view.order.id,))
    return view.terms[0]


@contextmanager
def indexer(
    database: Database,
    deployment: Deployment,
    rpc_url: str,
    *,
    lease_seconds: float = 5.0,
    log_range_blocks: int = 2000,
) -> Iterator[Indexer]:
    """An indexer that has just been started."""
    node = Node(rpc_url, timeout_seconds=2)
    router = Router(deployment.chain.chain_id, deployment.router, deployment.block_number, deployment.stablecoins)
    try:
        yield Indexer(
            database,
            node,
            router,
            check=lambda: None,
            poll_seconds=0.02,
            lease_seconds=lease_seconds,
            log_range_blocks=log_range_blocks,
        )
    finally:
        node.close()


def is_booked(database: Database, paid: Paid) -> bool:
    """Whether every payment is in the books, one way or another."""
    with database.transaction() as connection:
        booked = connection.execute("SELECT count(*) AS count FROM payments").fetchone()
    return booked is not None and booked["count"] == len(paid.orders) + paid.strangers


def assert_booked_once(database: Database, paid: Paid) -> None:
    """Every order credited once, the stranger's payment in suspense, the books in balance."""
    for view in paid.orders:
        assert balance_of(database, f"citizen:{view.order.citizen_id}") == STARTER_UNITS
    with database.transaction() as connection:
        assert len(payments.in_suspense(connection)) == paid.strangers
        assert not any(balances.totals(connection).values())
        assert balances.drifts(connection) == []
        logs = connection.execute("SELECT count(*) AS count, max(seq) AS last FROM chain_logs").fetchone()
        cursor = connection.execute("SELECT last_seq FROM chain_cursors").fetchone()
    assert logs is not None
    assert cursor is not None
    assert logs["count"] == logs["last"] == cursor["last_seq"] == len(paid.orders) + paid.strangers
