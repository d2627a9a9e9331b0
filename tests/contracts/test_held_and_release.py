"""A side that cannot receive: its share is held for it alone, the payment succeeds, `release` delivers later."""

import pytest

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.orders import Role
from tests.contracts.refusals import refuses

ODD = 25_000_001


@pytest.mark.parametrize(
    ("blocked", "role", "share"), [("treasury", Role.TREASURY, ODD // 2 + 1), ("partner", Role.PARTNER, ODD // 2)]
)
def test_holds_the_share_of_a_blocked_side_and_releases_it(
    request, router, usdc, payer, stranger, new_order, blocked, role, share
):
    side = request.getfixturevalue(blocked)
    usdc.setBlocked(side, True, sender=stranger)
    order = new_order(amount=ODD)

    receipt = router.pay(order, sender=payer)

    (held,) = receipt.events.filter(router.Held)
    assert (held.orderId, held.role, held.token, held.amount) == (router.orderId(order), role, usdc.address, share)
    assert receipt.events.filter(router.Paid)[0].amount == ODD
    assert router.held(usdc, role) == usdc.balanceOf(router) == share
    assert router.held(usdc, 1 - role) == 0
    assert usdc.balanceOf(payer) == FUNDS - ODD
    assert usdc.balanceOf(side) == 0

    usdc.setBlocked(side, False, sender=stranger)
    receipt = router.release(usdc, role, sender=stranger)

    (released,) = receipt.events.filter(router.Released)
    assert (released.role, released.token, released.to, released.amount) == (role, usdc.address, side, share)
    assert usdc.balanceOf(side) == share
    assert router.held(usdc, role) == usdc.balanceOf(router) == 0


def test_holds_both_sides_apart_and_adds_up(router, usdc, usdt, payer, treasury, partner, stranger, new_order):
    for token in (usdc, usdt):
        for side in (treasury, partner):
            token.setBlocked(side, True, sender=stranger)

    for token, amount in [(usdc, 3), (usdc, 5), (usdt, 7)]:
        router.pay(new_order(token, amount), sender=payer)

    assert [router.held(usdc, role) for role in Role] == [5, 3]
    assert [router.held(usdt, role) for role in Role] == [4, 3]
    assert (usdc.balanceOf(router), usdt.balanceOf(router)) == (8, 7)

    usdc.setBlocked(partner, False, sender=stranger)
    router.release(usdc, Role.PARTNER, sender=stranger)
    assert [router.held(usdc, role) for role in Role] == [5, 0]
    assert usdc.balanceOf(router) == 5


def test_nothing_is_released_twice(router, usdc, payer, partner, stranger, new_order):
    usdc.setBlocked(partner, True, sender=stranger)
    router.pay(new_order(), sender=payer)
    router.pay(new_order(), sender=payer)
    usdc.setBlocked(partner, False, sender=stranger)

    router.release(usdc, Role.PARTNER, sender=stranger)
    assert usdc.balanceOf(partner) == AMOUNT
    with refuses(router.NothingHeld, role=Role.PARTNER, token=usdc.address):
        router.release(usdc, Role.PARTNER, sender=stranger)


def test_a_release_to_a_side_still_blocked_keeps_what_is_held(router, usdc, payer, partner, stranger, new_order):
    usdc.setBlocked(partner, True, sender=stranger)
    router.pay(new_order(), sender=payer)

    with refuses(usdc.Blocked, account=partner.address):
        router.release(usdc, Role.PARTNER, sender=stranger)

    assert router.held(usdc, Role.PARTNER) == AMOUNT // 2


def test_a_new_partner_receives_what_the_blocked_one_could_not(
    router, usdc, owner, payer, partner, stranger, new_order
):
    usdc.setBlocked(partner, True, sender=stranger)
    router.pay(new_order(), sender=payer)

    router.setPartner(stranger, sender=owner)
    before = usdc.balanceOf(stranger)
    router.release(usdc, Role.PARTNER, sender=payer)

    assert usdc.balanceOf(stranger) - before == AMOUNT // 2
    assert usdc.balanceOf(partner) == 0


def test_a_blocked_payer_pays_nothing_and_leaves_no_trace(router, usdc, payer, stranger, new_order):
    usdc.setBlocked(payer, True, sender=stranger)
    order = new_order()

    with refuses(usdc.Blocked, account=payer.address):
        router.pay(order, sender=payer)

    assert not router.paid(router.orderId(order))
    assert usdc.balanceOf(router) == 0


def test_a_blocked_router_stops_only_what_would_be_held(router, usdc, payer, partner, stranger, new_order):
    usdc.setBlocked(router, True, sender=stranger)
    router.pay(new_order(), sender=payer)

    usdc.setBlocked(partner, True, sender=stranger)
    with refuses(usdc.Blocked, account=router.address):
        router.pay(new_order(), sender=payer)


def test_release_works_while_paused(router, usdc, owner, payer, partner, stranger, new_order):
    usdc.setBlocked(partner, True, sender=stranger)
    router.pay(new_order(), sender=payer)
    usdc.setBlocked(partner, False, sender=stranger)
    router.pause(sender=owner)

    router.release(usdc, Role.PARTNER, sender=stranger)

    assert usdc.balanceOf(partner) == AMOUNT // 2
