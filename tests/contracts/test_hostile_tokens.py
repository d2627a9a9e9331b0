"""Tokens that misbehave, each accepted by a router of its own in USDC's place.

The accepted tokens are immutable, so none of these can ever become one. The tests show what would happen if an
upgrade of USDC or USDT took one of these habits.
"""

from collections.abc import Callable
from typing import Any

import ape
import pytest

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.orders import Role

World = tuple[Any, Any]


@pytest.fixture
def accept(owner: Any, payer: Any, deploy_router: Any, fund: Any) -> Callable[[Any], World]:
    """Deploys a token and a router that accepts it; the payer holds and has allowed it."""

    def build(container: Any) -> World:
        token = owner.deploy(container)
        router = deploy_router(token)
        fund(token, payer, router)
        return token, router

    return build


@pytest.fixture(params=["FalseReturningToken", "NoReturnValueToken"])
def quiet(request: Any, project: Any, accept: Any) -> World:
    return accept(getattr(project, request.param))


def test_a_quiet_token_is_split_like_any_other(quiet, payer, treasury, partner, new_order):
    token, router = quiet
    router.pay(new_order(token), sender=payer)

    assert token.balanceOf(treasury) == token.balanceOf(partner) == AMOUNT // 2
    assert token.balanceOf(payer) == FUNDS - AMOUNT


def test_a_quiet_refusal_of_a_side_is_held_and_released(quiet, payer, partner, stranger, new_order):
    token, router = quiet
    token.setBlocked(partner, True, sender=stranger)
    router.pay(new_order(token), sender=payer)
    assert router.held(token, Role.PARTNER) == token.balanceOf(router) == AMOUNT // 2

    with ape.reverts():
        router.release(token, Role.PARTNER, sender=stranger)
    assert router.held(token, Role.PARTNER) == AMOUNT // 2

    token.setBlocked(partner, False, sender=stranger)
    router.release(token, Role.PARTNER, sender=stranger)
    assert token.balanceOf(partner) == AMOUNT // 2


def test_a_quiet_refusal_of_the_payer_is_no_payment(quiet, payer, new_order):
    token, router = quiet
    token.approve(router, AMOUNT - 1, sender=payer)
    order = new_order(token)

    with ape.reverts():
        router.pay(order, sender=payer)

    assert not router.paid(router.orderId(order))
    assert token.balanceOf(payer) == FUNDS


def test_a_return_bomb_is_not_copied(project, accept, payer, partner, stranger, new_order):
    token, router = accept(project.ReturnBombToken)
    token.setBlocked(partner, True, sender=stranger)

    # The bomb itself burns 2.2 million; a caller that copied its megabyte would need as much again.
    router.pay(new_order(token), sender=payer, gas_limit=3_000_000)

    assert router.held(token, Role.PARTNER) == AMOUNT // 2


def test_a_fee_leaves_the_sides_short_and_the_router_solvent(
    project, accept, payer, treasury, partner, stranger, new_order
):
    token, router = accept(project.FeeTakingToken)
    share = AMOUNT // 2
    after_fee = share - share // 100

    receipt = router.pay(new_order(token), sender=payer)
    assert token.balanceOf(treasury) == token.balanceOf(partner) == after_fee
    assert receipt.events.filter(router.Paid)[0].amount == AMOUNT  # what left the payer, not what arrived

    token.setBlocked(partner, True, sender=stranger)
    router.pay(new_order(token), sender=payer)
    assert router.held(token, Role.PARTNER) == token.balanceOf(router) == after_fee

    token.setBlocked(partner, False, sender=stranger)
    router.release(token, Role.PARTNER, sender=stranger)
    assert token.balanceOf(router) == 0


@pytest.fixture
def reentrant(project: Any, accept: Any) -> World:
    """A re-entrant token that can also pay orders itself from the middle of a transfer."""
    return accept(project.ReentrantToken)


def test_the_order_is_spent_before_the_token_is_called(reentrant, payer, treasury, new_order):
    token, router = reentrant
    order = new_order(token)
    call = router.paid.encode_input(router.orderId(order))
    token.arm(treasury, router, call, sender=payer)

    router.pay(order, sender=payer)

    assert (token.called(), token.succeeded()) == (True, True)
    assert int.from_bytes(token.answer(), "big") == 1


def test_the_number_is_taken_before_the_token_is_called(reentrant, payer, treasury, new_order):
    token, router = reentrant
    token.arm(treasury, router, router.seq.encode_input(), sender=payer)

    receipt = router.pay(new_order(token), sender=payer)

    assert int.from_bytes(token.answer(), "big") == receipt.events.filter(router.Paid)[0].seq == 1


def test_the_event_comes_before_the_transfers(router, usdc, payer, new_order):
    receipt = router.pay(new_order(), sender=payer)

    assert [event.event_name for event in receipt.events] == ["Paid", "Transfer", "Transfer"]


@pytest.mark.parametrize("verb", ["pay", "payWithPermit"])
def test_a_payment_inside_a_held_payment_is_refused(reentrant, payer, partner, new_order, verb):
    """Else the outer payment would count the inner one's tokens as its own and owe the partner twice."""
    token, router = reentrant
    token.mint(token, AMOUNT, sender=payer)
    token.approveFromHere(router, AMOUNT, sender=payer)
    token.setBlocked(partner, True, sender=payer)
    arguments = [new_order(token)] + ([(0, 27, b"\x01" * 32, b"\x02" * 32)] if verb == "payWithPermit" else [])
    token.arm(router, router, getattr(router, verb).encode_input(*arguments), sender=payer)

    getattr(router, verb)(new_order(token), *arguments[1:], sender=payer)

    assert (token.called(), token.succeeded()) == (True, False)
    assert router.held(token, Role.PARTNER) == token.balanceOf(router) == AMOUNT // 2


def test_a_release_inside_a_held_payment_is_refused(reentrant, payer, treasury, partner, new_order):
    """Else it would carry away tokens that the outer payment is just counting."""
    token, router = reentrant
    token.setBlocked(treasury, True, sender=payer)
    router.pay(new_order(token, 10), sender=payer)
    token.setBlocked(treasury, False, sender=payer)
    token.setBlocked(partner, True, sender=payer)
    token.arm(router, router, router.release.encode_input(token, Role.TREASURY), sender=payer)

    router.pay(new_order(token), sender=payer)

    assert (token.called(), token.succeeded()) == (True, False)
    assert router.held(token, Role.TREASURY) + router.held(token, Role.PARTNER) == token.balanceOf(router)


def test_a_rescue_inside_a_held_payment_is_refused(
    project, owner, payer, partner, stranger, deploy_router, fund, new_order
):
    """Else an owner in league with a token would take a share between its arrival and its booking."""
    token = owner.deploy(project.ReentrantToken)
    router = deploy_router(token, belongs_to=token)
    fund(token, payer, router)
    token.setBlocked(partner, True, sender=payer)
    token.arm(router, router, router.rescue.encode_input(token, stranger), sender=payer)

    router.pay(new_order(token), sender=payer)

    assert (token.called(), token.succeeded()) == (True, False)
    assert router.held(token, Role.PARTNER) == token.balanceOf(router) == AMOUNT // 2


def test_a_payment_inside_a_payment_is_the_next_one(reentrant, payer, treasury, partner, new_order):
    token, router = reentrant
    token.mint(token, AMOUNT, sender=payer)
    token.approveFromHere(router, AMOUNT, sender=payer)
    token.arm(treasury, router, router.pay.encode_input(new_order(token)), sender=payer)

    receipt = router.pay(new_order(token), sender=payer)

    assert [(event.payer, event.seq) for event in receipt.events.filter(router.Paid)] == [(payer, 1), (token, 2)]
    assert token.balanceOf(treasury) == token.balanceOf(partner) == AMOUNT
    assert router.seq() == 2


def test_the_same_payment_inside_itself_is_refused(reentrant, payer, treasury, new_order):
    token, router = reentrant
    token.mint(token, AMOUNT, sender=payer)
    token.approveFromHere(router, AMOUNT, sender=payer)
    order = new_order(token)
    token.arm(treasury, router, router.pay.encode_input(order), sender=payer)

    router.pay(order, sender=payer)

    assert (token.called(), token.succeeded()) == (True, False)
    assert router.seq() == 1


def test_a_release_inside_a_release_sees_nothing_held(reentrant, payer, partner, new_order):
    token, router = reentrant
    token.setBlocked(partner, True, sender=payer)
    router.pay(new_order(token), sender=payer)
    token.setBlocked(partner, False, sender=payer)
    token.arm(partner, router, router.held.encode_input(token, Role.PARTNER), sender=payer)

    router.release(token, Role.PARTNER, sender=payer)

    assert int.from_bytes(token.answer(), "big") == 0
