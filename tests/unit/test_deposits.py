"""What a late collect took: in time by the transfers, divided without a rest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.deposit_collection import InTime, divide_by_deadline
from cascade.domain.money import USDC, Money
from cascade.domain.payments import ConfirmedPayment, Rail

LATE = datetime(2026, 11, 30, 12, tzinfo=UTC)
LAST = int(datetime(2026, 11, 30, 11, tzinfo=UTC).timestamp())
amounts = st.integers(min_value=0, max_value=10**15)


def late_collect(units: int, partner: int) -> ConfirmedPayment:
    landed = {"treasury": units - partner, "partner": partner}
    return ConfirmedPayment("chain:137:1:0", Rail.CHAIN, b"", Money(USDC, units), landed, "p", "t", LATE, True)


@given(units=amounts.filter(bool), partner=amounts, arrived=amounts, before=amounts)
def test_the_parts_sum_to_the_whole_in_every_account(units: int, partner: int, arrived: int, before: int) -> None:
    whole = late_collect(units, partner % (units + 1))
    parts = divide_by_deadline(whole, InTime(arrived, LAST), before)
    assert sum(part.received.units for part in parts) == units
    for account in whole.landed:
        assert sum(part.landed[account] for part in parts) == whole.landed[account]
    in_time = sum(part.received.units for part in parts if part.paid_at != LATE)
    assert in_time == min(units, max(0, arrived - before))


@pytest.mark.parametrize(
    ("arrived", "before", "expected"),
    [
        (0, 0, [("chain:137:1:0", 10, True)]),
        (4, 4, [("chain:137:1:0", 10, True)]),
        (4, 0, [("chain:137:1:0", 4, False), ("chain:137:1:0:late", 6, True)]),
        (14, 4, [("chain:137:1:0", 10, False)]),
    ],
)
def test_what_is_in_time_keeps_the_reference(arrived: int, before: int, expected: list[tuple[str, int, bool]]) -> None:
    parts = divide_by_deadline(late_collect(10, 5), InTime(arrived, LAST), before)
    assert [(part.reference, part.received.units, part.paid_at == LATE) for part in parts] == expected
    assert {part.paid_at for part in parts} <= {LATE, datetime.fromtimestamp(LAST, UTC)}
