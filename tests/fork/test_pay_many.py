"""`payMany` with the real tokens and Permit2: many payers, one transaction; what fails is left out and nothing else."""

from collections.abc import Callable
from typing import Any

import ape
import pytest

from tests.contracts.orders import PERMIT2, Order, Role, sign_authorization, sign_permit2
from tests.contracts.refusals import refuses
from tests.fork.conftest import key_of, person
from tests.fork.tokens import AMOUNT, FUNDS, USDC_DOMAIN, acting_as, fund_usdc

ODD = AMOUNT + 1
Payment = tuple[Order, str, bytes]


@pytest.fixture
def by_authorization(router: Any, usdc: Any, new_order: Any) -> Callable[..., Payment]:
    """A payment in USDC that its payer has signed."""

    def make(name: str = "payer", **changes: Any) -> Payment:
        order = new_order(usdc, ODD)._replace(**changes)
        signature = sign_authorization(key_of(name), USDC_DOMAIN, router.address, order, router.orderId(order))
        return order, person(name).address, signature

    return make


@pytest.fixture
def by_permit2(router: Any, usdt: Any, usdt_payer: Any, new_order: Any) -> Callable[..., Payment]:
    """A payment in USDT that its payer has signed, who allows Permit2 everything."""
    usdt.approve(PERMIT2, 2**256 - 1, sender=usdt_payer)

    def make(**changes: Any) -> Payment:
        order = new_order(usdt, ODD)._replace(**changes)
        return (
            order,
            usdt_payer.address,
            sign_permit2(key_of("payer"), 137, router.address, order, router.orderId(order)),
        )

    return make


@pytest.fixture
def greedy(project: Any, usdc: Any, stranger: Any) -> Any:
    """A contract wallet that burns whatever gas it is given to check a signature."""
    wallet = stranger.deploy(project.GreedyPayer)
    fund_usdc(usdc, wallet.address)
    return wallet


def test_both_tokens_in_one_transaction(
    router, usdc, usdt, usdc_payer, by_authorization, by_permit2, partner, safe, stranger
):
    fund_usdc(usdc, person("second payer").address)
    payments = [by_authorization(), by_permit2(), by_authorization("second payer"), by_permit2()]

    receipt = router.payMany(payments, sender=stranger)

    paid = receipt.events.filter(router.Paid)
    assert [(p.orderId, p.payer, p.token, p.amount, p.partnerShare, p.seq) for p in paid] == [
        (router.orderId(order), payer, order.token, ODD, ODD // 2, number)
        for number, (order, payer, _) in enumerate(payments, 1)
    ]
    assert usdc.balanceOf(usdc_payer) == FUNDS - ODD
    assert usdt.balanceOf(usdc_payer) == FUNDS - 2 * ODD
    for token in (usdc, usdt):
        # Of each payment the odd unit is the treasury's.
        assert token.balanceOf(safe.address) == FUNDS + 2 * (ODD // 2 + 1)
        assert token.balanceOf(partner) == FUNDS + 2 * (ODD // 2)
        assert token.balanceOf(router) == 0


def test_what_fails_is_left_out_and_takes_nobody_down(
    chain, project, router, usdc, usdc_payer, by_authorization, by_permit2, stranger
):
    good, twin = by_authorization(), by_permit2()
    order, payer, signature = by_authorization()
    other = stranger.deploy(project.Stablecoin, "USD Coin (PoS)", "USDC.e")
    bad = [
        (order._replace(amount=ODD - 1), payer, signature),  # signed for another order
        (order, stranger.address, signature),  # signed by somebody else
        (order, payer, b"\x01" * 64),  # no signature
        by_authorization(expires_at=chain.pending_timestamp - 1),
        by_authorization(amount=0),
        by_authorization(token=other.address),
        by_authorization("a payer without money"),
        good,  # it is paid further up already
    ]
    receipt = router.payMany([good, *bad, twin], sender=stranger)

    assert [p.orderId for p in receipt.events.filter(router.Paid)] == [router.orderId(o) for o, _, _ in (good, twin)]
    assert [p.seq for p in receipt.events.filter(router.Paid)] == [1, 2]
    skipped = receipt.events.filter(router.PaymentSkipped)
    assert [(s.orderId, s.payer) for s in skipped] == [(router.orderId(o), p) for o, p, _ in bad]
    assert usdc.balanceOf(usdc_payer) == FUNDS - ODD
    assert usdc.balanceOf(router) == 0


def test_what_was_left_out_can_be_paid_later(router, usdc, usdc_payer, by_authorization, stranger):
    order, payer, signature = by_authorization()
    router.payMany([(order, payer, b"\x01" * 65)], sender=stranger)
    assert not router.paid(router.orderId(order))

    router.payMany([(order, payer, signature)], sender=stranger)

    assert router.paid(router.orderId(order))
    assert usdc.balanceOf(usdc_payer) == FUNDS - ODD


def test_pays_once_whoever_sends_it_again(router, usdc, usdc_payer, by_authorization, stranger):
    payment = by_authorization()
    router.payMany([payment, payment], sender=stranger)
    router.payMany([payment], sender=stranger)
    with refuses(router.OrderAlreadyPaid, orderId=router.orderId(payment[0])):
        router.payWithAuthorization(*payment, sender=stranger)
    assert usdc.balanceOf(usdc_payer) == FUNDS - ODD
    assert router.seq() == 1


def test_a_wallet_that_burns_all_gas_burns_only_its_own(router, usdc, greedy, usdc_payer, by_authorization, stranger):
    order, _, signature = by_authorization()
    greedy.setBurns(True, sender=stranger)

    receipt = router.payMany(
        [(order, greedy.address, signature), by_authorization()], sender=stranger, gas_limit=700_000
    )

    assert [s.payer for s in receipt.events.filter(router.PaymentSkipped)] == [greedy.address]
    assert usdc.balanceOf(usdc_payer) == FUNDS - ODD
    greedy.setBurns(False, sender=stranger)  # it is a wallet like any other otherwise
    router.payMany([(order, greedy.address, signature)], sender=stranger)
    assert usdc.balanceOf(greedy.address) == FUNDS - ODD


def test_a_transaction_with_too_little_gas_loses_nothing(router, usdc, usdc_payer, by_authorization, stranger):
    fund_usdc(usdc, person("second payer").address)
    router.payMany([by_authorization()], sender=stranger)
    outcomes = set()
    for limit in range(80_000, 280_000, 5_000):
        before, held = usdc.balanceOf(usdc_payer), usdc.balanceOf(router)
        payments = [by_authorization(), by_authorization("second payer")]
        receipt = router.payMany(payments, sender=stranger, gas_limit=limit, raise_on_revert=False)
        paid = 0 if receipt.failed else len(receipt.events.filter(router.Paid))
        outcomes.add("refused" if receipt.failed else paid)
        assert not receipt.events.filter(router.Held)
        assert usdc.balanceOf(router) == held == 0
        assert before - usdc.balanceOf(usdc_payer) == (ODD if router.paid(router.orderId(payments[0][0])) else 0)
    assert {"refused", 2} <= outcomes


def test_a_blocked_side_is_kept_for(router, usdc, usdc_payer, by_authorization, partner, stranger):
    fund_usdc(usdc, person("second payer").address)
    blacklister = acting_as(usdc.blacklister())
    usdc.blacklist(partner, sender=blacklister)
    for number in (1, 2):  # the second batch finds the first one's shares in the router
        payments = [by_authorization(), by_authorization("second payer")]
        (held,) = router.payMany(payments, sender=stranger).events.filter(router.Held)
        assert (bytes(held.orderId), held.role, held.amount) == (bytes(32), Role.PARTNER, 2 * (ODD // 2))
        assert router.held(usdc, Role.PARTNER) == usdc.balanceOf(router) == number * 2 * (ODD // 2)

    usdc.unBlacklist(partner, sender=blacklister)
    router.release(usdc, Role.PARTNER, sender=stranger)
    assert usdc.balanceOf(partner) == FUNDS + 4 * (ODD // 2)


def test_a_token_that_is_paused_pays_nobody_and_stops_no_other(
    router, usdc, usdt, usdc_payer, by_authorization, by_permit2, stranger
):
    payments = [by_authorization(), by_permit2()]
    usdc.pause(sender=acting_as(usdc.pauser()))
    receipt = router.payMany(payments, sender=stranger)
    assert [p.token for p in receipt.events.filter(router.Paid)] == [usdt.address]
    assert usdc.balanceOf(usdc_payer) == FUNDS


def test_stops_while_paused(router, by_authorization, usdc_payer, safe, stranger):
    payment = by_authorization()
    safe.execute(router, router.pause.encode_input(), signers=2, sender=stranger)
    with refuses(router.InvalidPause, paused=True, expected=False):
        router.payMany([payment], sender=stranger)


def test_nothing_to_pay_is_nothing(router, stranger):
    assert not router.payMany([], sender=stranger).events


def test_a_payer_may_sign_as_a_contract_whose_signatures_are_long(router, usdc, greedy, by_authorization, stranger):
    order, _, _ = by_authorization()
    router.payMany([(order, greedy.address, b"\x02" * 1_000)], sender=stranger)
    assert usdc.balanceOf(greedy.address) == FUNDS - ODD
    assert ape.chain.provider.get_code(greedy.address)
