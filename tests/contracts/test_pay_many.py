"""`payMany` with a token that calls back and cheats. Real signatures, and what is left out, are in the fork tests."""

import pytest

from tests.contracts.conftest import AMOUNT
from tests.contracts.orders import Role
from tests.contracts.refusals import refuses


@pytest.fixture
def world(project, owner, payer, stranger, deploy_router, fund):
    """A token that takes any signature, and a router that accepts it as USDC and belongs to it."""
    token = owner.deploy(project.AuthorizingToken)
    router = deploy_router(token, belongs_to=token)
    for account in (payer, stranger):
        fund(token, account, router)
    return token, router


@pytest.fixture
def sign(world, payer, new_order):
    def make(order=None):
        return order or new_order(world[0]), payer, b""

    return make


def test_an_order_is_spent_before_its_payers_tokens_move(world, sign, payer, treasury, stranger, new_order):
    """In the middle of the first payment the token tries to pay the same order from its own purse."""
    token, router = world
    order = new_order(token)
    token.mint(token, AMOUNT, sender=payer)
    token.approveFromHere(router, AMOUNT, sender=payer)
    token.arm(router, router, router.pay.encode_input(order), sender=payer)

    receipt = router.payMany([sign(order)], sender=stranger)

    assert (token.called(), token.succeeded()) == (True, False)
    assert len(receipt.events.filter(router.Paid)) == router.seq() == 1


def test_another_payment_in_the_middle_takes_its_own_number(world, sign, payer, stranger, new_order):
    token, router = world
    token.mint(token, AMOUNT, sender=payer)
    token.approveFromHere(router, AMOUNT, sender=payer)
    token.arm(router, router, router.pay.encode_input(new_order(token)), sender=payer)

    receipt = router.payMany([sign(), sign()], sender=stranger)

    assert (token.called(), token.succeeded()) == (True, True)
    assert [p.seq for p in receipt.events.filter(router.Paid)] == [1, 2, 3]


@pytest.mark.parametrize("verb", ["rescue", "payMany", "collect", "release"])
def test_nothing_that_moves_the_routers_money_runs_in_between(
    world, sign, payer, treasury, partner, stranger, new_order, verb
):
    token, router = world
    other = router.orderId(new_order(token))
    token.transfer(router.depositAddress(other), AMOUNT, sender=payer)
    token.setBlocked(partner, True, sender=payer)
    router.pay(new_order(token), sender=payer)  # so that there is something to release
    token.setBlocked(partner, False, sender=payer)
    call = {
        "rescue": lambda: router.rescue.encode_input(token, stranger),
        "payMany": lambda: router.payMany.encode_input([(new_order(token), stranger, b"")]),
        "collect": lambda: router.collect.encode_input(other, token),
        "release": lambda: router.release.encode_input(token, Role.PARTNER),
    }[verb]()
    token.arm(router, router, call, sender=payer)

    router.payMany([sign(), sign()], sender=stranger)

    assert (token.called(), token.succeeded()) == (True, False)
    assert token.balanceOf(router) == router.held(token, Role.PARTNER) == AMOUNT // 2


def test_what_did_not_arrive_is_not_taken_from_what_is_held(world, sign, payer, partner, stranger, new_order):
    token, router = world
    token.setBlocked(partner, True, sender=payer)
    router.pay(new_order(token), sender=payer)
    token.setBlocked(partner, False, sender=payer)
    token.keep(1, sender=payer)
    with refuses(router.InvalidReceipt, arrived=2 * (AMOUNT - 1), amount=2 * AMOUNT):
        router.payMany([sign(), sign()], sender=stranger)
    assert token.balanceOf(router) == router.held(token, Role.PARTNER) == AMOUNT // 2
