"""USDT on Polygon, which is USDT0: its salted domain, its eternal permits, its one-sided block list."""

import ape
import pytest

from tests.contracts.orders import sign_permit
from tests.fork.conftest import key_of
from tests.fork.tokens import AMOUNT, FUNDS, USDT_DOMAIN, send_as_owner


def test_separator_of_the_salted_domain(usdt):
    separator = "7b43b7deae87806d0ace67d6c8e9e347fc85db8ad198e756e5c17d126fef9a05"
    assert bytes(usdt.DOMAIN_SEPARATOR()).hex() == separator


def test_pay(router, usdt, usdt_payer, partner, safe, new_order):
    router.pay(new_order(usdt), sender=usdt_payer)

    assert usdt.balanceOf(usdt_payer) == FUNDS - AMOUNT
    assert usdt.balanceOf(safe.address) == usdt.balanceOf(partner) == FUNDS + AMOUNT // 2


@pytest.mark.parametrize("seconds", [3600, None], ids=["an hour", "a deadline of 0: for ever"])
def test_pay_with_permit(chain, router, usdt, usdt_payer, partner, new_order, seconds):
    usdt.approve(router, 0, sender=usdt_payer)
    deadline = chain.pending_timestamp + seconds if seconds else 0
    permit = sign_permit(key_of("payer"), USDT_DOMAIN, router.address, AMOUNT, usdt.nonces(usdt_payer), deadline)

    router.payWithPermit(new_order(usdt), permit, sender=usdt_payer)

    assert usdt.balanceOf(partner) == FUNDS + AMOUNT // 2


def test_a_permit_over_the_usual_domain_is_worthless(chain, router, usdt, usdt_payer, new_order):
    usdt.approve(router, 0, sender=usdt_payer)
    usual = {"name": "USDT0", "version": "1", "chainId": 137, "verifyingContract": usdt.address}
    deadline = chain.pending_timestamp + 3600
    permit = sign_permit(key_of("payer"), usual, router.address, AMOUNT, usdt.nonces(usdt_payer), deadline)

    with ape.reverts():
        router.payWithPermit(new_order(usdt), permit, sender=usdt_payer)
    assert usdt.balanceOf(usdt_payer) == FUNDS


def test_a_blocked_payer_is_refused(router, usdt, usdt_payer, new_order):
    send_as_owner(usdt, "addToBlockedList(address)", usdt_payer.address)
    order = new_order(usdt)

    with ape.reverts():
        router.pay(order, sender=usdt_payer)

    assert not router.paid(router.orderId(order))


def test_a_blocked_side_still_receives(router, usdt, usdt_payer, partner, new_order):
    send_as_owner(usdt, "addToBlockedList(address)", partner.address)

    receipt = router.pay(new_order(usdt), sender=usdt_payer)

    assert not receipt.events.filter(router.Held)
    assert usdt.balanceOf(partner) == FUNDS + AMOUNT // 2
