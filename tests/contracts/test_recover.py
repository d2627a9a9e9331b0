"""`recover`: a token that the router does not take, sent to an order's address by mistake, goes to the treasury."""

import pytest

from tests.contracts.conftest import AMOUNT
from tests.contracts.refusals import refuses


@pytest.fixture
def bridged(project, owner):
    return owner.deploy(project.Stablecoin, "USD Coin (PoS)", "USDC.e")


@pytest.fixture
def id_(router, new_order):
    return router.orderId(new_order())


def test_goes_to_the_treasury_and_pays_nothing(router, bridged, id_, treasury, stranger):
    bridged.mint(router.depositAddress(id_), AMOUNT, sender=stranger)

    receipt = router.recover(id_, bridged, sender=stranger)

    (recovered,) = receipt.events.filter(router.Recovered)
    assert (recovered.orderId, recovered.token, recovered.amount) == (id_, bridged.address, AMOUNT)
    assert not receipt.events.filter(router.Paid)
    assert bridged.balanceOf(treasury) == AMOUNT
    assert router.seq() == 0


def test_accepted_tokens_are_split_and_never_recovered(router, usdc, usdt, id_, payer, stranger):
    for token in (usdc, usdt):
        token.transfer(router.depositAddress(id_), AMOUNT, sender=payer)
        with refuses(router.InvalidToken, token=token.address):
            router.recover(id_, token, sender=stranger)


def test_nothing_there(router, bridged, id_, stranger):
    with refuses(router.NothingToCollect, deposit=router.depositAddress(id_), token=bridged.address):
        router.recover(id_, bridged, sender=stranger)


def test_native_currency_goes_along_to_the_treasury(chain, router, usdc, id_, payer, treasury, stranger):
    """Somebody sent POL instead of USDC: it comes with whatever is collected or recovered there next."""
    address = router.depositAddress(id_)
    payer.transfer(address, 5 * 10**17)
    usdc.transfer(address, AMOUNT, sender=payer)
    before = treasury.balance

    router.collect(id_, usdc, sender=stranger)

    assert treasury.balance - before == 5 * 10**17
    assert chain.provider.get_balance(address) == chain.provider.get_balance(router.address) == 0


def test_a_token_that_calls_back_moves_nothing_else(project, router, usdc, owner, id_, payer, treasury, stranger):
    """A token of anybody's may be recovered; in the middle of it nothing of the order's own money can be touched."""
    token = owner.deploy(project.ReentrantToken)
    token.mint(router.depositAddress(id_), AMOUNT, sender=stranger)
    usdc.transfer(router.depositAddress(id_), AMOUNT, sender=payer)
    token.arm(treasury, router, router.collect.encode_input(id_, usdc), sender=payer)

    router.recover(id_, token, sender=stranger)

    assert (token.called(), token.succeeded()) == (True, False)
    assert usdc.balanceOf(router.depositAddress(id_)) == AMOUNT


def test_works_while_paused(router, bridged, id_, owner, treasury, stranger):
    router.pause(sender=owner)
    bridged.mint(router.depositAddress(id_), AMOUNT, sender=stranger)
    router.recover(id_, bridged, sender=stranger)
    assert bridged.balanceOf(treasury) == AMOUNT
