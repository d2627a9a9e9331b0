"""How many ducats go back with the money."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.ledger import Kind, Transaction
from cascade.domain.money import DUCAT, USD, Money
from cascade.domain.orders import Order
from cascade.domain.quotes import Quote
from cascade.domain.rates import START
from cascade.domain.reversals import Reversal, ReversalKind, Standing, kept, transaction

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPLORER = Quote("explorer", Money(USD, 5000), Money(DUCAT, 500_000_000), Money(DUCAT, 25_000_000), START)
ORDER = Order("ord_x", "token", "Marco", EXPLORER, NOW, NOW)


def usd(cents: int) -> Money:
    return Money(USD, cents)


def movement(cents: int, kind: ReversalKind = ReversalKind.REFUND) -> Reversal:
    return Reversal("stripe:re_1", "stripe:pi_1", kind, usd(cents), {"stripe": cents})


def standing(returned: int = 0, held: int = 525_000_000, owed: int = 0) -> Standing:
    return Standing(ORDER, usd(5000), usd(returned), Money(DUCAT, held), Money(DUCAT, owed))


def ducats(posted: Transaction) -> dict[str, int]:
    total: Counter[str] = Counter()
    for posting in posted.postings:
        if posting.amount.asset == DUCAT:
            total[posting.debit] -= posting.amount.units
            total[posting.credit] += posting.amount.units
    return {account: units for account, units in total.items() if units}


def test_a_full_refund_takes_everything_bonus_included() -> None:
    posted = transaction(movement(5000), standing())
    assert (posted.kind, posted.reverses) == (Kind.REVERSAL, "stripe:pi_1")
    assert ducats(posted) == {"citizen:Marco": -525_000_000, "ducats:sold": 500_000_000, "ducats:bonus": 25_000_000}


def test_a_part_takes_its_share() -> None:
    assert ducats(transaction(movement(1000), standing()))["citizen:Marco"] == -105_000_000


def test_what_was_spent_is_owed() -> None:
    posted = ducats(transaction(movement(5000), standing(held=100_000_000)))
    assert posted["citizen:Marco"] == -100_000_000
    assert posted["receivable:ord_x"] == -425_000_000


def test_what_comes_back_settles_the_debt_first() -> None:
    back = movement(1000, ReversalKind.REFUND_FAILED)
    posted = transaction(back, standing(returned=5000, held=0, owed=100_000_000))
    assert posted.kind is Kind.REINSTATEMENT
    assert ducats(posted)["receivable:ord_x"] == 100_000_000
    assert ducats(posted)["citizen:Marco"] == 5_000_000


def test_money_beyond_the_payment_takes_no_more_ducats() -> None:
    assert ducats(transaction(movement(5000, ReversalKind.DISPUTE), standing(returned=5000))) == {}


def test_a_payment_in_suspense_gave_nobody_ducats() -> None:
    posted = transaction(movement(5000), None)
    (posting,) = posted.postings
    assert (posting.debit, posting.credit, posting.amount) == ("suspense", "stripe", usd(5000))


@given(st.integers(1, 10**6), st.integers(0, 10**12), st.lists(st.integers(1, 10**6), max_size=8))
def test_many_small_parts_take_as_much_as_one_large_one(price: int, granted: int, parts: list[int]) -> None:
    returned, taken = 0, 0
    for part in parts:
        before, after = (kept(Money(DUCAT, granted), usd(price), usd(r)).units for r in (returned, returned + part))
        assert 0 <= after <= before
        taken, returned = taken + before - after, returned + part
    left = kept(Money(DUCAT, granted), usd(price), usd(returned)).units
    assert taken + left == granted
    assert (left == 0) == (returned >= price) or granted * (price - returned) < price


def test_a_movement_must_add_up() -> None:
    with pytest.raises(ValueError, match="does not add up"):
        Reversal("r", "p", ReversalKind.REFUND, usd(2), {"stripe": 1})
    with pytest.raises(ValueError, match="above 0"):
        Reversal("r", "p", ReversalKind.REFUND, usd(0), {})
