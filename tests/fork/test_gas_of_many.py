"""What payments cost that come through the router: plain transfers that are collected, and many at once.

Shown with `-s`; per payment. All payers are strangers to each other, as they are in life.
"""

from typing import Any

import click
import pytest

from tests.contracts.orders import sign_authorization
from tests.fork.conftest import key_of, person
from tests.fork.tokens import AMOUNT, USDC_DOMAIN, fund_usdc

CEILINGS = {
    ("payMany", 20): 78_300,
    ("payMany", 50): 76_300,
    ("collect", 1): 113_000,
    ("collectMany", 20): 54_000,
}


def check(verb: str, count: int, used: int) -> None:
    click.echo(f"\n{verb:12} {count:3}: {used // count:7,} of {CEILINGS[verb, count]:,}")
    assert used // count <= CEILINGS[verb, count]


@pytest.mark.parametrize("count", [20, 50])
def test_many_authorizations_stay_below_their_ceiling(router, usdc, new_order, stranger, count):
    def batch(turn: int) -> list[Any]:
        payments = []
        for number in range(count):
            order = new_order(usdc)
            key = key_of(f"payer {number}")
            signature = sign_authorization(key, USDC_DOMAIN, router.address, order, router.orderId(order))
            payments.append((order, person(f"payer {number}"), signature))
        return payments

    for number in range(count):
        fund_usdc(usdc, person(f"payer {number}").address)
    router.payMany(batch(0)[:1], sender=stranger)

    receipt = router.payMany(batch(1), sender=stranger)

    assert router.seq() == count + 1
    check("payMany", count, receipt.gas_used)


def test_collecting_stays_below_its_ceiling(router, usdc, new_order, stranger, usdc_payer):
    id_ = router.orderId(new_order(usdc))
    for _ in range(2):
        usdc.transfer(router.depositAddress(id_), AMOUNT, sender=usdc_payer)
        receipt = router.collect(id_, usdc, sender=stranger)

    assert router.seq() == 2
    check("collect", 1, receipt.gas_used)


def test_collecting_many_stays_below_its_ceiling(router, usdc, new_order, stranger, usdc_payer):
    ids = [router.orderId(new_order(usdc)) for _ in range(21)]
    for id_ in ids:
        usdc.transfer(router.depositAddress(id_), AMOUNT, sender=usdc_payer)
    router.collect(ids.pop(), usdc, sender=stranger)

    receipt = router.collectMany(ids, usdc, sender=stranger)

    assert router.seq() == 21
    check("collectMany", 20, receipt.gas_used)
