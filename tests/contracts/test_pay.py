"""`pay`: an order is paid once, in time, in full, in an accepted token, or not at all."""

import ape
import pytest

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.orders import Order
from tests.contracts.refusals import refuses


@pytest.mark.parametrize("token_name", ["usdc", "usdt"])
def test_pays_both_sides_and_says_so(request, router, payer, treasury, partner, new_order, token_name):
    token = request.getfixturevalue(token_name)
    order = new_order(token)

    receipt = router.pay(order, sender=payer)

    assert token.balanceOf(payer) == FUNDS - AMOUNT
    assert token.balanceOf(treasury) == token.balanceOf(partner) == AMOUNT // 2
    assert token.balanceOf(router) == 0
    (paid,) = receipt.events.filter(router.Paid)
    assert paid.orderId == router.orderId(order)
    assert (paid.payer, paid.token) == (payer.address, token.address)
    assert (paid.amount, paid.partnerShare, paid.seq) == (AMOUNT, AMOUNT // 2, 1)


def test_paid_tells_a_paid_order_from_an_open_one(router, payer, new_order):
    order, other = new_order(), new_order()
    assert not router.paid(router.orderId(order))

    router.pay(order, sender=payer)

    assert router.paid(router.orderId(order))
    assert not router.paid(router.orderId(other))


@pytest.mark.parametrize("second", ["payer", "stranger"])
def test_refuses_a_second_payment_whoever_makes_it(request, router, usdc, payer, new_order, second):
    order = new_order()
    router.pay(order, sender=payer)
    account = request.getfixturevalue(second)
    before = usdc.balanceOf(account)

    with refuses(router.OrderAlreadyPaid, orderId=router.orderId(order)):
        router.pay(order, sender=account)

    assert usdc.balanceOf(account) == before


def test_anybody_may_pay_an_order(router, usdc, stranger, new_order):
    receipt = router.pay(new_order(), sender=stranger)

    assert receipt.events.filter(router.Paid)[0].payer == stranger
    assert usdc.balanceOf(stranger) == FUNDS - AMOUNT


def test_refuses_another_token_and_names_the_accepted_ones(project, router, usdc, usdt, owner, payer, fund, new_order):
    bridged = owner.deploy(project.Stablecoin, "USD Coin (PoS)", "USDC.e")
    fund(bridged, payer, router)

    with refuses(router.InvalidToken, token=bridged.address, usdc=usdc.address, usdt=usdt.address):
        router.pay(new_order(bridged), sender=payer)


def test_refuses_an_order_of_nothing(router, payer, new_order):
    with refuses(router.InvalidAmount, amount=0, minimum=1):
        router.pay(new_order(amount=0), sender=payer)


def test_takes_the_last_second_and_refuses_the_next(chain, router, payer, new_order):
    deadline = chain.pending_timestamp + 10_000  # far ahead of the clock: a snapshot brings old times back
    in_time, late = new_order(expires_at=deadline), new_order(expires_at=deadline)

    chain.pending_timestamp = deadline - 1
    receipt = router.pay(in_time, sender=payer)
    assert receipt.timestamp == deadline - 1

    chain.pending_timestamp = deadline
    with refuses(router.OrderExpired, timestamp=deadline, expiresAt=deadline):
        router.pay(late, sender=payer)


def test_nothing_is_recorded_when_the_payer_allowed_too_little(router, usdc, payer, new_order):
    usdc.approve(router, AMOUNT - 1, sender=payer)
    order = new_order()

    with refuses(usdc.ERC20InsufficientAllowance):
        router.pay(order, sender=payer)

    assert not router.paid(router.orderId(order))
    assert router.seq() == 0
    assert usdc.balanceOf(payer) == FUNDS


def test_nothing_is_recorded_when_the_payer_has_too_little(router, usdc, payer, new_order):
    usdc.approve(router, 2 * FUNDS, sender=payer)

    with refuses(usdc.ERC20InsufficientBalance):
        router.pay(new_order(amount=FUNDS + 1), sender=payer)

    assert router.seq() == 0


def test_numbers_payments_without_a_gap(router, usdt, payer, stranger, new_order):
    numbers = []
    for token, account in [(None, payer), (usdt, stranger), (None, stranger), (usdt, payer)]:
        with refuses(router.InvalidAmount):  # a payment that fails takes no number
            router.pay(new_order(amount=0), sender=account)
        receipt = router.pay(new_order(token), sender=account)
        numbers.append(receipt.events.filter(router.Paid)[0].seq)

    assert numbers == [1, 2, 3, 4]
    assert router.seq() == 4


def test_takes_no_native_currency(router, payer, new_order):
    order: Order = new_order()
    with ape.reverts():
        payer.transfer(router, 1)
    with ape.reverts():
        payer.call(router.pay.as_transaction(order, sender=payer, gas_limit=500_000).model_copy(update={"value": 1}))
    assert router.balance == 0
