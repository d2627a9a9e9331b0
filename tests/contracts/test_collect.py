"""`collect`, `collectMany`: what was sent to an order's own address is settled, whatever it is, whenever it comes."""

import pytest
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.orders import Role
from tests.contracts.refusals import refuses

ODD = AMOUNT + 1


@pytest.fixture
def order(new_order):
    return new_order()


@pytest.fixture
def id_(router, order):
    return router.orderId(order)


@pytest.fixture
def send(router, payer):
    """Sends a token to an order's deposit address, as any wallet does."""

    def plain_transfer(token, id_, amount=AMOUNT):
        token.transfer(router.depositAddress(id_), amount, sender=payer)

    return plain_transfer


def test_settles_a_plain_transfer(router, usdc, id_, send, treasury, partner, stranger):
    send(usdc, id_, ODD)

    receipt = router.collect(id_, usdc, sender=stranger)

    (paid,) = receipt.events.filter(router.Paid)
    assert (paid.orderId, paid.payer, paid.token) == (id_, router.depositAddress(id_), usdc.address)
    assert (paid.amount, paid.partnerShare, paid.seq) == (ODD, ODD // 2, 1)
    assert (usdc.balanceOf(treasury), usdc.balanceOf(partner)) == (ODD // 2 + 1, ODD // 2)
    assert usdc.balanceOf(router) == usdc.balanceOf(router.depositAddress(id_)) == 0


def test_can_be_repeated_at_the_same_address(chain, router, usdc, id_, send, treasury, stranger):
    for number in (1, 2, 3):
        send(usdc, id_)
        receipt = router.collect(id_, usdc, sender=stranger)
        assert receipt.events.filter(router.Paid)[0].seq == number
        assert not chain.provider.get_code(router.depositAddress(id_))
    assert usdc.balanceOf(treasury) == 3 * AMOUNT // 2


def test_the_address_is_known_without_a_node(project, router, id_):
    code_hash = keccak(bytes.fromhex(project.Deposit.contract_type.deployment_bytecode.bytecode.removeprefix("0x")))
    assert router.depositCodeHash() == code_hash
    address = keccak(b"\xff" + bytes.fromhex(router.address[2:]) + bytes(id_) + code_hash)[12:]
    assert router.depositAddress(id_) == to_checksum_address(address)


def test_another_amount_and_another_token_show_in_the_event(router, usdc, usdt, id_, send, stranger):
    send(usdc, id_, 1)
    send(usdt, id_, 7)

    (one,) = router.collect(id_, usdc, sender=stranger).events.filter(router.Paid)
    (seven,) = router.collect(id_, usdt, sender=stranger).events.filter(router.Paid)

    assert (one.token, one.amount, one.partnerShare) == (usdc.address, 1, 0)
    assert (seven.token, seven.amount, seven.partnerShare) == (usdt.address, 7, 3)


def test_does_not_spend_the_order(router, usdc, order, id_, send, payer, stranger):
    """Else one unit would burn a stranger's order."""
    send(usdc, id_, 1)
    router.collect(id_, usdc, sender=stranger)
    assert not router.paid(id_)
    router.pay(order, sender=payer)
    assert router.paid(id_)


def test_goes_on_after_the_order_was_paid_and_after_its_time(chain, router, usdc, order, id_, send, payer, stranger):
    router.pay(order, sender=payer)
    chain.pending_timestamp = order.expires_at + 1
    send(usdc, id_)
    router.collect(id_, usdc, sender=stranger)
    assert usdc.balanceOf(payer) == FUNDS - 2 * AMOUNT


def test_nothing_there(router, usdc, id_, stranger):
    with refuses(router.NothingToCollect, deposit=router.depositAddress(id_), token=usdc.address):
        router.collect(id_, usdc, sender=stranger)


def test_stops_while_paused_and_nothing_is_lost(router, usdc, id_, send, owner, stranger):
    send(usdc, id_)
    router.pause(sender=owner)
    for collect in (lambda: router.collect(id_, usdc, sender=stranger),
                    lambda: router.collectMany([id_], usdc, sender=stranger)):  # fmt: skip
        with refuses(router.InvalidPause, paused=True, expected=False):
            collect()
    router.unpause(sender=owner)
    router.collect(id_, usdc, sender=stranger)


def test_what_lies_in_the_router_is_not_collected(router, usdc, id_, send, payer, stranger):
    usdc.transfer(router, 5 * AMOUNT, sender=payer)
    send(usdc, id_)
    (paid,) = router.collect(id_, usdc, sender=stranger).events.filter(router.Paid)
    assert paid.amount == AMOUNT
    assert usdc.balanceOf(router) == 5 * AMOUNT


def test_a_blocked_side_is_held_for(router, usdc, id_, send, partner, stranger):
    usdc.setBlocked(partner, True, sender=stranger)
    for number in (1, 2):  # the second finds the first one's share in the router
        send(usdc, id_)
        (held,) = router.collect(id_, usdc, sender=stranger).events.filter(router.Held)
        assert (held.orderId, held.role, held.amount) == (id_, Role.PARTNER, AMOUNT // 2)
        assert router.held(usdc, Role.PARTNER) == usdc.balanceOf(router) == number * (AMOUNT // 2)


def test_no_token_that_is_not_accepted(project, router, usdc, usdt, id_, owner, stranger):
    other = owner.deploy(project.Stablecoin, "USD Coin (PoS)", "USDC.e")
    other.mint(router.depositAddress(id_), AMOUNT, sender=stranger)
    for collect in (lambda: router.collect(id_, other, sender=stranger),
                    lambda: router.collectMany([id_], other, sender=stranger)):  # fmt: skip
        with refuses(router.InvalidToken, token=other.address, usdc=usdc.address, usdt=usdt.address):
            collect()


# Many


def test_many_are_settled_by_one_transfer_to_each_side(router, usdc, new_order, send, treasury, partner, stranger):
    ids = [router.orderId(new_order()) for _ in range(5)]
    for number, id_ in enumerate(ids):
        if number != 2:  # one has nothing
            send(usdc, id_, 3 + number)
    ids.append(ids[0])  # one is there twice

    receipt = router.collectMany(ids, usdc, sender=stranger)

    paid = receipt.events.filter(router.Paid)
    assert [(p.orderId, p.amount, p.partnerShare, p.seq) for p in paid] == [
        (ids[0], 3, 1, 1), (ids[1], 4, 2, 2), (ids[3], 6, 3, 3), (ids[4], 7, 3, 4),
    ]  # fmt: skip
    # Each payment's odd unit goes to the treasury: 1 + 2 + 3 + 3 of 20, not half of 20.
    assert (usdc.balanceOf(treasury), usdc.balanceOf(partner)) == (11, 9)
    assert len(receipt.events.filter(usdc.Transfer)) == 4 + 2


def test_what_is_held_of_many_belongs_to_no_single_order(router, usdc, new_order, send, partner, stranger):
    ids = [router.orderId(new_order()) for _ in range(2)]
    for id_ in ids:
        send(usdc, id_, ODD)
    usdc.setBlocked(partner, True, sender=stranger)
    (held,) = router.collectMany(ids, usdc, sender=stranger).events.filter(router.Held)
    assert (bytes(held.orderId), held.amount) == (bytes(32), 2 * (ODD // 2))
    assert usdc.balanceOf(router) == router.held(usdc, Role.PARTNER) == 2 * (ODD // 2)


def test_many_with_nothing_there_do_nothing(router, usdc, id_, stranger):
    assert not router.collectMany([id_], usdc, sender=stranger).events
    assert not router.collectMany([], usdc, sender=stranger).events


def test_one_blocked_address_is_left_out_by_the_sender(router, usdc, new_order, send, stranger):
    ids = [router.orderId(new_order()) for _ in range(2)]
    for id_ in ids:
        send(usdc, id_)
    usdc.setBlocked(router.depositAddress(ids[0]), True, sender=stranger)
    with refuses(usdc.Blocked, account=router.depositAddress(ids[0])):
        router.collectMany(ids, usdc, sender=stranger)
    router.collectMany(ids[1:], usdc, sender=stranger)


# Tokens that misbehave


def test_what_did_not_arrive_is_not_taken_from_what_is_held(
    project, deploy_router, fund, owner, payer, partner, stranger, new_order
):
    token = owner.deploy(project.FeeTakingToken)
    router = deploy_router(token)
    fund(token, payer, router)
    token.setBlocked(partner, True, sender=stranger)
    router.pay(new_order(token), sender=payer)
    token.setBlocked(partner, False, sender=stranger)
    before = token.balanceOf(router)
    id_ = router.orderId(new_order(token))
    token.transfer(router.depositAddress(id_), AMOUNT, sender=payer)

    with refuses(router.InvalidReceipt):
        router.collect(id_, token, sender=stranger)
    assert token.balanceOf(router) == router.held(token, Role.PARTNER) == before


def test_a_token_that_calls_back_collects_nothing_twice(
    project, deploy_router, fund, owner, payer, treasury, partner, stranger, new_order
):
    token = owner.deploy(project.ReentrantToken)
    router = deploy_router(token)
    fund(token, payer, router)
    first, second = (router.orderId(new_order(token)) for _ in range(2))
    for id_ in (first, second):
        token.transfer(router.depositAddress(id_), AMOUNT, sender=payer)
    token.arm(router, router, router.collect.encode_input(second, token), sender=payer)

    router.collect(first, token, sender=stranger)

    assert (token.called(), token.succeeded()) == (True, False)
    assert token.balanceOf(treasury) == token.balanceOf(partner) == AMOUNT // 2
    assert token.balanceOf(router.depositAddress(second)) == AMOUNT
