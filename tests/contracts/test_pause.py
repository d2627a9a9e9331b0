"""`pause` and `unpause`: payments stop and resume; what is already the sides' goes on moving."""

import pytest

from tests.contracts.refusals import refuses


def test_stops_payments_and_resumes_them(router, owner, payer, new_order):
    order = new_order()
    assert not router.paused()

    receipt = router.pause(sender=owner)
    assert router.paused()
    assert receipt.events.filter(router.Paused)[0].account == owner
    with refuses(router.InvalidPause, paused=True, expected=False):
        router.pay(order, sender=payer)

    receipt = router.unpause(sender=owner)
    assert not router.paused()
    assert receipt.events.filter(router.Unpaused)[0].account == owner
    router.pay(order, sender=payer)


def test_keeps_the_partner_and_the_count(router, owner, payer, partner, new_order):
    """The three share a storage slot."""
    router.pay(new_order(), sender=payer)

    router.pause(sender=owner)
    assert (router.partner(), router.seq(), router.paused()) == (partner, 1, True)
    router.unpause(sender=owner)
    assert (router.partner(), router.seq(), router.paused()) == (partner, 1, False)


def test_refuses_to_pause_twice(router, owner):
    router.pause(sender=owner)
    with refuses(router.InvalidPause, paused=True, expected=False):
        router.pause(sender=owner)


def test_refuses_to_resume_what_runs(router, owner):
    with refuses(router.InvalidPause, paused=False, expected=True):
        router.unpause(sender=owner)


@pytest.mark.parametrize("verb", ["pause", "unpause"])
def test_only_the_owner(router, owner, stranger, verb):
    if verb == "unpause":
        router.pause(sender=owner)
    with refuses(router.OwnableUnauthorizedAccount, account=stranger.address):
        getattr(router, verb)(sender=stranger)
