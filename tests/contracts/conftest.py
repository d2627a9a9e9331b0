"""A router between two well-behaved stablecoins, and a payer who has allowed it to spend."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tests.contracts.orders import Order

FUNDS = 1_000_000_000_000  # one million dollars in units
AMOUNT = 25_000_000  # 25 dollars in units

NewOrder = Callable[..., Order]


@pytest.fixture(scope="session")
def owner(accounts: Any) -> Any:
    return accounts[0]


@pytest.fixture(scope="session")
def payer(accounts: Any) -> Any:
    return accounts[1]


@pytest.fixture(scope="session")
def treasury(accounts: Any) -> Any:
    return accounts[2]


@pytest.fixture(scope="session")
def partner(accounts: Any) -> Any:
    return accounts[3]


@pytest.fixture(scope="session")
def stranger(accounts: Any) -> Any:
    return accounts[4]


@pytest.fixture(scope="session")
def usdc(project: Any, owner: Any) -> Any:
    return owner.deploy(project.Stablecoin, "USD Coin", "USDC")


@pytest.fixture(scope="session")
def usdt(project: Any, owner: Any) -> Any:
    return owner.deploy(project.Stablecoin, "USDT0", "USDT0")


@pytest.fixture(scope="session")
def deploy_router(project: Any, owner: Any, usdt: Any, treasury: Any, partner: Any) -> Callable[..., Any]:
    """Deploys a router that accepts the given token as its USDC; `belongs_to` may name another owner."""

    def deploy(token: Any, belongs_to: Any = None) -> Any:
        return owner.deploy(project.PaymentRouter, token, usdt, treasury, partner, belongs_to or owner)

    return deploy


@pytest.fixture(scope="session")
def fund() -> Callable[[Any, Any, Any], None]:
    """Gives an account tokens and lets a router spend them."""

    def give(token: Any, account: Any, router: Any) -> None:
        token.mint(account, FUNDS, sender=account)
        token.approve(router, FUNDS, sender=account)

    return give


@pytest.fixture(scope="session")
def router(deploy_router: Any, fund: Any, usdc: Any, usdt: Any, payer: Any, stranger: Any) -> Any:
    deployed = deploy_router(usdc)
    for token in (usdc, usdt):
        for account in (payer, stranger):
            fund(token, account, deployed)
    return deployed


@pytest.fixture
def new_order(chain: Any, usdc: Any) -> NewOrder:
    """Makes an order no other order of the test equals; expires in an hour unless told otherwise."""
    salts = count(1)

    def make(token: Any = None, amount: int = AMOUNT, expires_at: int | None = None) -> Order:
        deadline = chain.pending_timestamp + 3600 if expires_at is None else expires_at
        return Order((token or usdc).address, amount, deadline, next(salts).to_bytes(32, "big"))

    return make
