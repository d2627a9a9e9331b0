"""Relayers for tests: each one new, as after a restart; and payers who sign and never hold POL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from eth_account import Account
from eth_account.signers.local import LocalAccount

from cascade.adapters.chain import eip3009_permit2
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.signer import LocalSigner
from cascade.chains import Deployment
from cascade.db import orders, relay_queue
from cascade.db.database import Database
from cascade.domain.relay_batch_rules import RelayPolicy
from cascade.domain.relay_items import RelayItem
from cascade.services.order_view import OrderView
from cascade.workers.relayer import Relayer
from sandbox.deploy import RELAYER
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.accounts import development_keys
from sandbox.polygon.rpc import Rpc, calldata
from tests.support.purchases import open_order

POL = 10**18
HOT_KEY = RELAYER
"""The development account whose key sends."""
PERMIT2 = eip3009_permit2.PERMIT2
POLICY = RelayPolicy(per_minute_wei=50 * POL, per_day_wei=50 * POL, low_balance_wei=POL, wait_seconds=0.0)


def payer(number: int) -> LocalAccount:
    """An account that has never had POL."""
    account: LocalAccount = Account.from_key((10**6 + number).to_bytes(32))
    return account


def sign(view: OrderView, account: LocalAccount) -> bytes:
    """What a wallet gives back for the order's typed data."""
    data = eip3009_permit2.typed_data(view.terms[0], account.address)
    return bytes(Account.sign_typed_data(account.key, full_message=data).signature)


def order_of(
    polygon: LocalPolygon,
    database: Database,
    router: Deployment,
    number: int,
    *,
    token: str = "USDC",  # noqa: S107 - a stablecoin
) -> OrderView:
    """An order of a citizen of its own, and its payer with the price."""
    view = open_order(database, router, citizen=f"citizen{number}", package="starter", token=token)
    account = payer(number)
    polygon.mint(token, account.address, view.terms[0].units)
    if token == "USDT":
        rpc = Rpc(polygon.rpc_url)
        approve = calldata("approve(address,uint256)", PERMIT2, 2**256 - 1)
        rpc.receipt(rpc.submit_as(account.address, TOKENS["USDT"].address, approve))
        rpc.close()
    return view


def queue(database: Database, view: OrderView, account: LocalAccount, signature: bytes | None = None) -> RelayItem:
    """Queue a payment without any check, as one whose payer has changed something since it was checked."""
    terms = view.terms[0]
    with database.transaction() as connection:
        orders.lock(connection, view.order.id)
        return relay_queue.enqueue_signed(
            connection,
            order_id=view.order.id,
            on_chain_order_id=terms.on_chain_order_id,
            kind=eip3009_permit2.kind_of(terms),
            token_address=terms.token_address,
            payer=account.address,
            signature=signature or sign(view, account),
            has_code=False,
        )


def items(database: Database, view: OrderView) -> list[RelayItem]:
    """What became of an order's items."""
    with database.transaction() as connection:
        return relay_queue.of_order(connection, view.order.id)


@contextmanager
def relayer(
    database: Database,
    router: Deployment,
    rpc_url: str,
    *,
    lease_seconds: float = 0.01,
    **policy: object,
) -> Iterator[Relayer]:
    """A relayer; keyword arguments change its policy."""
    node = Node(rpc_url, timeout_seconds=2)
    try:
        yield Relayer(
            database,
            node,
            LocalSigner.from_hex(development_keys()[HOT_KEY]),
            chain_id=router.chain.chain_id,
            router=router.router,
            policy=replace(POLICY, **policy),  # type: ignore[arg-type]
            check=lambda: None,
            poll_seconds=0.01,
            lease_seconds=lease_seconds,
        )
    finally:
        node.close()


@contextmanager
def no_blocks(polygon: LocalPolygon) -> Iterator[None]:
    """For the time of the block, what is sent is in no block but those that a test mines."""
    polygon.rpc("evm_setAutomine", False)
    try:
        yield
    finally:
        polygon.rpc("evm_setAutomine", True)


def nonces(database: Database) -> list[tuple[int, str]]:
    """All that were given, in order, with the state of each."""
    with database.transaction() as connection:
        rows = connection.execute("SELECT nonce, state FROM relay_transactions ORDER BY nonce").fetchall()
    return [(row["nonce"], row["state"]) for row in rows]


def alarm(database: Database) -> str | None:
    """What the operator is told."""
    with database.transaction() as connection:
        row = connection.execute("SELECT alarm FROM relay_senders").fetchone()
    return row["alarm"] if row else None
