"""Payers whose code attacks the relayer: beside each of them twenty honest payments are credited within their time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from cascade.adapters.chain.log_reader import Node
from cascade.chains import Deployment
from cascade.db.database import Database
from cascade.domain import relay_batch_rules
from cascade.domain.relay_items import RejectReason, RelayItem, RelayState
from cascade.services.order_view import OrderView
from cascade.services.signed_payments import SignedPayments
from sandbox.polygon import LocalPolygon
from sandbox.polygon.faults import Faults, Json
from sandbox.polygon.faulty_node import FaultyNode
from tests.faults.chain_rail import follow
from tests.faults.relaying import HOT_KEY, alarm, items, no_blocks, nonces, queue, relayer, sign
from tests.support import hostile_wallets
from tests.support.hostile_wallets import ATTACKS, SIGNATURE, Attack, Manner, error_string, malformed
from tests.support.purchases import balance_of, open_order

HONEST = 20
STARTER_UNITS = 100 * 10**6
PURSE_UNITS = 10**9
STEPS = 14
"""Looks that all may take: with a block every two seconds half a minute, of an order's quarter of an hour."""
NOBODY = "0x" + "00" * 20

Honest = list[tuple[LocalAccount | str, str]]


def key(name: str) -> LocalAccount:
    """An account that has never had POL."""
    account: LocalAccount = Account.from_key(keccak(text=name))
    return account


@pytest.fixture(scope="module")
def crowd(_chain: LocalPolygon, deployment: Path) -> Iterator[Honest]:
    """Twenty honest payers with money: keys in both stablecoins, and contract wallets."""
    before = _chain.snapshot()
    victim = _chain.accounts[HOT_KEY]
    crowd: Honest = []
    for n in range(HONEST):
        token = ("USDC", "USDT")[n % 2]
        is_contract = n >= HONEST - 6
        payer = (
            hostile_wallets.deploy(_chain, f"honest {n}", Attack(Manner.HONEST), victim)
            if is_contract
            else key(f"honest {n}")
        )
        hostile_wallets.fund(_chain, payer if isinstance(payer, str) else payer.address, token, PURSE_UNITS)
        crowd.append((payer, token))
    yield crowd
    _chain.revert(before)


@pytest.fixture
def router(deployment: Path) -> Deployment:
    return Deployment.load(deployment)


@pytest.fixture
def town(crowd: Honest, polygon: LocalPolygon, database: Database, router: Deployment) -> Iterator[Town]:
    node = Node(polygon.rpc_url)
    yield Town(crowd, polygon, database, router, SignedPayments(node, router, per_payer_per_day=20))
    node.close()


class Town:
    """Honest and hostile payers of one shop, and what became of their payments."""

    def __init__(
        self,
        crowd: Honest,
        polygon: LocalPolygon,
        database: Database,
        router: Deployment,
        signed_payments: SignedPayments,
    ) -> None:
        self.polygon, self.database, self.router = polygon, database, router
        self.victim = polygon.accounts[HOT_KEY]
        self._crowd, self.signed_payments = crowd, signed_payments
        self.honest: list[OrderView] = []

    def order(self, citizen: str, token: str = "USDT") -> OrderView:  # noqa: S107 - a stablecoin
        return open_order(self.database, self.router, citizen=citizen, package="starter", token=token)

    def pay_honestly(self) -> None:
        """Each of the twenty signs a payment, which waits for the relayer."""
        for n, (payer, token) in enumerate(self._crowd):
            view = self.order(f"honest{n}", token)
            self.honest.append(view)
            self.queue(view, payer)

    def attack(self, name: str, attack: Attack, *, token: str = "USDT") -> OrderView:  # noqa: S107 - a stablecoin
        """A wallet contract pays; the API finds nothing wrong with it."""
        wallet = hostile_wallets.deploy(self.polygon, name, attack, self.victim)
        view = self.order("hostile", token)
        hostile_wallets.fund(self.polygon, wallet, token, view.terms[0].units)
        self.check_and_queue(view, wallet)
        return view

    def check_and_queue(self, view: OrderView, wallet: str) -> None:
        """As the API does."""
        terms = view.terms[0]
        has_code = self.signed_payments.check(terms, wallet, SIGNATURE)
        with self.database.transaction() as connection:
            self.signed_payments.queue(connection, view.order.id, terms, wallet, SIGNATURE, has_code)

    def queue(self, view: OrderView, payer: LocalAccount | str) -> None:
        if isinstance(payer, str):
            self.check_and_queue(view, payer)
        else:
            queue(self.database, view, payer, sign(view, payer))

    def work(self, steps: int = STEPS, *, url: str | None = None, **policy: Any) -> None:
        """A relayer looks at most so often, with blocks between; it ends as soon as nothing waits any more."""
        with relayer(self.database, self.router, url or self.polygon.rpc_url, **policy) as worker:
            for _ in range(steps):
                worker.step()
                self.polygon.mine(3)
                if not self.waiting():
                    break

    def waiting(self) -> int:
        with self.database.transaction() as connection:
            row = connection.execute(
                "SELECT count(*) AS n FROM relay_items WHERE state IN ('queued', 'sent')"
            ).fetchone()
        return int(row["n"]) if row else -1

    def item(self, view: OrderView) -> RelayItem:
        (item,) = items(self.database, view)
        return item

    def assert_honest_are_credited(self) -> None:
        states = [self.item(view).state for view in self.honest]
        assert states == [RelayState.SETTLED] * HONEST
        follow(self.polygon, self.database, self.router)
        credited = [balance_of(self.database, f"citizen:honest{n}") for n in range(HONEST)]
        assert credited == [STARTER_UNITS] * HONEST


PAYS_AFTER_ALL = {"burns 299 000 gas", "another answer each block"}
"""What is within what the router gives a signature, or true when it counts, is a payment."""


@pytest.mark.parametrize("name", ATTACKS)
def test_beside_a_hostile_wallet_honest_payments_are_credited(town: Town, name: str) -> None:
    hostile = town.attack(name, ATTACKS[name])
    town.pay_honestly()
    town.work()
    town.assert_honest_are_credited()
    item = town.item(hostile)
    if name not in PAYS_AFTER_ALL:
        assert item.state is RelayState.REFUSED
        assert item.reason in (RejectReason.REVERTED, RejectReason.WRONG_SIGNER)
    assert item.tries <= 2
    assert alarm(town.database) is None


def test_two_dozen_malformed_payloads_at_once(town: Town) -> None:
    payloads = malformed(seed=21)
    hostile = [
        town.attack(f"payload {n}", Attack(Manner.REVERTS_WITH_PAYLOAD, payload=next(payloads))) for n in range(24)
    ]
    town.pay_honestly()
    town.work()
    town.assert_honest_are_credited()
    assert {town.item(view).state for view in hostile} == {RelayState.REFUSED}


def test_a_wallet_changes_its_code_after_signing(town: Town) -> None:
    views = {name: town.attack(f"late {name}", Attack(Manner.HONEST)) for name in ATTACKS}
    town.pay_honestly()
    for name, view in views.items():
        hostile_wallets.configure(town.polygon, town.item(view).payer or "", ATTACKS[name], town.victim)
    town.work()
    town.assert_honest_are_credited()


FIVE_KINDS = [
    Attack(Manner.BURNS_ALL),
    Attack(Manner.BURNS_MEMORY),
    Attack(Manner.REVERTS_WITH_PAYLOAD, payload=error_string(2**63 - 1)),
    Attack(Manner.RETURNS_MANY, 250_000),
    Attack(Manner.TRUE_TO_SIMULATION),
]
"""What an account of a key may delegate to (EIP-7702)."""


class Delegates:
    """Accounts without code when they sign, which delegate to hostile code afterwards."""

    def __init__(self, town: Town, attacks: Sequence[Attack]) -> None:
        self._town, self._code = town, hostile_wallets.implementation(town.polygon)
        self._accounts = [key(f"delegate {n}") for n in range(len(attacks))]
        self._keys = ["0x" + account.key.hex().removeprefix("0x") for account in self._accounts]
        self.delegate()
        for account, attack in zip(self._accounts, attacks, strict=True):
            hostile_wallets.configure(town.polygon, account.address, attack, town.victim)
        hostile_wallets.delegate(town.polygon, self._keys, NOBODY)  # what was configured stays

    def pay(self) -> list[OrderView]:
        """Sign with the keys, in turn in both stablecoins."""
        views = []
        for n, account in enumerate(self._accounts):
            token = ("USDC", "USDT")[n % 2]
            view = self._town.order(f"delegate{n}", token)
            hostile_wallets.fund(self._town.polygon, account.address, token, view.terms[0].units)
            self._town.queue(view, account)
            views.append(view)
        return views

    def delegate(self) -> None:
        hostile_wallets.delegate(self._town.polygon, self._keys, self._code)

    def delegate_ahead(self) -> None:
        """In the next block, and ahead of what the relayer has sent."""
        hostile_wallets.submit_delegation(self._town.polygon, self._keys, self._code)


def test_accounts_delegate_to_five_kinds_of_code_before_they_are_sent(town: Town) -> None:
    delegates = Delegates(town, FIVE_KINDS)
    views = delegates.pay()
    town.pay_honestly()
    delegates.delegate()
    town.work()
    town.assert_honest_are_credited()
    assert {town.item(view).state for view in views} == {RelayState.REFUSED}
    with town.database.transaction() as connection:
        rows = connection.execute("SELECT DISTINCT lane FROM relay_items WHERE payer = ANY(%s)", (
            [town.item(view).payer for view in views],
        )).fetchall()  # fmt: skip
    assert [row["lane"] for row in rows] == ["code"]  # their code was read in the moment of sending


def delegate_in_the_block(town: Town, attacks: Sequence[Attack]) -> tuple[list[OrderView], bool]:
    """Accounts delegate in the very block of their payments; returns these, and whether their batch failed."""
    delegates = Delegates(town, attacks)
    views = delegates.pay()
    town.pay_honestly()
    with relayer(town.database, town.router, town.polygon.rpc_url) as worker, no_blocks(town.polygon):
        worker.step()
        delegates.delegate_ahead()
        town.polygon.mine(3)
    (hash_,) = {town.item(view).transaction for view in views}
    return views, town.polygon.rpc("eth_getTransactionReceipt", hash_)["status"] == "0x0"


def test_accounts_delegate_in_the_very_block_of_their_payments(town: Town) -> None:
    """With 160,000 gas for each the batch ran out of it, and eight honest payments were refused."""
    views, failed = delegate_in_the_block(town, (FIVE_KINDS * 2)[:9])
    assert not failed
    town.work()
    town.assert_honest_are_credited()
    assert {town.item(view).state for view in views} == {RelayState.REFUSED}


def test_a_batch_that_fails_as_a_whole_is_halved_and_nobody_is_refused_for_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr(relay_batch_rules, "GAS_OF_SIGNATURE", 160_000)
        _, failed = delegate_in_the_block(town, [Attack(Manner.BURNS_ALL)] * 9)
    assert failed
    with relayer(town.database, town.router, town.polygon.rpc_url) as worker:
        worker.step()  # the failure is final
    honest = [town.item(view) for view in town.honest]
    assert {item.failures for item in honest} == {0}
    assert 10 in {item.together for item in honest}
    town.work()
    town.assert_honest_are_credited()


def test_a_batch_that_fails_in_its_simulation_is_halved_before_it_is_sent(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is paid for a batch that its simulation shows to have too little gas."""
    monkeypatch.setattr(relay_batch_rules, "_GAS_OF_TRANSACTION", 200_000)
    monkeypatch.setattr(relay_batch_rules, "GAS_OF_SIGNATURE", 60_000)
    town.pay_honestly()
    town.work(30)
    town.assert_honest_are_credited()
    hashes = {town.item(view).transaction for view in town.honest}
    assert {town.polygon.rpc("eth_getTransactionReceipt", hash_)["status"] for hash_ in hashes} == {"0x1"}
    assert len(nonces(town.database)) == len(hashes) > 2  # two lanes, and one of them in parts


def test_a_payer_makes_us_pay_for_failures_four_times_a_day_and_no_more(town: Town) -> None:
    wallet = hostile_wallets.deploy(town.polygon, "costly", ATTACKS["true to simulations alone"], town.victim)
    hostile_wallets.fund(town.polygon, wallet, "USDT", PURSE_UNITS)
    views = [town.order(f"costly{n}") for n in range(4)]
    for view in views:
        town.check_and_queue(view, wallet)
    town.pay_honestly()
    town.work(20)
    town.assert_honest_are_credited()
    reasons = sorted(str(town.item(view).reason) for view in views)
    assert reasons == [RejectReason.LIMIT, RejectReason.LIMIT, RejectReason.REVERTED, RejectReason.REVERTED]
    assert sum(town.item(view).tries for view in views) == 4
    with town.database.transaction() as connection:
        assert not town.signed_payments.within_quota(connection, wallet)


def test_a_limit_that_a_whole_batch_exceeds_is_kept_by_smaller_ones(town: Town) -> None:
    """A batch of twenty costs up to 0.3 POL here, a fourth of the limit, and the rest is kept for other lanes."""
    town.pay_honestly()
    town.work(30, per_day_wei=2 * 10**17, per_minute_wei=2 * 10**17)
    town.assert_honest_are_credited()
    assert len(nonces(town.database)) > 2


class Grudge(FaultyNode):
    """A node that has something against one account: it answers what names it with an error that is no revert."""

    def __init__(self, upstream_url: str, account: str, *, whole: bool) -> None:
        super().__init__(upstream_url)
        self._account, self._whole = account[2:].lower(), whole

    def _answer(self, body: bytes) -> Any:
        if self._whole and any(map(self._is_about_it, json.loads(body))):
            return None  # it hangs up
        return super()._answer(body)

    def _is_about_it(self, request: Json) -> bool:
        return request["method"] == "eth_call" and self._account in json.dumps(request).lower()

    def _answer_all(self, requests: list[Json], faults: Faults, behind: int) -> list[Json]:
        error = {"code": -32000, "message": "out of gas: gas required exceeds allowance"}
        return [
            {"jsonrpc": "2.0", "id": request["id"], "error": error} if self._is_about_it(request) else answer
            for request, answer in zip(requests, super()._answer_all(requests, faults, behind), strict=True)
        ]


@pytest.mark.parametrize("whole", [False, True], ids=["an error", "no answer to all that is asked with it"])
def test_what_a_node_fails_at_for_one_payment_is_not_taken_for_its_end(town: Town, whole: bool) -> None:
    town.pay_honestly()
    account = key("someone")
    view = town.order("someone", "USDC")
    hostile_wallets.fund(town.polygon, account.address, "USDC", view.terms[0].units)
    town.queue(view, account)
    with Grudge(town.polygon.rpc_url, account.address, whole=whole) as node:
        town.work(url=node.url)
    town.assert_honest_are_credited()
    item = town.item(view)
    assert (item.state, item.reason, item.tries) == (RelayState.REFUSED, RejectReason.REVERTED, 0)
