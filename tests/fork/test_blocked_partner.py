"""A partner on USDC's block list: whoever splits by two transfers cannot be paid at all; we can, and release later."""

from typing import Any

import ape
import pytest
from eth_utils.crypto import keccak

from tests.contracts.orders import Role
from tests.fork.tokens import AMOUNT, FUNDS, acting_as


@pytest.fixture
def two_transfers(project: Any, usdc: Any, usdc_payer: Any, partner: Any, safe: Any, stranger: Any) -> Any:
    """What most contracts that split do, with an allowance."""
    contract = stranger.deploy(project.TwoTransfers, safe.address, partner)
    usdc.approve(contract, FUNDS, sender=usdc_payer)
    return contract


@pytest.fixture
def blocked(usdc: Any, partner: Any) -> Any:
    usdc.blacklist(partner, sender=acting_as(usdc.blacklister()))
    return partner


@pytest.mark.parametrize("verb", ["pay", "payOnce"])
def test_two_transfers_split_while_nobody_is_blocked(two_transfers, usdc, usdc_payer, partner, safe, verb):
    getattr(two_transfers, verb)(keccak(text="an order"), usdc, AMOUNT, sender=usdc_payer)

    assert usdc.balanceOf(partner) == usdc.balanceOf(safe.address) == FUNDS + AMOUNT // 2


@pytest.mark.parametrize("verb", ["pay", "payOnce"])
def test_two_transfers_cannot_be_paid_while_the_partner_is_blocked(
    two_transfers, usdc, usdc_payer, safe, blocked, verb
):
    with ape.reverts("Blacklistable: account is blacklisted"):
        getattr(two_transfers, verb)(keccak(text="an order"), usdc, AMOUNT, sender=usdc_payer)

    assert usdc.balanceOf(usdc_payer) == usdc.balanceOf(safe.address) == FUNDS


def test_the_router_is_paid_and_releases_once_the_partner_is_unblocked(
    router, usdc, usdc_payer, safe, blocked, new_order, stranger
):
    order = new_order(usdc)

    receipt = router.pay(order, sender=usdc_payer)

    assert router.paid(router.orderId(order))
    assert usdc.balanceOf(usdc_payer) == FUNDS - AMOUNT
    assert usdc.balanceOf(safe.address) == FUNDS + AMOUNT // 2
    assert [(event.role, event.amount) for event in receipt.events.filter(router.Held)] == [(Role.PARTNER, AMOUNT // 2)]
    with ape.reverts("Blacklistable: account is blacklisted"):
        router.release(usdc, Role.PARTNER, sender=stranger)

    usdc.unBlacklist(blocked, sender=acting_as(usdc.blacklister()))
    router.release(usdc, Role.PARTNER, sender=stranger)

    assert usdc.balanceOf(blocked) == FUNDS + AMOUNT // 2
    assert usdc.balanceOf(router) == router.held(usdc, Role.PARTNER) == 0
