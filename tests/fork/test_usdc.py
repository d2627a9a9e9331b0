"""Real USDC: permits, the block list, the pause, and what they do to a payment."""

from typing import Any

import ape
import pytest

from tests.contracts.orders import Role, sign_permit
from tests.fork.conftest import key_of
from tests.fork.tokens import AMOUNT, FUNDS, USDC_DOMAIN, acting_as


@pytest.fixture
def block(usdc: Any) -> Any:
    """Puts an account on Circle's block list."""
    return lambda account: usdc.blacklist(account, sender=acting_as(usdc.blacklister()))


@pytest.fixture
def unblock(usdc: Any) -> Any:
    return lambda account: usdc.unBlacklist(account, sender=acting_as(usdc.blacklister()))


def test_is_usdc(usdc):
    assert (usdc.name(), usdc.version(), usdc.decimals()) == ("USD Coin", "2", 6)
    separator = "caa2ce1a5703ccbe253a34eb3166df60a705c561b44b192061e28f2a985be2ca"
    assert bytes(usdc.DOMAIN_SEPARATOR()).hex() == separator


def test_pay(router, usdc, usdc_payer, partner, safe, new_order):
    receipt = router.pay(new_order(usdc, AMOUNT + 1), sender=usdc_payer)

    assert usdc.balanceOf(usdc_payer) == FUNDS - AMOUNT - 1
    assert usdc.balanceOf(safe.address) == FUNDS + AMOUNT // 2 + 1
    assert usdc.balanceOf(partner) == FUNDS + AMOUNT // 2
    assert receipt.events.filter(router.Paid)[0].partnerShare == AMOUNT // 2


def test_pay_with_permit(chain, router, usdc, usdc_payer, partner, new_order):
    usdc.approve(router, 0, sender=usdc_payer)
    nonce = usdc.nonces(usdc_payer)
    permit = sign_permit(key_of("payer"), USDC_DOMAIN, router.address, AMOUNT, nonce, chain.pending_timestamp + 3600)

    router.payWithPermit(new_order(usdc), permit, sender=usdc_payer)

    assert usdc.balanceOf(partner) == FUNDS + AMOUNT // 2
    assert usdc.nonces(usdc_payer) == nonce + 1


def test_a_permit_sent_ahead_does_not_hurt(chain, router, usdc, usdc_payer, stranger, new_order):
    usdc.approve(router, 0, sender=usdc_payer)
    permit = sign_permit(
        key_of("payer"), USDC_DOMAIN, router.address, AMOUNT, usdc.nonces(usdc_payer), chain.pending_timestamp + 3600
    )
    usdc.permit(usdc_payer, router, AMOUNT, *permit, sender=stranger)

    router.payWithPermit(new_order(usdc), permit, sender=usdc_payer)

    assert usdc.balanceOf(usdc_payer) == FUNDS - AMOUNT


@pytest.mark.parametrize("role", list(Role))
def test_a_blocked_side_is_held_and_released(router, usdc, usdc_payer, partner, safe, new_order, block, unblock, role):
    side = safe.address if role == Role.TREASURY else partner.address
    block(side)

    receipt = router.pay(new_order(usdc), sender=usdc_payer)
    assert [event.role for event in receipt.events.filter(router.Held)] == [role]
    assert router.held(usdc, role) == usdc.balanceOf(router) == AMOUNT // 2
    with ape.reverts("Blacklistable: account is blacklisted"):
        router.release(usdc, role, sender=usdc_payer)

    unblock(side)
    router.release(usdc, role, sender=usdc_payer)
    assert usdc.balanceOf(side) == FUNDS + AMOUNT // 2
    assert usdc.balanceOf(router) == 0


def test_a_blocked_payer_is_refused(router, usdc, usdc_payer, new_order, block):
    block(usdc_payer)
    order = new_order(usdc)

    with ape.reverts("Blacklistable: account is blacklisted"):
        router.pay(order, sender=usdc_payer)

    assert not router.paid(router.orderId(order))


def test_a_paused_token_stops_payments_until_it_resumes(router, usdc, usdc_payer, new_order):
    order = new_order(usdc)
    pauser = acting_as(usdc.pauser())
    usdc.pause(sender=pauser)
    with ape.reverts("Pausable: paused"):
        router.pay(order, sender=usdc_payer)

    usdc.unpause(sender=pauser)
    router.pay(order, sender=usdc_payer)
    assert router.paid(router.orderId(order))


def test_no_gas_limit_forces_a_share_to_be_held(router, usdc, usdc_payer, new_order):
    """Behind Circle's proxy a call that ran out of gas leaves 2/64 instead of 1/64: still far too little for a pull."""
    outcomes = set()
    for limit in range(60_000, 140_000, 1_000):
        receipt = router.pay(new_order(usdc), sender=usdc_payer, gas_limit=limit, raise_on_revert=False)
        outcomes.add("refused" if receipt.failed else "paid")

    assert outcomes == {"refused", "paid"}
    assert usdc.balanceOf(router) == 0
