"""`refund`: the owner gives money of a paid order back, and an event says so. Nobody else can cause that event."""

import pytest

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.refusals import refuses


@pytest.fixture
def paid_id(router, usdc, usdt, owner, payer, new_order):
    """The id of a paid order; the owner has money and allows the router to move it."""
    for token in (usdc, usdt):
        token.mint(owner, FUNDS, sender=owner)
        token.approve(router, FUNDS, sender=owner)
    order = new_order()
    router.pay(order, sender=payer)
    return router.orderId(order)


def test_gives_back_and_says_so(router, usdc, owner, payer, stranger, paid_id):
    before = usdc.balanceOf(stranger)

    receipt = router.refund(paid_id, usdc, stranger, AMOUNT, sender=owner)

    (refunded,) = receipt.events.filter(router.Refunded)
    assert (refunded.orderId, refunded.to, refunded.token, refunded.amount) == (paid_id, stranger, usdc.address, AMOUNT)
    assert usdc.balanceOf(stranger) - before == AMOUNT
    assert usdc.balanceOf(owner) == FUNDS - AMOUNT
    assert usdc.balanceOf(router) == 0


def test_in_parts_and_in_the_other_token(router, usdc, usdt, owner, payer, paid_id):
    before = usdc.balanceOf(payer), usdt.balanceOf(payer)
    router.refund(paid_id, usdc, payer, 1, sender=owner)
    router.refund(paid_id, usdt, payer, 2, sender=owner)
    assert (usdc.balanceOf(payer) - before[0], usdt.balanceOf(payer) - before[1]) == (1, 2)


def test_the_order_stays_paid(router, usdc, owner, payer, new_order):
    usdc.mint(owner, FUNDS, sender=owner)
    usdc.approve(router, FUNDS, sender=owner)
    order = new_order()
    router.pay(order, sender=payer)
    router.refund(router.orderId(order), usdc, payer, AMOUNT, sender=owner)
    with refuses(router.OrderAlreadyPaid, orderId=router.orderId(order)):
        router.pay(order, sender=payer)


def test_nobody_but_the_owner_refunds(router, usdc, payer, paid_id):
    with refuses(router.OwnableUnauthorizedAccount, account=payer.address):
        router.refund(paid_id, usdc, payer, AMOUNT, sender=payer)


def test_no_other_token_and_not_nothing(router, usdc, owner, payer, stranger, paid_id):
    with refuses(router.InvalidToken, token=stranger.address):
        router.refund(paid_id, stranger, payer, AMOUNT, sender=owner)
    with refuses(router.InvalidAmount, amount=0, minimum=1):
        router.refund(paid_id, usdc, payer, 0, sender=owner)


def test_only_what_the_owner_allows(router, usdc, owner, payer, paid_id):
    usdc.approve(router, AMOUNT - 1, sender=owner)
    with refuses(usdc.ERC20InsufficientAllowance):
        router.refund(paid_id, usdc, payer, AMOUNT, sender=owner)


def test_goes_on_while_paused(router, usdc, owner, payer, paid_id):
    router.pause(sender=owner)
    router.refund(paid_id, usdc, payer, AMOUNT, sender=owner)
