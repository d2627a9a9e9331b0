"""The constructor refuses what could not be mended later."""

from collections.abc import Callable
from typing import Any

import pytest
from ape.exceptions import TransactionError

from tests.contracts.orders import Role
from tests.contracts.refusals import refuses

ZERO = "0x" + "00" * 20


@pytest.fixture
def deploy(project: Any, owner: Any, usdc: Any, usdt: Any, treasury: Any, partner: Any) -> Callable[..., Any]:
    """Deploys a router, with some of the five arguments replaced."""
    usual = {"usdc": usdc, "usdt": usdt, "treasury": treasury, "partner": partner, "owner": owner}

    def build(**changed: Any) -> Any:
        return owner.deploy(project.PaymentRouter, *{**usual, **changed}.values())

    return build


def test_starts_with_what_it_was_given(deploy, usdc, usdt, treasury, partner, stranger):
    router = deploy(owner=stranger)

    assert (router.usdc(), router.usdt()) == (usdc.address, usdt.address)
    assert (router.treasury(), router.partner(), router.owner()) == (treasury, partner, stranger)
    assert (router.seq(), router.paused()) == (0, False)


def test_refuses_one_token_twice(project, deploy, usdc):
    with refuses(project.PaymentRouter.InvalidTokenPair, usdc=usdc.address, usdt=usdc.address):
        deploy(usdt=usdc)


@pytest.mark.parametrize("side", ["usdc", "usdt"])
def test_refuses_a_token_without_code(project, deploy, stranger, side):
    with refuses(project.PaymentRouter.InvalidTokenPair, **{side: stranger.address}):
        deploy(**{side: stranger})


@pytest.mark.parametrize("role", [Role.TREASURY, Role.PARTNER])
@pytest.mark.parametrize("name", ["zero", "usdc", "usdt"])
def test_refuses_who_cannot_be_a_side(request, project, deploy, role, name):
    address = ZERO if name == "zero" else request.getfixturevalue(name).address
    with refuses(project.PaymentRouter.InvalidBeneficiary, role=role, beneficiary=address):
        deploy(**{role.name.lower(): address})


@pytest.mark.parametrize("role", [Role.TREASURY, Role.PARTNER])
def test_refuses_itself_as_a_side(owner, deploy, role):
    # py-evm estimates a deployment under another nonce, thus under another address: the error comes without its name.
    with pytest.raises(TransactionError):
        deploy(**{role.name.lower(): owner.get_deployment_address()})


def test_refuses_one_account_for_both_sides(project, deploy, treasury):
    with refuses(project.PaymentRouter.InvalidBeneficiary, role=Role.PARTNER, beneficiary=treasury.address):
        deploy(partner=treasury)


def test_refuses_to_belong_to_nobody(project, deploy):
    with refuses(project.PaymentRouter.OwnableInvalidOwner, owner=ZERO):
        deploy(owner=ZERO)
