"""How many ducats go back with the money."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.ducat_rate import START
from cascade.domain.money import DUCAT, USD, USDC, USDT, Asset, Money
from cascade.domain.orders import Order
from cascade.domain.postings import Kind, Transaction
from cascade.domain.quotes import Quote
from cascade.domain.reversals import (
    GrantState,
    Refund,
    Refundable,
    Reversal,
    ReversalKind,
    exchange,
    kept,
    spread,
    transaction,
    unmatched,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPLORER = Quote("explorer", Money(USD, 5000), Money(DUCAT, 500_000_000), Money(DUCAT, 25_000_000), START)
ORDER = Order("ord_x", "token", "Marco", EXPLORER, NOW, NOW)


def usd(cents: int) -> Money:
    return Money(USD, cents)


def movement(cents: int, kind: ReversalKind = ReversalKind.REFUND) -> Reversal:
    return Reversal("stripe:re_1", "stripe:pi_1", kind, usd(cents), {"stripe": cents})


def standing(returned: int = 0, held: int = 525_000_000, owed: int = 0) -> GrantState:
    ducats = (EXPLORER.ducats, EXPLORER.bonus)
    return GrantState(ORDER, *ducats, usd(5000), usd(returned), Money(DUCAT, held), Money(DUCAT, owed))


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


def test_what_comes_back_beyond_what_went_gives_no_more_ducats() -> None:
    assert kept(Money(DUCAT, 500), Money(USD, 5000), Money(USD, -100)) == Money(DUCAT, 500)


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


def back(units: int, asset: Asset = USDC) -> Refund:
    return Refund("chain:137:9:0", b"\1" * 32, Money(asset, units), "0xto", "0xhash")


def payment(
    name: str, units: int, asset: Asset = USDC, *, credited: bool = False, named: bool = True, completed: bool = False
) -> Refundable:
    return Refundable(name, Money(asset, units), credited or completed, named, completed)


SOLD, SHORT, TWICE = payment("sold", 250, credited=True), payment("short", 100), payment("twice", 250)
PART = payment("part", 100, completed=True)
IN_USDT = payment("in usdt", 250, USDT, named=False)


@pytest.mark.parametrize(
    ("refund", "payments", "parts", "rest"),
    [
        (back(250), [SOLD], [("sold", 250)], 0),
        (back(100), [SOLD], [("sold", 100)], 0),
        (back(250), [SHORT, SOLD], [("sold", 250)], 0),  # exactly this much is left of one: it is meant
        (back(250), [SOLD, TWICE], [("twice", 250)], 0),  # in suspense before what gave ducats
        (back(100), [SOLD, SHORT, TWICE], [("short", 100)], 0),
        (back(300), [SOLD, TWICE, SHORT], [("twice", 250), ("short", 50)], 0),
        (back(300), [SHORT, SOLD, TWICE], [("short", 100), ("twice", 200)], 0),  # the newest first
        (back(700), [SHORT, SOLD, TWICE], [("short", 100), ("twice", 250), ("sold", 250)], 100),  # more than came
        (back(250), [IN_USDT, SOLD], [("sold", 250)], 0),  # its own token first
        (back(250, USDT), [SOLD, IN_USDT], [("in usdt", 250)], 0),
        (back(250, USDT), [SOLD], [("sold", 250)], 0),  # the other token stands for it
        (back(400, USDT), [SOLD, IN_USDT], [("in usdt", 250), ("sold", 150)], 0),
        (back(60), [payment("b", 50, named=False), payment("a", 50)], [("a", 50), ("b", 10)], 0),  # its own id first
        (back(100), [payment("last", 150, credited=True), PART], [("last", 100)], 0),  # the bonus goes back first
        (back(200), [payment("last", 150, credited=True), PART], [("last", 150), ("part", 50)], 0),
        (back(200), [payment("last", 150, USDT, credited=True), PART], [("last", 150), ("part", 50)], 0),
        (back(100), [SHORT, PART], [("short", 100)], 0),
        (back(5), [], [], 5),
        (back(5), [payment("gone", 0), payment("overdrawn", -3)], [], 5),
        (back(5), [payment("by card", 5, USD)], [], 5),
    ],
)
def test_a_refund_finds_its_payments(
    refund: Refund, payments: list[Refundable], parts: list[tuple[str, int]], rest: int
) -> None:
    reversals, left = spread(refund, payments)
    assert [(r.payment, r.amount.units) for r in reversals] == parts
    assert left == Money(refund.amount.asset, rest)


refundables = st.lists(
    st.builds(
        Refundable,
        st.uuids().map(str),
        st.builds(Money, st.sampled_from([USDC, USDT, USD]), st.integers(-5, 300)),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=6,
)


@given(st.integers(1, 1000), st.sampled_from([USDC, USDT]), refundables)
def test_a_refund_is_spread_without_loss(units: int, asset: Asset, payments: list[Refundable]) -> None:
    reversals, rest = spread(back(units, asset), payments)
    assert sum(r.amount.units for r in reversals) + rest.units == units
    left = {p.payment: p.left for p in payments}
    assert len({r.reference for r in reversals}) == len({r.payment for r in reversals}) == len(reversals)
    for reversal in reversals:
        assert reversal.amount.asset == left[reversal.payment].asset
        assert 0 < reversal.amount.units <= left[reversal.payment].units
        assert dict(reversal.landed) == {"treasury": reversal.amount.units}  # the Safe alone pays
    if rest.units:  # nothing that it could have fitted is left
        assert sum(max(0, p.left.units) for p in payments if p.left.asset != USD) == units - rest.units


def test_what_went_back_in_the_other_stablecoin_left_the_treasury_in_that_one() -> None:
    (reversal,), _ = spread(back(250, USDT), [SOLD])
    swap = exchange(reversal)
    assert swap is not None
    total: Counter[tuple[str, str]] = Counter()
    for posting in (*transaction(reversal, None).postings, *swap.postings):
        total[posting.debit, posting.amount.asset.code] -= posting.amount.units
        total[posting.credit, posting.amount.asset.code] += posting.amount.units
    assert total["treasury", "USDT"] == 250  # gone
    assert total["treasury", "USDC"] == 0
    assert total["suspense", "USDC"] == -250
    assert (total["exchange", "USDC"], total["exchange", "USDT"]) == (250, -250)
    (same,), _ = spread(back(250), [SOLD])
    assert exchange(same) is None


def test_what_fits_no_payment_is_booked_as_that() -> None:
    (posting,) = unmatched(back(250), Money(USDC, 7)).postings
    assert (posting.debit, posting.credit, posting.amount.units) == ("refunds:unmatched", "treasury", 7)
