"""`payWithPermit`: allow and pay in one transaction; the permit helps, it decides nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.orders import Permit, sign_permit
from tests.contracts.refusals import refuses

NO_PERMIT = Permit(0, 27, b"\x01" * 32, b"\x02" * 32)


@pytest.fixture
def permit(chain: Any, router: Any, usdc: Any, payer: Any) -> Callable[..., Permit]:
    """The payer's permit for the router; the payer has no allowance left from before."""
    usdc.approve(router, 0, sender=payer)
    domain = {"name": "USD Coin", "version": "1", "chainId": chain.chain_id, "verifyingContract": usdc.address}

    def sign(value: int = AMOUNT, deadline: int | None = None, spender: Any = None) -> Permit:
        until = chain.pending_timestamp + 3600 if deadline is None else deadline
        return sign_permit(payer.private_key, domain, (spender or router).address, value, usdc.nonces(payer), until)

    return sign


def test_pays_without_an_earlier_allowance(router, usdc, payer, treasury, partner, new_order, permit):
    order = new_order()

    receipt = router.payWithPermit(order, permit(), sender=payer)

    (paid,) = receipt.events.filter(router.Paid)
    assert (paid.orderId, paid.payer, paid.amount, paid.seq) == (router.orderId(order), payer, AMOUNT, 1)
    assert usdc.balanceOf(treasury) == usdc.balanceOf(partner) == AMOUNT // 2
    assert usdc.allowance(payer, router) == 0


def test_survives_a_permit_that_somebody_sent_ahead(router, usdc, payer, stranger, new_order, permit):
    signed = permit()
    usdc.permit(payer, router, AMOUNT, *signed, sender=stranger)

    router.payWithPermit(new_order(), signed, sender=payer)

    assert usdc.balanceOf(payer) == FUNDS - AMOUNT


def test_a_useless_permit_does_not_matter_when_the_allowance_is_there(router, usdc, payer, new_order):
    router.payWithPermit(new_order(), NO_PERMIT, sender=payer)

    assert usdc.balanceOf(payer) == FUNDS - AMOUNT


def test_a_useless_permit_without_allowance_fails_with_the_tokens_own_error(router, usdc, payer, new_order, permit):
    with refuses(usdc.ERC20InsufficientAllowance):
        router.payWithPermit(new_order(), NO_PERMIT, sender=payer)


def test_a_permit_past_its_deadline_allows_nothing(chain, router, usdc, payer, new_order, permit):
    with refuses(usdc.ERC20InsufficientAllowance):
        router.payWithPermit(new_order(), permit(deadline=chain.pending_timestamp - 10), sender=payer)


@pytest.mark.parametrize("value", [AMOUNT - 1, AMOUNT + 1])
def test_a_permit_of_another_amount_allows_nothing(router, usdc, payer, new_order, permit, value):
    with refuses(usdc.ERC20InsufficientAllowance):
        router.payWithPermit(new_order(), permit(value), sender=payer)


def test_somebody_elses_permit_cannot_be_spent(router, usdc, payer, stranger, new_order, permit):
    usdc.approve(router, 0, sender=stranger)

    with refuses(usdc.ERC20InsufficientAllowance):
        router.payWithPermit(new_order(), permit(), sender=stranger)

    assert usdc.balanceOf(payer) == FUNDS
    assert usdc.nonces(payer) == 0


def test_somebody_elses_permit_never_chooses_who_pays(router, usdc, payer, stranger, new_order, permit):
    """A stranger with an allowance of his own pays with his own tokens, whatever signature he brings along."""
    receipt = router.payWithPermit(new_order(), permit(), sender=stranger)

    assert receipt.events.filter(router.Paid)[0].payer == stranger
    assert usdc.balanceOf(payer) == FUNDS


def test_refuses_a_second_payment(router, payer, new_order, permit):
    order = new_order()
    router.payWithPermit(order, permit(), sender=payer)

    with refuses(router.OrderAlreadyPaid, orderId=router.orderId(order)):
        router.payWithPermit(order, permit(), sender=payer)


def test_an_unknown_token_is_refused_before_it_is_called(router, payer, stranger, new_order):
    with refuses(router.InvalidToken, token=stranger.address):
        router.payWithPermit(new_order(stranger), NO_PERMIT, sender=payer)


def test_expires_like_any_order(chain, router, payer, new_order, permit):
    deadline = chain.pending_timestamp + 10_000  # far ahead of the clock: a snapshot brings old times back
    signed = permit()
    chain.pending_timestamp = deadline
    with refuses(router.OrderExpired, timestamp=deadline, expiresAt=deadline):
        router.payWithPermit(new_order(expires_at=deadline), signed, sender=payer)


def test_stops_while_paused(router, owner, payer, new_order, permit):
    router.pause(sender=owner)
    with refuses(router.InvalidPause, paused=True, expected=False):
        router.payWithPermit(new_order(), permit(), sender=payer)
