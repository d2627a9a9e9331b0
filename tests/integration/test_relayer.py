"""The relayer on a real chain: what payers signed is sent, once, and the hot key loses at most its limit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from cascade.adapters.chain.router_logs import deposit_address
from cascade.chains import Deployment
from cascade.db import relay_queue
from cascade.db.database import Database
from cascade.domain.gas_fees import GWEI, FeePolicy
from cascade.domain.relay_items import RejectReason, RelayState
from cascade.services.order_view import OrderView
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.rpc import calldata
from tests.faults.chain_rail import follow
from tests.faults.relaying import HOT_KEY, alarm, items, no_blocks, nonces, order_of, payer, queue, relayer, sign
from tests.support.purchases import balance_of

STARTER_UNITS = 100 * 10**6


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


def take_away(polygon: LocalPolygon, view: OrderView) -> None:
    """The second payer's money goes elsewhere, in the next block and ahead of us."""
    sender = payer(1).address
    away = calldata("transfer(address,uint256)", polygon.accounts[0], view.terms[0].units)
    polygon.rpc("anvil_impersonateAccount", sender)
    polygon.rpc("anvil_setBalance", sender, hex(10**18))
    fees = {"maxFeePerGas": hex(2000 * GWEI), "maxPriorityFeePerGas": hex(1000 * GWEI)}
    call = {"from": sender, "to": TOKENS["USDC"].address, "data": "0x" + away.hex(), "gas": hex(100_000)}
    polygon.rpc("eth_sendTransaction", call | fees)


def settle(polygon: LocalPolygon, database: Database, router: Deployment, steps: int = 3) -> None:
    """Let a relayer work until all is final."""
    with relayer(database, router, polygon.rpc_url) as worker:
        for _ in range(steps):
            worker.step()
            polygon.mine(3)
        worker.step()


def test_a_payer_without_pol_pays_with_a_signature(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    views = [order_of(polygon, database, router, n, token=("USDC", "USDT")[n]) for n in range(2)]
    for n, view in enumerate(views):
        assert polygon.rpc("eth_getBalance", payer(n).address, "latest") == "0x0" or n == 1
        queue(database, view, payer(n))
        settle(polygon, database, router)
    follow(polygon, database, router)
    for n, view in enumerate(views):
        assert [item.state for item in items(database, view)] == [RelayState.SETTLED]
        assert balance_of(database, f"citizen:citizen{n}") == STARTER_UNITS
    assert [state for _, state in nonces(database)] == ["final", "final"]


def test_what_waits_goes_together_and_one_that_fails_takes_no_other_down(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    views = [order_of(polygon, database, router, n, token=("USDC", "USDT")[n % 2]) for n in range(5)]
    for n, view in enumerate(views):
        # The third payer's signature is another order's.
        queue(database, view, payer(n), sign(views[0], payer(n)) if n == 2 else None)
    settle(polygon, database, router)
    follow(polygon, database, router)
    states = [items(database, view)[0].state for view in views]
    assert states == [RelayState.REFUSED if n == 2 else RelayState.SETTLED for n in range(5)]
    assert items(database, views[2])[0].reason is RejectReason.WRONG_SIGNER
    assert [balance_of(database, f"citizen:citizen{n}") for n in range(5)] == [
        0 if n == 2 else STARTER_UNITS for n in range(5)
    ]
    assert len(nonces(database)) == 1


def test_what_fails_only_on_chain_leaves_the_others_alone_and_is_refused_in_the_end(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    views = [order_of(polygon, database, router, n) for n in range(3)]
    for n, view in enumerate(views):
        queue(database, view, payer(n))
    with relayer(database, router, polygon.rpc_url) as worker:
        with no_blocks(polygon):
            worker.step()
            take_away(polygon, views[1])  # between the look and the block
            polygon.mine(3)
        for _ in range(3):
            worker.step()
            polygon.mine(3)
    follow(polygon, database, router)
    assert [items(database, view)[0].state for view in views] == [
        RelayState.SETTLED,
        RelayState.REFUSED,
        RelayState.SETTLED,
    ]
    assert items(database, views[1])[0].reason is RejectReason.INSUFFICIENT_BALANCE


def test_what_fails_on_chain_again_and_again_is_sent_twice_and_no_more(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    """Whoever makes a payment fail in the moment that it is sent must not empty the hot key."""
    view = order_of(polygon, database, router, 1)
    queue(database, view, payer(1))
    with relayer(database, router, polygon.rpc_url) as worker:
        for _ in range(3):
            with no_blocks(polygon):
                worker.step()
                take_away(polygon, view)
                polygon.mine(3)
            polygon.mint("USDC", payer(1).address, view.terms[0].units)
            polygon.mine(3)
    (item,) = items(database, view)
    assert (item.state, item.reason) == (RelayState.REFUSED, RejectReason.REVERTED)
    assert len(nonces(database)) == 2


def test_plain_transfers_are_collected_together(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    views = [order_of(polygon, database, router, n) for n in range(3)]
    for view in views:
        terms = view.terms[0]
        polygon.mint("USDC", deposit_address(router.router, terms.on_chain_order_id), terms.units)
        with database.transaction() as connection:
            for _ in range(2):  # seen twice, collected once
                relay_queue.enqueue_collect(
                    connection,
                    order_id=view.order.id,
                    on_chain_order_id=terms.on_chain_order_id,
                    token_address=terms.token_address,
                )
    settle(polygon, database, router)
    follow(polygon, database, router)
    for n, view in enumerate(views):
        assert [item.state for item in items(database, view)] == [RelayState.SETTLED]
        assert balance_of(database, f"citizen:citizen{n}") == STARTER_UNITS
    assert len(nonces(database)) == 1


def test_a_payment_waits_for_others_but_not_longer_than_allowed(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    view = order_of(polygon, database, router, 0)
    queue(database, view, payer(0))
    with relayer(database, router, polygon.rpc_url, wait_seconds=3600.0) as worker:
        worker.step()
    assert nonces(database) == []
    with relayer(database, router, polygon.rpc_url, wait_seconds=3600.0, batch=1) as worker:
        worker.step()  # a full batch waits for nobody
    assert len(nonces(database)) == 1


def test_the_hot_key_loses_at_most_its_limit(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    views = [order_of(polygon, database, router, n) for n in range(3)]
    before = int(polygon.rpc("eth_getBalance", polygon.accounts[HOT_KEY], "latest"), 16)
    limit = 6 * 10**16  # half of it for one lane, which is one transaction at most and what others really cost
    with relayer(database, router, polygon.rpc_url, per_day_wei=limit, batch=1) as worker:
        for n, view in enumerate(views):
            queue(database, view, payer(n))
        for _ in range(6):
            worker.step()
            polygon.mine(3)
    spent = before - int(polygon.rpc("eth_getBalance", polygon.accounts[HOT_KEY], "latest"), 16)
    assert 0 < spent <= limit
    assert RelayState.QUEUED in [items(database, view)[0].state for view in views]
    assert "the limit a day is reached" in (alarm(database) or "")


def test_nothing_is_sent_while_gas_is_dearer_than_allowed(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    view = order_of(polygon, database, router, 0)
    queue(database, view, payer(0))
    with relayer(database, router, polygon.rpc_url, fees=FeePolicy(ceiling=26 * GWEI)) as worker:
        worker.step()
        assert nonces(database) == []
        assert "above the ceiling" in (alarm(database) or "")
    settle(polygon, database, router)
    assert items(database, view)[0].state is RelayState.SETTLED
    assert alarm(database) is None


def test_a_low_balance_is_an_alarm(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    polygon.rpc("anvil_setBalance", polygon.accounts[HOT_KEY], hex(10**15))
    with relayer(database, router, polygon.rpc_url) as worker:
        worker.step()
    assert "holds 1000000000000000 wei" in (alarm(database) or "")


def test_a_stuck_transaction_is_replaced_and_its_nonce_used_once(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    view = order_of(polygon, database, router, 0)
    queue(database, view, payer(0))
    with relayer(database, router, polygon.rpc_url, stuck_seconds=0.0) as worker:
        with no_blocks(polygon):
            for _ in range(3):
                worker.step()
        with database.transaction() as connection:
            fees = connection.execute("SELECT max_fee_wei, tip_wei FROM relay_attempts ORDER BY max_fee_wei").fetchall()
        assert len(fees) == 3
        for former, later in pairwise(fees):
            assert all(later[key] >= former[key] * 9 / 8 for key in ("max_fee_wei", "tip_wei"))
        polygon.mine(4)
        worker.step()
    assert [state for _, state in nonces(database)] == ["final"]
    assert items(database, view)[0].state is RelayState.SETTLED


def test_an_item_of_a_stranger_is_no_second_payment(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    """The order is paid from a wallet while a signature for it waits."""
    from tests.support.purchases import pay

    view = order_of(polygon, database, router, 0)
    queue(database, view, payer(0))
    pay(polygon, view.terms[0])
    settle(polygon, database, router)
    follow(polygon, database, router)
    assert items(database, view)[0].reason is RejectReason.ALREADY_PAID
    assert nonces(database) == []
    assert balance_of(database, "citizen:citizen0") == STARTER_UNITS


def test_the_same_signature_again_is_the_item_that_is_there(
    polygon: LocalPolygon, database: Database, router: Deployment
) -> None:
    view = order_of(polygon, database, router, 0)
    first = queue(database, view, payer(0))
    assert replace(queue(database, view, payer(0))) == first


def test_a_lane_at_its_limit_delays_no_other(polygon: LocalPolygon, database: Database, router: Deployment) -> None:
    """Signatures have used up their part of the day; a plain transfer has one of its own."""
    limit = 6 * 10**16
    views = [order_of(polygon, database, router, n) for n in range(4)]
    with relayer(database, router, polygon.rpc_url, per_day_wei=limit, batch=1) as worker:
        for n, view in enumerate(views[:3]):
            queue(database, view, payer(n))
        for _ in range(5):
            worker.step()
            polygon.mine(3)
        assert "the limit a day is reached for keys" in (alarm(database) or "")
        terms = views[3].terms[0]
        polygon.mint("USDC", deposit_address(router.router, terms.on_chain_order_id), terms.units)
        with database.transaction() as connection:
            relay_queue.enqueue_collect(
                connection,
                order_id=views[3].order.id,
                on_chain_order_id=terms.on_chain_order_id,
                token_address=terms.token_address,
            )
        worker.step()
        polygon.mine(3)
        worker.step()
    assert items(database, views[3])[0].state is RelayState.SETTLED
    assert RelayState.QUEUED in [items(database, view)[0].state for view in views[:3]]
