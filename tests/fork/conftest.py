"""A fork of Polygon with a router of ours on it, owned by a real Safe, and people with money.

`WEB3_PROVIDER_URI` names the Polygon to fork. When it is unset, the local Polygon is started: the same contracts at the
same addresses, so that the same tests pass on both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Any

import ape
import pytest
from ape.exceptions import ContractLogicError
from eth_account import Account
from eth_utils.crypto import keccak

from sandbox.polygon import LocalPolygon
from tests.contracts.orders import Order
from tests.fork.tokens import AMOUNT, FUNDS, USDC, USDT, fund_usdc, fund_usdt, usdc_contract, usdt_contract
from tests.fork.treasury_safe import TreasurySafe

_local_polygon: LocalPolygon | None = None


def pytest_configure() -> None:
    """Names the Polygon to fork before Ape connects, which it does as soon as the tests are collected."""
    global _local_polygon
    if "WEB3_PROVIDER_URI" not in os.environ:
        _local_polygon = LocalPolygon.start()
        os.environ["WEB3_PROVIDER_URI"] = _local_polygon.rpc_url


def pytest_unconfigure() -> None:
    global _local_polygon
    if _local_polygon is not None:
        _local_polygon.stop()
        _local_polygon = None
        del os.environ["WEB3_PROVIDER_URI"]


def person(name: str) -> Any:
    """An account whom nobody on Polygon knows: the well-known test accounts carry other people's code there."""
    address = Account.from_key(key_of(name)).address
    ape.networks.provider.set_balance(address, 100 * 10**18)
    return ape.accounts.test_accounts.impersonate_account(address)


def key_of(name: str) -> str:
    """The private key of `person(name)`."""
    return "0x" + keccak(text=f"cascade fork test: {name}").hex()


@pytest.fixture(scope="session")
def payer() -> Any:
    return person("payer")


@pytest.fixture(scope="session")
def partner() -> Any:
    return person("partner")


@pytest.fixture(scope="session")
def stranger() -> Any:
    return person("stranger")


@pytest.fixture(scope="session")
def safe(stranger: Any) -> TreasurySafe:
    """A real Safe 1.4.1 of three owners, any two of whom decide."""
    return TreasurySafe.create([key_of(f"signer {i}") for i in range(3)], threshold=2, sender=stranger)


@pytest.fixture(scope="session")
def usdc() -> Any:
    return usdc_contract()


@pytest.fixture(scope="session")
def usdt(project: Any) -> Any:
    return usdt_contract(project)


@pytest.fixture(scope="session")
def router(project: Any, safe: TreasurySafe, partner: Any, stranger: Any) -> Any:
    """Deployed as in production: the Safe is treasury and owner."""
    return stranger.deploy(project.PaymentRouter, USDC, USDT, safe.address, partner, safe.address)


@pytest.fixture(scope="session", autouse=True)
def refusals(
    router: Any, usdc: Any, usdt: Any, payer: Any, partner: Any, stranger: Any, safe: TreasurySafe
) -> list[str]:
    """Gives the payer and both sides money, once, before Ape takes the snapshot to which every test returns.

    Returns what could not be done: a true USDT may let nobody mint.
    """
    refused = []
    for token, fund in ((usdc, fund_usdc), (usdt, fund_usdt)):
        try:
            for account in (payer.address, partner.address, safe.address):
                fund(token, account)
        except ContractLogicError as error:
            refused.append(f"{token.address} lets its owner not mint: {error}")
        token.approve(router, FUNDS, sender=payer)
    return refused


@pytest.fixture
def usdc_payer(payer: Any, refusals: list[str]) -> Any:
    """The payer, with USDC and an allowance for the router."""
    return _unless_refused(payer, USDC, refusals)


@pytest.fixture
def usdt_payer(payer: Any, refusals: list[str]) -> Any:
    """The payer, with USDT and an allowance for the router. Skips on a fork where nobody can be given USDT."""
    return _unless_refused(payer, USDT, refusals)


def _unless_refused(payer: Any, token: str, refusals: list[str]) -> Any:
    for refusal in refusals:
        if token in refusal:
            assert _local_polygon is None, refusal  # ours lets everybody be given money
            pytest.skip(f"{refusal}; run against the local Polygon")
    return payer


@pytest.fixture
def new_order(chain: Any) -> Callable[..., Order]:
    """Makes an order of a token that no other order of the test equals; it expires in an hour."""
    salts = count(1)

    def make(token: Any, amount: int = AMOUNT) -> Order:
        return Order(token.address, amount, chain.pending_timestamp + 3600, keccak(next(salts).to_bytes(32, "big")))

    return make
