"""Whether a payment of an order may begin, as the one read model says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade.domain.money import USDC, Money
from cascade.domain.orders import OrderStatus
from cascade.domain.relay_items import RejectReason, RelayItem, RelayKind, RelayState
from cascade.errors import NotPayable
from cascade.services.order_view import OrderView, check_payable
from tests.unit.test_orders import ORDER

OPEN = OrderView(ORDER, (), OrderStatus.OPEN)
ITEM = RelayItem(1, "ord_x", b"", RelayKind.PERMIT2, "", "0x" + "22" * 20, b"", False, RelayState.QUEUED, None, None, 0)
PRICE = ORDER.quote.price_in(USDC)


@pytest.mark.parametrize("state", [RelayState.QUEUED, RelayState.SENT])
def test_nobody_pays_beside_what_is_being_sent(state: RelayState) -> None:
    with pytest.raises(NotPayable, match="being sent"):
        check_payable(replace(OPEN, relay=[replace(ITEM, state=state)]))


@pytest.mark.parametrize(
    "item",
    [
        replace(ITEM, state=RelayState.REFUSED, reason=RejectReason.REVERTED),
        replace(ITEM, state=RelayState.SETTLED),
        replace(ITEM, kind=RelayKind.COLLECT, payer=None, signature=None),
    ],
    ids=["refused", "settled", "a transfer"],
)
def test_what_is_not_being_sent_stops_nobody(item: RelayItem) -> None:
    check_payable(replace(OPEN, relay=[item]))


@pytest.mark.parametrize("status", [status for status in OrderStatus if status is not OrderStatus.OPEN])
def test_only_an_open_order_is_payable(status: OrderStatus) -> None:
    check_payable(OPEN)
    with pytest.raises(NotPayable):
        check_payable(replace(OPEN, status=status))


def test_nobody_pays_beside_a_price_that_has_come_and_is_being_collected() -> None:
    with pytest.raises(NotPayable, match="being collected"):
        check_payable(replace(OPEN, missing=Money(USDC, 0)))
    check_payable(replace(OPEN, missing=Money(USDC, 1)))


@pytest.mark.parametrize(
    ("come", "is_part"), [(1, False), (9_999, False), (10_000, True), (PRICE.units - 1, True), (PRICE.units, True)]
)
def test_a_part_is_at_least_a_cent(come: int, is_part: bool) -> None:
    assert replace(OPEN, missing=Money(USDC, PRICE.units - come)).has_part is is_part
    assert not OPEN.has_part
