"""`setPartner`: the owner names who receives the partner's shares, within limits."""

import pytest

from tests.contracts.conftest import AMOUNT
from tests.contracts.orders import Role
from tests.contracts.refusals import refuses

ZERO = "0x" + "00" * 20


def test_the_new_partner_receives_from_now_on(router, usdc, owner, payer, partner, stranger, new_order):
    router.pay(new_order(), sender=payer)
    before = usdc.balanceOf(stranger)

    receipt = router.setPartner(stranger, sender=owner)
    (changed,) = receipt.events.filter(router.PartnerChanged)
    assert (changed.previousPartner, changed.newPartner) == (partner, stranger)
    router.pay(new_order(), sender=payer)

    assert router.partner() == stranger
    assert router.seq() == 2
    assert usdc.balanceOf(partner) == usdc.balanceOf(stranger) - before == AMOUNT // 2


@pytest.mark.parametrize("name", ["zero", "router", "usdc", "usdt", "treasury"])
def test_refuses_who_cannot_be_a_partner(request, router, owner, partner, name):
    address = ZERO if name == "zero" else request.getfixturevalue(name).address

    with refuses(router.InvalidBeneficiary, role=Role.PARTNER, beneficiary=address):
        router.setPartner(address, sender=owner)

    assert router.partner() == partner


def test_only_the_owner(router, partner, stranger):
    for account in (stranger, partner):
        with refuses(router.OwnableUnauthorizedAccount, account=account.address):
            router.setPartner(stranger, sender=account)
