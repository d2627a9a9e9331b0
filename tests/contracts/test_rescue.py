"""`rescue`: tokens that came by mistake go back; what is held for the sides cannot be touched."""

import pytest

from tests.contracts.conftest import AMOUNT
from tests.contracts.orders import Role
from tests.contracts.refusals import refuses


def test_gives_back_tokens_sent_by_mistake(router, usdc, owner, payer, stranger):
    usdc.transfer(router, 5, sender=payer)
    before = usdc.balanceOf(stranger)

    receipt = router.rescue(usdc, stranger, sender=owner)

    (rescued,) = receipt.events.filter(router.Rescued)
    assert (rescued.token, rescued.to, rescued.amount) == (usdc.address, stranger, 5)
    assert usdc.balanceOf(stranger) - before == 5
    assert usdc.balanceOf(router) == 0


def test_gives_back_any_other_token(project, router, owner, payer, stranger):
    token = owner.deploy(project.NoReturnValueToken)
    token.mint(router, 9, sender=payer)

    router.rescue(token, stranger, sender=owner)

    assert token.balanceOf(stranger) == 9


def test_leaves_what_is_held_for_either_side(router, usdc, owner, payer, treasury, partner, stranger, new_order):
    for side in (treasury, partner):
        usdc.setBlocked(side, True, sender=stranger)
    router.pay(new_order(amount=AMOUNT + 1), sender=payer)
    with refuses(router.InvalidAmount, amount=0, minimum=1):
        router.rescue(usdc, owner, sender=owner)

    usdc.transfer(router, 5, sender=payer)
    router.rescue(usdc, owner, sender=owner)

    assert usdc.balanceOf(owner) == 5
    assert usdc.balanceOf(router) == AMOUNT + 1
    assert [router.held(usdc, role) for role in Role] == [AMOUNT // 2 + 1, AMOUNT // 2]


def test_tokens_forced_in_change_no_payment(router, usdc, payer, treasury, partner, new_order):
    usdc.transfer(router, 1_000, sender=payer)

    router.pay(new_order(), sender=payer)

    assert usdc.balanceOf(treasury) == usdc.balanceOf(partner) == AMOUNT // 2
    assert usdc.balanceOf(router) == 1_000


def test_tokens_forced_in_are_not_counted_as_held(router, usdc, payer, partner, stranger, new_order):
    usdc.transfer(router, 1_000, sender=payer)
    usdc.setBlocked(partner, True, sender=stranger)

    router.pay(new_order(), sender=payer)

    assert router.held(usdc, Role.PARTNER) == AMOUNT // 2


def test_refuses_when_there_is_nothing(router, usdc, owner):
    with refuses(router.InvalidAmount, amount=0, minimum=1):
        router.rescue(usdc, owner, sender=owner)


def test_works_while_paused(router, usdc, owner, payer):
    usdc.transfer(router, 5, sender=payer)
    router.pause(sender=owner)
    router.rescue(usdc, owner, sender=owner)
    assert usdc.balanceOf(owner) == 5


@pytest.mark.parametrize("account", ["stranger", "treasury", "partner"])
def test_only_the_owner(request, router, usdc, payer, account):
    sender = request.getfixturevalue(account)
    usdc.transfer(router, 5, sender=payer)
    with refuses(router.OwnableUnauthorizedAccount, account=sender.address):
        router.rescue(usdc, sender, sender=sender)
