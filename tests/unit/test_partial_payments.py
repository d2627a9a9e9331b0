"""What a plain transfer of any amount brings its order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.ducat_rate import START, Rate
from cascade.domain.money import DUCAT, USD, USDC, USDT, Asset, Money
from cascade.domain.partial_payments import Grant, PriorPayment, match_partial, missing_of, receipt, whole
from cascade.domain.payments import SuspenseReason
from cascade.domain.quotes import Quote
from cascade.domain.reversals import kept

CENT = 10_000
PRICE = 250_000_000
MERCHANT = Quote("merchant", Money(USD, 25_000), Money(DUCAT, 2_500_000_000), Money(DUCAT, 250_000_000), START)


def usdc(units: int) -> Money:
    return Money(USDC, units)


def part(units: int, ducats: int, asset: Asset = USDC) -> PriorPayment:
    return PriorPayment(Money(asset, units), Money(DUCAT, ducats))


def granted(ducats: int, bonus: int = 0, *, fulfils: bool) -> Grant:
    return Grant(Money(DUCAT, ducats), Money(DUCAT, bonus), fulfils)


@pytest.mark.parametrize("asset", [USDC, USDT])
@pytest.mark.parametrize(
    ("units", "parts", "verdict"),
    [
        (PRICE, [], whole(MERCHANT)),
        (PRICE - 1, [], granted(2_499_999_990, fulfils=False)),
        (100_000_000, [], granted(1_000_000_000, fulfils=False)),
        (CENT, [], granted(100_000, fulfils=False)),
        (CENT - 1, [], SuspenseReason.SHORT),
        (1, [], SuspenseReason.SHORT),
        (150_000_000, [part(100_000_000, 1_000_000_000)], granted(1_500_000_000, 250_000_000, fulfils=True)),
        (150_000_000, [part(100_000_000, 1_000_000_000, USDT)], granted(1_500_000_000, 250_000_000, fulfils=True)),
        (1, [part(PRICE - 1, 2_499_999_990)], granted(10, 250_000_000, fulfils=True)),  # dust, but it completes
        (160_000_000, [part(100_000_000, 1_000_000_000)], granted(1_600_000_000, 250_000_000, fulfils=True)),
        (PRICE + 1, [], granted(2_500_000_010, 250_000_000, fulfils=True)),
        (2 * PRICE, [], granted(5_000_000_000, 250_000_000, fulfils=True)),
        (2 * PRICE + 1, [], SuspenseReason.OVER),
        (2 * PRICE, [part(CENT, 100_000)], SuspenseReason.OVER),
    ],
)
def test_a_transfer_is_weighed(
    asset: Asset, units: int, parts: list[PriorPayment], verdict: Grant | SuspenseReason
) -> None:
    assert match_partial(Money(asset, units), MERCHANT, parts) == verdict


@pytest.mark.parametrize("units", [1, PRICE - 1, PRICE, PRICE + 1, 9 * PRICE])
def test_what_comes_late_or_twice_waits_whatever_it_amounts_to(units: int) -> None:
    assert match_partial(usdc(units), MERCHANT, late=True) is SuspenseReason.LATE
    assert match_partial(usdc(units), MERCHANT, already_paid=True) is SuspenseReason.DUPLICATE
    assert match_partial(usdc(units), MERCHANT, already_paid=True, late=True) is SuspenseReason.DUPLICATE


def test_how_much_may_come_is_a_parameter() -> None:
    assert match_partial(usdc(PRICE + 1), MERCHANT, most=1) is SuspenseReason.OVER
    assert match_partial(usdc(PRICE), MERCHANT, most=1) == whole(MERCHANT)
    assert isinstance(match_partial(usdc(3 * PRICE), MERCHANT, most=3), Grant)


def test_what_buys_no_unit_of_a_ducat_is_dust() -> None:
    dear = Quote(None, Money(USD, 10**9), Money(DUCAT, 1), Money(DUCAT, 0), Rate(10**24))
    assert match_partial(usdc(10**12), dear) is SuspenseReason.SHORT
    assert match_partial(usdc(10**13), dear) == whole(dear)


rates = st.builds(Rate, st.integers(10**6, 10**12))


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    """As they are made: a package's price rounded up, or as many ducats as dollars buy, rounded down."""
    rate = draw(rates)
    if draw(st.booleans()):
        ducats = Money(DUCAT, draw(st.integers(10**6, 10**11)))
        return Quote("p", rate.price_of(ducats), ducats, Money(DUCAT, draw(st.integers(0, 10**10))), rate)
    usd = Money(USD, draw(st.integers(1_000, 1_000_000)))
    return Quote(None, usd, rate.ducats_for(usd), Money(DUCAT, 0), rate)


def book(quote: Quote, amounts: list[int], assets: list[Asset] | None = None) -> list[Grant | SuspenseReason]:
    """What each transfer brings, one after the other."""
    parts: list[PriorPayment] = []
    verdicts: list[Grant | SuspenseReason] = []
    paid = False
    for i, units in enumerate(amounts):
        received = Money(assets[i % len(assets)] if assets else USDC, units)
        verdict = match_partial(received, quote, parts, already_paid=paid)
        verdicts.append(verdict)
        if isinstance(verdict, Grant):
            paid = paid or verdict.fulfils
            parts.append(PriorPayment(received, verdict.ducats))
    return verdicts


def total(verdicts: list[Grant | SuspenseReason]) -> int:
    return sum(verdict.total.units for verdict in verdicts if isinstance(verdict, Grant))


@given(quotes(), st.data())
def test_however_a_price_is_cut_into_parts_they_bring_exactly_the_quote(quote: Quote, data: st.DataObject) -> None:
    price = quote.price_in(USDC).units
    cuts = data.draw(st.lists(st.integers(1, price // CENT), max_size=8))
    edges = sorted({0, price, *(cut * CENT for cut in cuts)})
    amounts = [after - before for before, after in pairwise(edges)]
    verdicts = book(quote, amounts, data.draw(st.permutations([USDC, USDT])))
    assert total(verdicts) == quote.total_ducats.units
    assert [v.fulfils for v in verdicts if isinstance(v, Grant)] == [False] * (len(amounts) - 1) + [True]


@given(quotes(), st.lists(st.integers(1, 10**11), max_size=8))
def test_nobody_gets_more_than_the_quote_and_the_rest_at_its_rate(quote: Quote, amounts: list[int]) -> None:
    price = quote.price_in(USDC).units
    verdicts = book(quote, amounts)
    credited = sum(units for units, v in zip(amounts, verdicts, strict=True) if isinstance(v, Grant))
    fulfilled = any(isinstance(v, Grant) and v.fulfils for v in verdicts)
    assert credited <= 2 * price
    assert fulfilled == (credited >= price)
    at_the_rate = credited * 10**9 // quote.rate.nano_usd  # millionths of a dollar to millionths of a ducat
    assert total(verdicts) <= at_the_rate + (quote.bonus.units if fulfilled else 0)
    assert all(v.ducats.units > 0 for v in verdicts if isinstance(v, Grant))


@given(quotes(), st.integers(1, 10**11), st.integers(0, 10**9), st.integers(0, 10**11))
def test_more_money_never_brings_less(quote: Quote, units: int, more: int, before: int) -> None:
    price = quote.price_in(USDC).units
    first = match_partial(usdc(min(before, price - 1) or 1), quote)
    parts = [PriorPayment(usdc(min(before, price - 1)), first.ducats)] if isinstance(first, Grant) and before else []
    one, other = (match_partial(usdc(amount), quote, parts) for amount in (units, units + more))
    if isinstance(one, Grant) and other is not SuspenseReason.OVER:
        assert isinstance(other, Grant)
        assert one.total <= other.total
        assert one.fulfils <= other.fulfils


@given(
    quotes(), st.lists(st.tuples(st.integers(CENT, 10**10), st.integers(0, 100)), max_size=6), st.integers(1, 10**10)
)
def test_what_went_back_brings_nothing_to_who_completes(
    quote: Quote, history: list[tuple[int, int]], last: int
) -> None:
    """Whatever went back of parts before: what stayed and what completes are worth what is there."""
    price = quote.price_in(USDC).units
    parts: list[PriorPayment] = []
    for units, percent in history:
        verdict = match_partial(usdc(units), quote, parts)
        if isinstance(verdict, Grant) and not verdict.fulfils:
            back = units * percent // 100
            if back < units:
                parts.append(PriorPayment(usdc(units - back), kept(verdict.ducats, usdc(units), usdc(back))))
    verdict = match_partial(usdc(last), quote, parts)
    if isinstance(verdict, Grant) and verdict.fulfils:
        paid = last + sum(each.left.units for each in parts)
        stayed = sum(each.ducats.units for each in parts)
        assert stayed + verdict.ducats.units == quote.ducats.units * paid // price


def test_what_is_missing_is_exact() -> None:
    assert missing_of(MERCHANT, USDT, [part(100_000_001, 1), part(CENT, 1, USDT)]) == Money(USDT, 149_989_999)
    assert missing_of(MERCHANT, USDC, [part(PRICE + 5, 1)]) == usdc(0)


def test_a_receipt_of_the_exact_price_tells_nothing_more() -> None:
    assert receipt(MERCHANT, whole(MERCHANT), []) == {}


def test_a_receipt_tells_what_came_before_and_beyond() -> None:
    last = granted(1_600_000_000, 250_000_000, fulfils=True)
    told = receipt(MERCHANT, last, [part(100_000_000, 1_000_000_000)])
    assert told == {"ducats_due": "1850", "ducats_before": "1000", "ducats_beyond": "100"}
