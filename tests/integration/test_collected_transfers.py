"""Plain transfers that somebody collects at an order's deposit address: real tokens, the real router, any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cascade import bootstrap
from cascade.adapters.chain import router_logs
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import deposit_address
from cascade.chains import Deployment
from cascade.cli import cli
from cascade.db import payments
from cascade.db.database import Database
from cascade.db.payments import BookedPayment
from cascade.domain.orders import OrderStatus
from cascade.domain.payments import Outcome, SuspenseReason
from cascade.errors import DeploymentMismatch, NodeUnavailable
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from sandbox.polygon import LocalPolygon
from sandbox.polygon.rpc import Rpc
from tests.faults.chain_rail import collect, follow, transfer
from tests.support.purchases import CATALOGUE, balance_of, open_order, pay

PRICE = 250_000_000
DUCATS = 2_750_000_000


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def view(database: Database, router: Deployment) -> OrderView:
    return open_order(database, router)


@pytest.fixture
def key(view: OrderView) -> bytes:
    return view.terms[0].on_chain_order_id


def booked(database: Database, view: OrderView) -> list[BookedPayment]:
    with database.transaction() as connection:
        return payments.of_order(connection, view.order.id)


LogEvent = tuple[Outcome, SuspenseReason | None]
WHOLE, PART = (Outcome.FULFILLED, None), (Outcome.CREDITED, None)


def waits(reason: SuspenseReason) -> LogEvent:
    return Outcome.SUSPENSE, reason


def test_the_address_is_the_routers_own(polygon: LocalPolygon, router: Deployment) -> None:
    rpc = Rpc(polygon.rpc_url)
    for order_key in (b"\0" * 32, b"\xff" * 32, bytes(range(32))):
        told = rpc.call(router.router, "depositAddress(bytes32)", order_key, returns="address")
        assert deposit_address(router.router, order_key).lower() == told
    assert rpc.call(router.router, "depositCodeHash()", returns="bytes32") == router_logs.DEPOSIT_CODE_HASH
    rpc.close()


def test_the_exact_amount_in_time_is_credited(
    polygon: LocalPolygon, database: Database, router: Deployment, view: OrderView, key: bytes
) -> None:
    collect(polygon, router, key, "USDC", PRICE)
    follow(polygon, database, router)
    (payment,) = booked(database, view)
    assert (payment.outcome, payment.payer) == (Outcome.FULFILLED, deposit_address(router.router, key))
    assert balance_of(database, "citizen:Marco_Polo") == DUCATS
    with database.transaction() as connection:
        assert Checkout(CATALOGUE, router, 15).view(connection, view.order).status is OrderStatus.FULFILLED
        log = connection.execute("SELECT block_time, block_number FROM chain_logs").fetchone()
    assert log is not None
    assert log["block_time"] == int(
        polygon.rpc("eth_getBlockByNumber", hex(log["block_number"]), False)["timestamp"], 16
    )


def test_a_late_one_waits_with_a_next_step_of_its_own(
    polygon: LocalPolygon,
    database: Database,
    database_url: str,
    deployment: Path,
    router: Deployment,
    view: OrderView,
    key: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transfer(polygon, router, key, "USDC", PRICE, at=view.terms[0].expires_at)
    collect(polygon, router, key, "USDC")
    follow(polygon, database, router)
    for name, value in (
        ("DATABASE_URL", database_url),
        ("CASCADE_RPC_URL", polygon.rpc_url),
        ("CASCADE_DEPLOYMENT", str(deployment)),
    ):
        monkeypatch.setenv(name, value)
    shown = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, "suspense").output
    assert "The transfer came after the price had run out" in shown
    assert "Never send to the deposit address" in shown
    assert f"0x{key.hex()}" in shown  # the id under which the Safe refunds it
    with database.transaction() as connection:
        told = connection.execute("SELECT data FROM order_events WHERE type = 'payment.in_review'").fetchall()
    assert [event["data"]["reason"] for event in told] == ["late"]


Deed = Callable[[LocalPolygon, Deployment, OrderView], None]


def collected(token: str, units: int, times: int = 1) -> Deed:
    def act(polygon: LocalPolygon, router: Deployment, view: OrderView) -> None:
        for _ in range(times):
            collect(polygon, router, view.terms[0].on_chain_order_id, token, units)

    return act


def paid_too(first: bool) -> Deed:
    def act(polygon: LocalPolygon, router: Deployment, view: OrderView) -> None:
        if first:
            pay(polygon, view.terms[0])
        collected("USDC", PRICE)(polygon, router, view)
        if not first:
            pay(polygon, view.terms[0])  # what was collected does not spend the id

    return act


@pytest.mark.parametrize(
    ("deed", "expected", "ducats"),
    [
        (collected("USDC", PRICE - 1), [PART], 2_499_999_990),
        (collected("USDC", PRICE + 1), [WHOLE], DUCATS + 10),
        (collected("USDC", 2 * PRICE + 1), [waits(SuspenseReason.OVER)], 0),
        (collected("USDT", PRICE), [WHOLE], DUCATS),
        (collected("USDC", PRICE, times=2), [WHOLE, waits(SuspenseReason.DUPLICATE)], DUCATS),
        (collected("USDC", PRICE // 2, times=2), [PART, WHOLE], DUCATS),
        (collected("USDC", PRICE // 2, times=3), [PART, WHOLE, waits(SuspenseReason.DUPLICATE)], DUCATS),
        (paid_too(first=True), [WHOLE, waits(SuspenseReason.DUPLICATE)], DUCATS),
        (paid_too(first=False), [WHOLE, waits(SuspenseReason.DUPLICATE)], DUCATS),
    ],
)
def test_any_amount_is_credited_or_waits_with_its_reason(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    view: OrderView,
    deed: Deed,
    expected: list[LogEvent],
    ducats: int,
) -> None:
    deed(polygon, router, view)
    follow(polygon, database, router)
    assert [(payment.outcome, payment.reason) for payment in booked(database, view)] == expected
    assert balance_of(database, "citizen:Marco_Polo") == ducats


def test_under_an_id_of_nobodys_order_it_waits(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    collect(polygon, router, b"\7" * 32, "USDT", 9 * 10**4)
    follow(polygon, database, router)
    with database.transaction() as connection:
        (waiting,) = payments.in_suspense(connection)
    assert (waiting.reason, waiting.order_key, waiting.collected) == (SuspenseReason.UNKNOWN_ORDER, b"\7" * 32, True)


class Lying(Node):
    """Says something else of the headers that it is asked for after the logs."""

    def __init__(self, url: str, lie: Callable[[Any], Any]) -> None:
        super().__init__(url)
        self._lie = lie

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        answers = super().batch(calls)
        return [self._lie(answer) for answer in answers] if len(calls) == 1 else answers


@pytest.fixture
def stretch(polygon: LocalPolygon, router: Deployment, key: bytes) -> tuple[Deployment, tuple[int, bytes], int]:
    """Blocks in which something was collected, and not in the last of them."""
    start = int(polygon.rpc("eth_blockNumber"), 16)
    collect(polygon, router, key, "USDC", PRICE)
    polygon.mine(2)
    block_hash = bytes.fromhex(polygon.rpc("eth_getBlockByNumber", hex(start), False)["hash"][2:])
    return router, (start, block_hash), start + 4


LIES = {
    "no header": lambda _: None,
    "another block": lambda header: header | {"number": "0x1"},
    "another fork": lambda header: header | {"hash": "0x" + "ab" * 32},
    "a time before the stretch": lambda header: header | {"timestamp": "0x1"},
    "a time after the stretch": lambda header: header | {"timestamp": "0xffffffffff"},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_time_that_cannot_be_trusted_is_refused(
    polygon: LocalPolygon, stretch: tuple[Deployment, tuple[int, bytes], int], lie: Callable[[Any], Any]
) -> None:
    router, after, to = stretch
    node = Lying(polygon.rpc_url, lambda header: header)
    (event,) = node.events(router.router, after, to).payments
    assert event.block_time is not None
    node.close()
    node = Lying(polygon.rpc_url, lie)
    with pytest.raises(NodeUnavailable):
        node.events(router.router, after, to)
    node.close()


def test_a_router_that_creates_other_code_ends_the_start(
    polygon: LocalPolygon, router: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(polygon.rpc_url)
    bootstrap.check_deployment(router, node)
    monkeypatch.setattr(bootstrap, "DEPOSIT_CODE_HASH", b"\1" * 32)
    with pytest.raises(DeploymentMismatch, match="run the release that the router was deployed with"):
        bootstrap.check_deployment(router, node)
    node.close()
