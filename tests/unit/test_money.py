import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.money import DUCAT, USD, USDC, USDT, Money, Rounding, divide

whole = st.integers(min_value=0, max_value=10**30)


def test_the_predecessors_cent_is_not_lost() -> None:
    # int(19.99 * 100) is 1998
    assert Money.parse("19.99", USD).units == 1999


@given(whole)
def test_what_is_written_is_read_back(units: int) -> None:
    for asset in (USD, USDC, DUCAT):
        money = Money(asset, units)
        assert Money.parse(str(money), asset) == money
        assert Money.parse(money.plain, asset) == money


@pytest.mark.parametrize("text", ["", "1e3", "-1", "+1", "1.", ".5", "1,000", "٣", " 1", "NaN", "Infinity", "0x10"])
def test_only_plain_decimals_are_read(text: str) -> None:
    with pytest.raises(ValueError, match="plain decimal"):
        Money.parse(text, USD)


def test_more_places_than_the_asset_has_are_refused_unless_they_are_zero() -> None:
    assert Money.parse("25.0100", USD) == Money(USD, 2501)
    with pytest.raises(ValueError, match="more than 2 decimal places"):
        Money.parse("25.011", USD)


def test_assets_do_not_mix() -> None:
    for operation in ("__add__", "__sub__", "__lt__", "__le__"):
        with pytest.raises(TypeError, match="USDC and USDT cannot be mixed"):
            getattr(Money(USDC, 1), operation)(Money(USDT, 1))


def test_units_are_whole() -> None:
    for units in (1.0, "1", True, None):
        with pytest.raises(TypeError, match="whole number"):
            Money(USD, units)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("units", "shown"),
    [
        (0, "0"),
        (2_500_000_000, "2,500"),
        (250_100_000, "250.10"),
        (999_999, "0.99"),  # never rounded up
        (1, "0"),
        (-1_500_000, "-1.50"),
    ],
)
def test_people_see_at_most_two_decimals(units: int, shown: str) -> None:
    assert Money(DUCAT, units).display() == shown


@given(whole, st.integers(min_value=1, max_value=10**20))
def test_one_rounding_rule(numerator: int, denominator: int) -> None:
    charge, credit = (divide(numerator, denominator, rounding) for rounding in (Rounding.CHARGE, Rounding.CREDIT))
    assert credit * denominator <= numerator <= charge * denominator
    assert charge - credit == (numerator % denominator != 0)


@pytest.mark.parametrize(("numerator", "denominator"), [(-1, 1), (1, 0), (1, -1)])
def test_rounding_has_no_meaning_below_zero(numerator: int, denominator: int) -> None:
    with pytest.raises(ValueError, match="cannot divide"):
        divide(numerator, denominator, Rounding.CREDIT)
