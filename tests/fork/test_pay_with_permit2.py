"""`payWithPermit2` with the real Permit2: the payer signs, anybody sends, and it is good for one order alone."""

from collections.abc import Callable
from typing import Any

import ape
import pytest
from eth_utils.crypto import keccak

from tests.contracts.orders import PERMIT2, Order, Role, sign_permit2
from tests.contracts.refusals import refuses
from tests.fork.conftest import key_of
from tests.fork.tokens import AMOUNT, FUNDS, acting_as

ODD = AMOUNT + 1


@pytest.fixture(params=["usdc", "usdt"])
def token(request: Any) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def allowing(request: Any, token: Any, router: Any) -> Any:
    """The payer, who allows Permit2 everything, as most wallets do, and the router nothing."""
    payer = request.getfixturevalue("usdt_payer" if token.address.startswith("0xc2") else "usdc_payer")
    token.approve(router, 0, sender=payer)
    token.approve(PERMIT2, 2**256 - 1, sender=payer)
    return payer


@pytest.fixture
def sign(router: Any) -> Callable[..., bytes]:
    """The payer's Permit2 signature for an order; parts of the message may be replaced."""

    def make(order: Order, **changes: Any) -> bytes:
        return sign_permit2(key_of("payer"), 137, router.address, order, router.orderId(order), **changes)

    return make


def test_a_stranger_sends_it_and_the_payer_pays(router, token, allowing, partner, safe, stranger, new_order, sign):
    order = new_order(token, ODD)

    receipt = router.payWithPermit2(order, allowing, sign(order), sender=stranger)

    (paid,) = receipt.events.filter(router.Paid)
    assert (paid.orderId, paid.payer, paid.token) == (router.orderId(order), allowing, token.address)
    assert (paid.amount, paid.partnerShare, paid.seq) == (ODD, AMOUNT // 2, router.seq())
    assert token.balanceOf(allowing) == FUNDS - ODD
    assert token.balanceOf(safe.address) == FUNDS + AMOUNT // 2 + 1
    assert token.balanceOf(partner) == FUNDS + AMOUNT // 2
    assert token.balanceOf(router) == 0


def test_is_good_for_no_other_order(router, token, allowing, stranger, new_order, sign):
    order = new_order(token)
    signature = sign(order)
    others = (
        new_order(token),
        order._replace(amount=AMOUNT - 1),
        order._replace(expires_at=order.expires_at + 1),
        order._replace(salt=b"\x07" * 32),
    )
    for other in others:
        with _refused("InvalidSigner()"):
            router.payWithPermit2(other, allowing, signature, sender=stranger)
    assert token.balanceOf(allowing) == FUNDS


@pytest.mark.parametrize("change", ["spender", "permitted", "nonce", "deadline"])
def test_takes_no_other_message(router, token, allowing, stranger, new_order, sign, change):
    order = new_order(token)
    other = {
        "spender": stranger.address,
        "permitted": {"token": token.address, "amount": AMOUNT + 1},
        "nonce": 7,
        "deadline": order.expires_at + 1,
    }[change]
    with _refused("InvalidSigner()"):
        router.payWithPermit2(order, allowing, sign(order, **{change: other}), sender=stranger)


def test_somebody_elses_tokens_are_not_spent(router, token, allowing, partner, stranger, new_order, sign):
    token.approve(PERMIT2, FUNDS, sender=partner)
    order = new_order(token)
    with _refused("InvalidSigner()"):
        router.payWithPermit2(order, partner, sign(order), sender=stranger)


def test_pays_once(router, token, allowing, stranger, new_order, sign):
    order = new_order(token)
    router.payWithPermit2(order, allowing, sign(order), sender=stranger)
    with refuses(router.OrderAlreadyPaid, orderId=router.orderId(order)):
        router.payWithPermit2(order, allowing, sign(order), sender=stranger)


def test_a_signature_that_the_payer_took_back_pays_nothing(router, token, allowing, stranger, new_order, sign):
    order = new_order(token)
    nonce = int.from_bytes(router.orderId(order), "big")
    word = (nonce >> 8).to_bytes(32, "big") + (1 << (nonce & 0xFF)).to_bytes(32, "big")
    selector = keccak(text="invalidateUnorderedNonces(uint256,uint256)")[:4]
    allowing.call(ape.networks.ecosystem.create_transaction(receiver=PERMIT2, data=selector + word))

    with _refused("InvalidNonce()"):
        router.payWithPermit2(order, allowing, sign(order), sender=stranger)
    assert not router.paid(router.orderId(order))


def test_a_blocked_side_is_kept_for_and_then_released(router, usdc, usdc_payer, partner, stranger, new_order, sign):
    usdc.approve(PERMIT2, FUNDS, sender=usdc_payer)
    blacklister = acting_as(usdc.blacklister())
    usdc.blacklist(partner, sender=blacklister)
    for number in (1, 2):  # the second one finds the first one's share in the router
        order = new_order(usdc, ODD)
        router.payWithPermit2(order, usdc_payer, sign(order), sender=stranger)
        assert usdc.balanceOf(router) == router.held(usdc, Role.PARTNER) == number * (AMOUNT // 2)

    usdc.unBlacklist(partner, sender=blacklister)
    router.release(usdc, Role.PARTNER, sender=stranger)
    assert usdc.balanceOf(partner) == FUNDS + 2 * (AMOUNT // 2)
    order = new_order(usdc)
    router.payWithPermit2(order, usdc_payer, sign(order), sender=stranger)
    assert usdc.balanceOf(router) == 0


@pytest.mark.parametrize("something_held", [False, True])
def test_a_token_that_keeps_a_part_pays_for_nobody(
    project, chain, safe, partner, stranger, payer, usdt, something_held
):
    """No share of anybody else's is sent on, and none is written down that is not there."""
    token = stranger.deploy(project.FeeTakingToken)
    router = stranger.deploy(project.PaymentRouter, token, usdt, safe.address, partner, safe.address)
    token.mint(payer, FUNDS, sender=payer)
    token.approve(PERMIT2, FUNDS, sender=payer)
    token.approve(router, FUNDS, sender=payer)
    if something_held:
        token.setBlocked(partner, True, sender=payer)
        router.pay(Order(token.address, AMOUNT, chain.pending_timestamp + 3600, b"\x01" * 32), sender=payer)
        token.setBlocked(partner, False, sender=payer)
    before = token.balanceOf(router)
    assert (before > 0) == something_held

    order = Order(token.address, AMOUNT, chain.pending_timestamp + 3600, b"\x02" * 32)
    signature = sign_permit2(key_of("payer"), 137, router.address, order, router.orderId(order))
    with refuses(router.InvalidReceipt):
        router.payWithPermit2(order, payer, signature, sender=stranger)
    assert token.balanceOf(router) == before


def test_a_token_that_calls_back_cannot_take_what_is_on_its_way(project, chain, safe, partner, stranger, payer, usdt):
    """The owner of this router is the token itself, which tries to rescue the payment between its two halves' ways."""
    token = stranger.deploy(project.ReentrantToken)
    router = stranger.deploy(project.PaymentRouter, token, usdt, safe.address, partner, token.address)
    token.mint(payer, FUNDS, sender=payer)
    token.approve(PERMIT2, FUNDS, sender=payer)
    token.arm(router, router, router.rescue.encode_input(token, stranger), sender=payer)
    order = Order(token.address, AMOUNT, chain.pending_timestamp + 3600, b"\x03" * 32)
    signature = sign_permit2(key_of("payer"), 137, router.address, order, router.orderId(order))

    router.payWithPermit2(order, payer, signature, sender=stranger)

    assert (token.called(), token.succeeded()) == (True, False)
    assert token.balanceOf(stranger) == token.balanceOf(router) == 0
    assert token.balanceOf(safe.address) == token.balanceOf(partner) == AMOUNT // 2


def test_without_an_allowance_for_permit2_nothing_is_paid(router, token, allowing, stranger, new_order, sign):
    token.approve(PERMIT2, 0, sender=allowing)
    order = new_order(token)
    with ape.reverts("TRANSFER_FROM_FAILED"):
        router.payWithPermit2(order, allowing, sign(order), sender=stranger)


def test_stops_while_paused_and_when_it_is_late(chain, router, usdc, usdc_payer, safe, stranger, new_order, sign):
    usdc.approve(PERMIT2, FUNDS, sender=usdc_payer)
    order = new_order(usdc)
    safe.execute(router, router.pause.encode_input(), signers=2, sender=stranger)
    with refuses(router.InvalidPause, paused=True, expected=False):
        router.payWithPermit2(order, usdc_payer, sign(order), sender=stranger)
    safe.execute(router, router.unpause.encode_input(), signers=2, sender=stranger)
    chain.pending_timestamp = order.expires_at
    with refuses(router.OrderExpired, timestamp=order.expires_at, expiresAt=order.expires_at):
        router.payWithPermit2(order, usdc_payer, sign(order), sender=stranger)


class _refused:  # noqa: N801 - reads like ape.reverts
    """Expects one of Permit2's own errors, which have no inputs."""

    def __init__(self, error: str) -> None:
        self._selector = keccak(text=error)[:4].hex()
        self._reverts = ape.reverts()

    def __enter__(self) -> None:
        self._revert = self._reverts.__enter__()

    def __exit__(self, *exception: Any) -> Any:
        handled = self._reverts.__exit__(*exception)
        assert self._selector in str(self._revert.value.revert_message), self._revert.value.revert_message
        return handled
