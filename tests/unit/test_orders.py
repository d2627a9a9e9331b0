from datetime import UTC, datetime, timedelta

import pytest

from cascade.domain.ducat_rate import START
from cascade.domain.money import DUCAT, USD, Money
from cascade.domain.orders import Order, OrderStatus, check_citizen_id, check_payable, status_of
from cascade.domain.payments import Outcome
from cascade.domain.quotes import Quote
from cascade.errors import InvalidInput, NotPayable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUOTE = Quote(None, Money(USD, 2501), Money(DUCAT, 250_100_000), Money(DUCAT, 0), START)
ORDER = Order("ord_x", "token", "Marco_Polo", QUOTE, NOW, NOW + timedelta(minutes=15))


@pytest.mark.parametrize(
    ("fulfilment", "seen", "final", "minutes", "status"),
    [
        (None, False, False, 0, OrderStatus.OPEN),
        (None, False, False, 15, OrderStatus.EXPIRED),
        (None, True, False, 15, OrderStatus.SEEN),  # paid in time, looked at late
        (None, True, True, 20, OrderStatus.CONFIRMED),
        (Outcome.FULFILLED, False, False, 99, OrderStatus.FULFILLED),
        (Outcome.FULFILLED, True, True, 1, OrderStatus.FULFILLED),
        (Outcome.REVERSED, False, False, 1, OrderStatus.REVERSED),
    ],
)
def test_a_status_follows_from_what_happened(
    fulfilment: Outcome | None, seen: bool, final: bool, minutes: int, status: OrderStatus
) -> None:
    now = NOW + timedelta(minutes=minutes)
    assert status_of(ORDER, now, fulfilment=fulfilment, seen=seen, final=final) is status


@pytest.mark.parametrize("status", OrderStatus)
def test_only_an_open_order_can_be_paid(status: OrderStatus) -> None:
    if status is OrderStatus.OPEN:
        check_payable(status)
    else:
        with pytest.raises(NotPayable, match="order"):
            check_payable(status)


@pytest.mark.parametrize("citizen", ["a", "Marco_Polo", "Arsenal_IntegrationEngineer_17", "x.y-z", "A" * 64])
def test_venice_usernames_are_taken(citizen: str) -> None:
    assert check_citizen_id(citizen) == citizen


@pytest.mark.parametrize("citizen", ["", "A" * 65, "a b", "../etc", "_x", "a:b", "Ünder", "a\n", "<b>", ".", "a."])
def test_absurd_citizen_ids_are_refused(citizen: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 64") as refused:
        check_citizen_id(citizen)
    assert refused.value.field == "citizen_id"
