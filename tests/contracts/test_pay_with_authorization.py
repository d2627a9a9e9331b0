"""`payWithAuthorization` with a token that cheats. What real USDC makes of signatures is in the fork tests."""

import pytest

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.orders import Role
from tests.contracts.refusals import refuses


@pytest.fixture
def cheating(project, owner, payer, deploy_router, fund):
    """A token that takes any signature, and a router of its own that accepts it as USDC and belongs to it."""
    token = owner.deploy(project.AuthorizingToken)
    router = deploy_router(token, belongs_to=token)
    fund(token, payer, router)
    return token, router


@pytest.fixture(params=["alone", "after the treasury's was released"])
def hold_partners_share(request, cheating, payer, treasury, partner, new_order):
    """Lets the partner's share of a payment lie in the router."""
    token, router = cheating
    blocked = (partner,) if request.param == "alone" else (treasury, partner)

    def hold():
        for side in blocked:
            token.setBlocked(side, True, sender=payer)
        router.pay(new_order(token), sender=payer)
        for side in blocked:
            token.setBlocked(side, False, sender=payer)
        if treasury in blocked:
            router.release(token, Role.TREASURY, sender=payer)
        assert token.balanceOf(router) == router.held(token, Role.PARTNER) == AMOUNT // 2

    return hold


def test_pays(cheating, payer, treasury, partner, stranger, new_order):
    token, router = cheating
    router.payWithAuthorization(new_order(token), payer, b"", sender=stranger)
    assert token.balanceOf(payer) == FUNDS - AMOUNT
    assert token.balanceOf(treasury) == token.balanceOf(partner) == AMOUNT // 2


def test_what_did_not_arrive_is_not_taken_from_what_is_held(
    cheating, hold_partners_share, payer, partner, stranger, new_order
):
    token, router = cheating
    hold_partners_share()
    token.keep(1, sender=payer)
    with refuses(router.InvalidReceipt, arrived=AMOUNT - 1, amount=AMOUNT):
        router.payWithAuthorization(new_order(token), payer, b"", sender=stranger)
    assert token.balanceOf(router) == router.held(token, Role.PARTNER) == AMOUNT // 2


def test_what_did_not_arrive_is_not_written_down(cheating, payer, stranger, new_order):
    token, router = cheating
    token.keep(1, sender=payer)
    with refuses(router.InvalidReceipt, arrived=AMOUNT // 2 - 1, amount=AMOUNT // 2):
        router.payWithAuthorization(new_order(token), payer, b"", sender=stranger)
    assert router.held(token, Role.PARTNER) == token.balanceOf(router) == 0


def test_a_payment_beside_what_is_held_leaves_it_alone(
    cheating, hold_partners_share, payer, treasury, partner, stranger, new_order
):
    token, router = cheating
    hold_partners_share()
    router.payWithAuthorization(new_order(token), payer, b"", sender=stranger)
    assert token.balanceOf(router) == router.held(token, Role.PARTNER) == AMOUNT // 2
    assert (token.balanceOf(treasury), token.balanceOf(partner)) == (AMOUNT, AMOUNT // 2)


def test_a_token_that_calls_back_cannot_take_what_is_on_its_way(
    cheating, payer, treasury, partner, stranger, new_order
):
    """The owner of this router is the token itself, which tries to rescue the payment before it is sent on."""
    token, router = cheating
    token.arm(router, router, router.rescue.encode_input(token, stranger), sender=payer)
    before = token.balanceOf(stranger)

    router.payWithAuthorization(new_order(token), payer, b"", sender=stranger)

    assert (token.called(), token.succeeded()) == (True, False)
    assert token.balanceOf(stranger) == before
    assert token.balanceOf(treasury) == token.balanceOf(partner) == AMOUNT // 2
