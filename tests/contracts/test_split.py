"""The split: the partner gets half rounded down, the treasury the rest, the payer loses exactly the amount."""

import pytest

from tests.contracts.conftest import FUNDS


@pytest.mark.parametrize(
    ("amount", "treasury_share", "partner_share"),
    [(1, 1, 0), (2, 1, 1), (3, 2, 1), (25_010_001, 12_505_001, 12_505_000), (FUNDS, FUNDS // 2, FUNDS // 2)],
)
def test_an_odd_unit_goes_to_the_treasury(
    router, usdc, payer, treasury, partner, new_order, amount, treasury_share, partner_share
):
    receipt = router.pay(new_order(amount=amount), sender=payer)

    assert usdc.balanceOf(treasury) == treasury_share
    assert usdc.balanceOf(partner) == partner_share
    assert usdc.balanceOf(payer) == FUNDS - amount
    assert usdc.balanceOf(router) == 0
    assert receipt.events.filter(router.Paid)[0].partnerShare == partner_share


def test_no_transfer_of_nothing(router, usdc, payer, treasury, new_order):
    receipt = router.pay(new_order(amount=1), sender=payer)

    assert [event.to for event in receipt.events.filter(usdc.Transfer)] == [treasury.address]


def test_the_largest_amount_does_not_overflow(project, owner, payer, treasury, partner, deploy_router, new_order):
    largest = 2**256 - 1
    token = owner.deploy(project.Stablecoin, "Huge", "HUGE")
    router = deploy_router(token)
    token.mint(payer, largest, sender=payer)
    token.approve(router, largest, sender=payer)

    router.pay(new_order(token, amount=largest), sender=payer)

    assert token.balanceOf(treasury) == 2**255
    assert token.balanceOf(partner) == 2**255 - 1
