"""Ownership moves in two steps and is never dropped."""

from tests.contracts.refusals import refuses


def test_moves_only_when_the_new_owner_accepts(router, owner, stranger):
    router.transferOwnership(stranger, sender=owner)
    assert (router.owner(), router.pendingOwner()) == (owner, stranger)
    router.pause(sender=owner)

    router.acceptOwnership(sender=stranger)
    assert router.owner() == stranger
    router.unpause(sender=stranger)
    with refuses(router.OwnableUnauthorizedAccount, account=owner.address):
        router.pause(sender=owner)


def test_nobody_else_can_accept(router, owner, payer, stranger):
    router.transferOwnership(stranger, sender=owner)
    with refuses(router.OwnableUnauthorizedAccount, account=payer.address):
        router.acceptOwnership(sender=payer)


def test_only_the_owner_hands_over(router, stranger):
    with refuses(router.OwnableUnauthorizedAccount, account=stranger.address):
        router.transferOwnership(stranger, sender=stranger)


def test_cannot_be_renounced(router, owner):
    with refuses(router.OwnershipIsNotRenounceable, owner=owner.address):
        router.renounceOwnership(sender=owner)
    assert router.owner() == owner
