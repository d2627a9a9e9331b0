"""`collect` with the real tokens: any wallet, any exchange, again and again, and what was sent by mistake."""

from typing import Any

import ape
import pytest

from tests.contracts.orders import Role
from tests.fork.tokens import AMOUNT, FUNDS, acting_as

ODD = AMOUNT + 1


@pytest.fixture(params=["usdc", "usdt"])
def token(request: Any) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def sender(request: Any, token: Any) -> Any:
    return request.getfixturevalue("usdt_payer" if token.address.startswith("0xc2") else "usdc_payer")


@pytest.fixture
def id_(router: Any, token: Any, new_order: Any) -> bytes:
    return bytes(router.orderId(new_order(token, ODD)))


def test_a_plain_transfer_is_split_as_often_as_it_comes(router, token, sender, id_, partner, safe, stranger):
    for number in (1, 2):
        token.transfer(router.depositAddress(id_), ODD, sender=sender)
        (paid,) = router.collect(id_, token, sender=stranger).events.filter(router.Paid)
        assert (paid.payer, paid.amount, paid.partnerShare) == (router.depositAddress(id_), ODD, ODD // 2)
        assert not ape.chain.provider.get_code(router.depositAddress(id_))
        assert ape.chain.provider.get_nonce(router.depositAddress(id_)) == 0
        assert token.balanceOf(safe.address) == FUNDS + number * (ODD // 2 + 1)
        assert token.balanceOf(partner) == FUNDS + number * (ODD // 2)
    assert token.balanceOf(router) == token.balanceOf(router.depositAddress(id_)) == 0


def test_many_orders_of_many_senders(router, token, sender, partner, new_order, stranger):
    ids = [router.orderId(new_order(token)) for _ in range(4)]
    for id_ in ids:
        token.transfer(router.depositAddress(id_), ODD, sender=sender)
    receipt = router.collectMany(ids, token, sender=stranger)
    assert [p.orderId for p in receipt.events.filter(router.Paid)] == ids
    assert token.balanceOf(partner) == FUNDS + 4 * (ODD // 2)


def test_a_blocked_partner_is_kept_for_and_released(router, usdc, usdc_payer, new_order, partner, stranger):
    id_ = router.orderId(new_order(usdc))
    usdc.transfer(router.depositAddress(id_), ODD, sender=usdc_payer)
    blacklister = acting_as(usdc.blacklister())
    usdc.blacklist(partner, sender=blacklister)

    router.collect(id_, usdc, sender=stranger)

    assert usdc.balanceOf(router) == router.held(usdc, Role.PARTNER) == ODD // 2
    usdc.unBlacklist(partner, sender=blacklister)
    router.release(usdc, Role.PARTNER, sender=stranger)
    assert usdc.balanceOf(partner) == FUNDS + ODD // 2


def test_a_blocked_deposit_address_keeps_its_money_until_it_is_free(router, usdc, usdc_payer, new_order, stranger):
    id_ = router.orderId(new_order(usdc))
    usdc.transfer(router.depositAddress(id_), AMOUNT, sender=usdc_payer)
    blacklister = acting_as(usdc.blacklister())
    usdc.blacklist(router.depositAddress(id_), sender=blacklister)
    with ape.reverts("Blacklistable: account is blacklisted"):
        router.collect(id_, usdc, sender=stranger)
    usdc.unBlacklist(router.depositAddress(id_), sender=blacklister)
    router.collect(id_, usdc, sender=stranger)


def test_no_gas_limit_forces_a_share_to_be_held(router, usdc, usdc_payer, new_order, stranger):
    outcomes = set()
    for limit in range(80_000, 190_000, 5_000):
        id_ = router.orderId(new_order(usdc))
        usdc.transfer(router.depositAddress(id_), AMOUNT, sender=usdc_payer)
        receipt = router.collect(id_, usdc, sender=stranger, gas_limit=limit, raise_on_revert=False)
        outcomes.add("refused" if receipt.failed else "held" if receipt.events.filter(router.Held) else "delivered")
    assert outcomes == {"refused", "delivered"}
    assert usdc.balanceOf(router) == 0


def test_native_currency_sent_by_mistake_comes_to_the_safe(router, usdc, usdc_payer, new_order, safe, stranger):
    id_ = router.orderId(new_order(usdc))
    stranger.transfer(router.depositAddress(id_), 3 * 10**18)
    usdc.transfer(router.depositAddress(id_), AMOUNT, sender=usdc_payer)
    before = ape.chain.provider.get_balance(safe.address)
    router.collect(id_, usdc, sender=stranger)
    assert ape.chain.provider.get_balance(safe.address) - before == 3 * 10**18
