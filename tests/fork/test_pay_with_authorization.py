"""`payWithAuthorization` with real USDC: the payer signs, anybody sends, and it is good for one order alone."""

from collections.abc import Callable
from typing import Any

import ape
import pytest
from eth_account import Account

from tests.contracts.orders import Order, Role, authorization, sign_authorization
from tests.contracts.refusals import refuses
from tests.fork.conftest import key_of
from tests.fork.tokens import AMOUNT, FUNDS, USDC_DOMAIN, acting_as, fund_usdc
from tests.fork.treasury_safe import TreasurySafe

ODD = AMOUNT + 1


@pytest.fixture
def sign(router: Any) -> Callable[..., bytes]:
    """The payer's authorization of an order; parts of the message may be replaced."""

    def make(order: Order, **changes: Any) -> bytes:
        return sign_authorization(key_of("payer"), USDC_DOMAIN, router.address, order, router.orderId(order), **changes)

    return make


@pytest.fixture
def poor_payer(usdc: Any, router: Any, usdc_payer: Any) -> Any:
    """The payer, who allows the router nothing."""
    usdc.approve(router, 0, sender=usdc_payer)
    return usdc_payer


def test_a_stranger_sends_it_and_the_payer_pays(router, usdc, poor_payer, partner, safe, stranger, new_order, sign):
    order = new_order(usdc, ODD)

    receipt = router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)

    (paid,) = receipt.events.filter(router.Paid)
    assert (paid.orderId, paid.payer, paid.token) == (router.orderId(order), poor_payer, usdc.address)
    assert (paid.amount, paid.partnerShare, paid.seq) == (ODD, AMOUNT // 2, router.seq())
    assert usdc.balanceOf(poor_payer) == FUNDS - ODD
    assert usdc.balanceOf(safe.address) == FUNDS + AMOUNT // 2 + 1
    assert usdc.balanceOf(partner) == FUNDS + AMOUNT // 2
    assert usdc.balanceOf(router) == 0


@pytest.mark.parametrize("amount", [1, 2, 3])
def test_the_smallest_amounts(router, usdc, poor_payer, partner, safe, stranger, new_order, sign, amount):
    order = new_order(usdc, amount)
    router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)
    assert usdc.balanceOf(partner) == FUNDS + amount // 2
    assert usdc.balanceOf(safe.address) == FUNDS + amount - amount // 2


def test_is_good_for_no_other_order(router, usdc, poor_payer, stranger, new_order, sign):
    order = new_order(usdc)
    signature = sign(order)
    others = (
        new_order(usdc),
        order._replace(amount=AMOUNT - 1),
        order._replace(expires_at=order.expires_at + 1),
        order._replace(salt=b"\x07" * 32),
    )
    for other in others:
        with ape.reverts("FiatTokenV2: invalid signature"):
            router.payWithAuthorization(other, poor_payer, signature, sender=stranger)
    assert usdc.balanceOf(poor_payer) == FUNDS


@pytest.mark.parametrize("change", ["to", "value", "nonce", "validBefore", "validAfter", "kind"])
def test_takes_no_other_message(router, usdc, poor_payer, stranger, new_order, sign, change):
    order = new_order(usdc)
    other = {
        "to": stranger.address,
        "value": AMOUNT + 1,
        "nonce": b"\x01" * 32,
        "validBefore": order.expires_at + 1,
        "validAfter": 1,
        "kind": "TransferWithAuthorization",
    }[change]
    with ape.reverts("FiatTokenV2: invalid signature"):
        router.payWithAuthorization(order, poor_payer, sign(order, **{change: other}), sender=stranger)


def test_somebody_elses_tokens_are_not_spent(router, usdc, poor_payer, partner, stranger, new_order, sign):
    order = new_order(usdc)
    with ape.reverts("FiatTokenV2: invalid signature"):
        router.payWithAuthorization(order, partner, sign(order), sender=stranger)


def test_pays_once(router, usdc, poor_payer, stranger, new_order, sign):
    order = new_order(usdc)
    router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)
    with refuses(router.OrderAlreadyPaid, orderId=router.orderId(order)):
        router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)
    with refuses(router.OrderAlreadyPaid, orderId=router.orderId(order)):
        router.pay(order, sender=poor_payer)


def test_is_of_no_use_to_anybody_but_the_router(router, usdc, poor_payer, stranger, new_order, sign):
    order = new_order(usdc)
    arguments = (poor_payer, router, order.amount, 0, order.expires_at, router.orderId(order), sign(order))
    with ape.reverts("FiatTokenV2: caller must be the payee"):
        usdc.receiveWithAuthorization(*arguments, sender=stranger)


def test_one_that_was_cancelled_pays_nothing_and_the_order_stays_payable(
    router, usdc, usdc_payer, stranger, new_order, sign
):
    order = new_order(usdc)
    nonce = router.orderId(order)
    types = {"CancelAuthorization": [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]}
    usdc.cancelAuthorization(usdc_payer, nonce, _signed(types, {"authorizer": usdc_payer.address, "nonce": nonce}),
                             sender=stranger)  # fmt: skip
    assert usdc.authorizationState(usdc_payer, nonce)  # which therefore says nothing of a payment

    with ape.reverts("FiatTokenV2: authorization is used or canceled"):
        router.payWithAuthorization(order, usdc_payer, sign(order), sender=stranger)
    assert not router.paid(nonce)
    router.pay(order, sender=usdc_payer)
    assert router.paid(nonce)


def test_tokens_that_came_by_another_kind_of_authorization_are_given_back(
    router, usdc, poor_payer, safe, stranger, new_order, sign
):
    order = new_order(usdc)
    signature = sign(order, kind="TransferWithAuthorization")
    arguments = (poor_payer, router, order.amount, 0, order.expires_at, router.orderId(order), signature)
    usdc.transferWithAuthorization(*arguments, sender=stranger)  # anybody may send that: it strands in the router
    assert usdc.balanceOf(router) == AMOUNT

    safe.execute(router, router.rescue.encode_input(usdc, poor_payer), signers=2, sender=stranger)
    assert usdc.balanceOf(poor_payer) == FUNDS


def test_what_lies_in_the_router_pays_for_nobody(router, usdc, poor_payer, partner, stranger, new_order, sign):
    usdc.transfer(router, 3 * AMOUNT, sender=partner)
    order = new_order(usdc)
    router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)
    assert usdc.balanceOf(router) == 3 * AMOUNT
    assert usdc.balanceOf(poor_payer) == FUNDS - AMOUNT


def test_a_blocked_side_is_kept_for(router, usdc, poor_payer, partner, safe, stranger, new_order, sign):
    blacklister = acting_as(usdc.blacklister())
    for side in (partner, safe.address):
        usdc.blacklist(side, sender=blacklister)
    order = new_order(usdc, ODD)

    receipt = router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)

    assert [held.amount for held in receipt.events.filter(router.Held)] == [AMOUNT // 2 + 1, AMOUNT // 2]
    assert usdc.balanceOf(router) == router.held(usdc, Role.TREASURY) + router.held(usdc, Role.PARTNER) == ODD
    for side, role in ((partner, Role.PARTNER), (safe.address, Role.TREASURY)):
        usdc.unBlacklist(side, sender=blacklister)
        router.release(usdc, role, sender=stranger)
    assert usdc.balanceOf(partner) == FUNDS + AMOUNT // 2
    assert usdc.balanceOf(router) == 0


def test_no_gas_limit_forces_a_share_to_be_held(router, usdc, poor_payer, stranger, new_order, sign):
    outcomes = set()
    for limit in range(100_000, 190_000, 2_500):
        order = new_order(usdc)
        receipt = router.payWithAuthorization(
            order, poor_payer, sign(order), sender=stranger, gas_limit=limit, raise_on_revert=False
        )
        outcomes.add("refused" if receipt.failed else "held" if receipt.events.filter(router.Held) else "delivered")
    assert outcomes == {"refused", "delivered"}
    assert usdc.balanceOf(router) == 0


def test_usdt_knows_no_authorizations(router, usdt, payer, stranger, new_order):
    with refuses(router.NoAuthorizations, token=usdt.address):
        router.payWithAuthorization(new_order(usdt), payer, b"\x01" * 65, sender=stranger)


def test_stops_while_paused_and_when_it_is_late(chain, router, usdc, poor_payer, safe, stranger, new_order, sign):
    order = new_order(usdc)
    safe.execute(router, router.pause.encode_input(), signers=2, sender=stranger)
    with refuses(router.InvalidPause, paused=True, expected=False):
        router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)
    safe.execute(router, router.unpause.encode_input(), signers=2, sender=stranger)
    chain.pending_timestamp = order.expires_at
    with refuses(router.OrderExpired, timestamp=order.expires_at, expiresAt=order.expires_at):
        router.payWithAuthorization(order, poor_payer, sign(order), sender=stranger)


def test_a_safe_pays_with_the_signatures_of_its_owners(router, usdc, partner, stranger, new_order):
    keys = [key_of(f"paying signer {i}") for i in range(3)]
    payer = TreasurySafe.create(keys, threshold=2, sender=stranger)
    fund_usdc(usdc, payer.address)
    order = new_order(usdc)
    message = authorization(keys[0], USDC_DOMAIN, router.address, order, router.orderId(order), payer=payer.address)

    with ape.reverts("FiatTokenV2: invalid signature"):
        router.payWithAuthorization(order, payer.address, payer.sign_message(message, signers=1), sender=stranger)
    router.payWithAuthorization(order, payer.address, payer.sign_message(message, signers=2), sender=stranger)

    assert usdc.balanceOf(payer.address) == FUNDS - AMOUNT
    assert usdc.balanceOf(partner) == FUNDS + AMOUNT // 2


def test_an_account_with_code_that_signs_nothing_can_still_pay(router, usdc, usdc_payer, stranger, new_order, sign):
    """EIP-7702: USDC asks the account's code, which knows no ERC-1271, and no longer looks at the signature itself."""
    delegated = "0xef0100" + router.address[2:]
    ape.chain.provider.make_request("anvil_setCode", [usdc_payer.address, delegated])
    order = new_order(usdc)
    with ape.reverts("FiatTokenV2: invalid signature"):
        router.payWithAuthorization(order, usdc_payer, sign(order), sender=stranger)

    router.pay(order, sender=usdc_payer)
    assert usdc.balanceOf(usdc_payer) == FUNDS - AMOUNT


def _signed(types: dict[str, Any], message: dict[str, Any]) -> bytes:
    return bytes(Account.sign_typed_data(key_of("payer"), USDC_DOMAIN, types, message).signature)
