"""`orderId`: the id commits to the chain, the router and every term."""

import pytest

from tests.contracts.orders import order_id


def test_equals_what_the_server_computes(chain, router, new_order):
    order = new_order()
    assert router.orderId(order) == order_id(chain.chain_id, router.address, order)


@pytest.mark.parametrize(
    "change",
    [{"token": "0x" + "11" * 20}, {"amount": 1}, {"expires_at": 2**64 - 1}, {"salt": b"\xff" * 32}],
    ids=lambda change: next(iter(change)),
)
def test_every_term_changes_the_id(router, new_order, change):
    order = new_order()
    assert router.orderId(order._replace(**change)) != router.orderId(order)


def test_another_router_gives_another_id(router, deploy_router, usdc, new_order):
    order = new_order()
    assert deploy_router(usdc).orderId(order) != router.orderId(order)


def test_another_chain_gives_another_id(chain, router, new_order):
    order = new_order()
    assert router.orderId(order) != order_id(chain.chain_id + 1, router.address, order)


def test_the_event_carries_the_id_of_the_terms_that_were_paid(chain, router, payer, new_order):
    order = new_order(amount=7)
    receipt = router.pay(order, sender=payer)
    assert receipt.events.filter(router.Paid)[0].orderId == order_id(chain.chain_id, router.address, order)
