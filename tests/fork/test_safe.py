"""A real 2-of-3 Safe as treasury and owner: two signatures decide, one does not; ownership leaves and comes back."""

import ape

from tests.contracts.orders import Role
from tests.contracts.refusals import refuses
from tests.fork.tokens import AMOUNT, acting_as


def test_is_treasury_and_owner(router, safe):
    assert safe.contract.VERSION() == "1.4.1"
    assert (safe.contract.getThreshold(), len(safe.contract.getOwners())) == (2, 3)
    assert router.treasury() == router.owner() == safe.address


def test_two_signatures_change_the_partner(router, safe, stranger):
    data = router.setPartner.encode_input(stranger)

    safe.execute(router, data, signers=2, sender=stranger)

    assert router.partner() == stranger


def test_one_signature_does_not(router, safe, partner, stranger):
    data = router.setPartner.encode_input(stranger)

    with ape.reverts("GS020"):  # Safe's code for too few signatures
        safe.execute(router, data, signers=1, sender=stranger)

    assert router.partner() == partner


def test_no_owner_of_the_safe_decides_alone(router, safe, stranger):
    signer = acting_as(safe.contract.getOwners()[0])
    with refuses(router.OwnableUnauthorizedAccount, account=signer.address):
        router.setPartner(stranger, sender=signer)


def test_ownership_leaves_and_comes_back_in_two_steps(router, safe, stranger):
    safe.execute(router, router.transferOwnership.encode_input(stranger), signers=2, sender=stranger)
    assert router.owner() == safe.address
    router.acceptOwnership(sender=stranger)
    assert router.owner() == stranger

    router.transferOwnership(safe.address, sender=stranger)
    assert router.owner() == stranger
    safe.execute(router, router.acceptOwnership.encode_input(), signers=2, sender=stranger)
    assert router.owner() == safe.address


def test_pauses_and_rescues(router, safe, usdc, usdc_payer, stranger, new_order):
    safe.execute(router, router.pause.encode_input(), signers=2, sender=stranger)
    with refuses(router.InvalidPause, paused=True, expected=False):
        router.pay(new_order(usdc), sender=usdc_payer)

    usdc.transfer(router, 7, sender=usdc_payer)
    safe.execute(router, router.rescue.encode_input(usdc, stranger), signers=2, sender=stranger)
    assert usdc.balanceOf(stranger) == 7


def test_replaces_a_blocked_partner_who_then_is_paid(router, safe, usdc, usdc_payer, partner, stranger, new_order):
    usdc.blacklist(partner, sender=acting_as(usdc.blacklister()))
    router.pay(new_order(usdc), sender=usdc_payer)

    safe.execute(router, router.setPartner.encode_input(stranger), signers=2, sender=stranger)
    router.release(usdc, Role.PARTNER, sender=usdc_payer)

    assert usdc.balanceOf(stranger) == AMOUNT // 2
