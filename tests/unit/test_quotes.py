from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.catalogue import Catalogue
from cascade.domain.formula import NANO_USD
from cascade.domain.money import DUCAT, USD, USDC, Money
from cascade.domain.quotes import quote_custom, quote_package
from cascade.domain.rates import START, Rate
from cascade.errors import InvalidInput, SettingsError

SHIPPED = (files("cascade") / "catalogue.toml").read_text()
CATALOGUE = Catalogue.from_toml(SHIPPED)

rates = st.integers(min_value=50_000_000, max_value=500_000_000).map(Rate)


@pytest.mark.parametrize(
    ("package", "ducats", "bonus", "price"),
    [
        ("starter", "100", "0", "10"),
        ("explorer", "500", "25", "50"),
        ("trader", "1000", "75", "100"),
        ("merchant", "2500", "250", "250"),
        ("noble", "5000", "750", "500"),
    ],
)
def test_packages_cost_their_ducats_without_the_bonus(package: str, ducats: str, bonus: str, price: str) -> None:
    quote = quote_package(CATALOGUE, package, START)
    assert (quote.ducats.plain, quote.bonus.plain, quote.price.plain) == (ducats, bonus, price)
    assert quote.total_ducats.units == (int(ducats) + int(bonus)) * DUCAT.one
    assert quote.package == package


def test_a_package_is_found_in_any_case() -> None:
    assert quote_package(CATALOGUE, "Merchant", START).package == "merchant"


def test_a_price_rounds_up_to_the_cent() -> None:
    assert quote_package(CATALOGUE, "starter", Rate(100_000_001)).price.plain == "10.01"


def test_a_custom_purchase_gets_whole_units_and_no_bonus() -> None:
    quote = quote_custom(CATALOGUE, Money.parse("25.01", USD), START)
    assert (quote.ducats.plain, quote.bonus.units, quote.package) == ("250.1", 0, None)
    assert quote.price_in(USDC) == Money(USDC, 25_010_000)


@pytest.mark.parametrize("usd", ["10", "10000"])
def test_the_bounds_themselves_are_allowed(usd: str) -> None:
    assert quote_custom(CATALOGUE, Money.parse(usd, USD), START).price.plain == usd


@pytest.mark.parametrize("usd", ["0", "9.99", "10000.01"])
def test_custom_limits_are_enforced(usd: str) -> None:
    with pytest.raises(InvalidInput, match="from 10 to 10,000 USD") as refused:
        quote_custom(CATALOGUE, Money.parse(usd, USD), START)
    assert refused.value.field == "usd_amount"


def test_an_unknown_package_names_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="starter, explorer, trader, merchant, noble") as refused:
        quote_package(CATALOGUE, "doge", START)
    assert refused.value.field == "package"


@given(st.integers(min_value=1, max_value=10**7), rates)
def test_no_conversion_mints_a_unit(cents: int, rate: Rate) -> None:
    usd = Money(USD, cents)
    ducats = rate.ducats_for(usd)
    assert rate.price_of(ducats) <= usd
    assert usd <= rate.price_of(ducats + Money(DUCAT, 1))


@given(rates)
def test_a_rate_is_written_exactly(rate: Rate) -> None:
    whole, _, fraction = str(rate).partition(".")
    assert len(fraction) >= 2
    assert int(whole) * NANO_USD + int(fraction.ljust(9, "0")) == rate.nano_usd


def test_a_rate_takes_only_its_own_assets_and_is_positive() -> None:
    with pytest.raises(TypeError, match="expected an amount in DUCAT"):
        START.price_of(Money(USD, 1))
    with pytest.raises(TypeError, match="expected an amount in USD"):
        START.ducats_for(Money(DUCAT, 1))
    with pytest.raises(ValueError, match="must cost something"):
        Rate(0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[custom]", "[other]"), "'custom' is missing"),
        (('minimum_usd = "10"', "minimum_usd = 10.0"), "decimal in quotes"),
        (('minimum_usd = "10"', 'minimum_usd = "20000"'), "make no range"),
        (('minimum_usd = "10"', 'minimum_usd = "0"'), "make no range"),
        (('id = "noble"', 'id = "starter"'), "same id"),
        (('id = "noble"', 'id = "No Ble"'), "lower-case"),
        (('ducats = "5000"', 'ducats = "0"'), "holds no ducats"),
        (('name = "Noble"', "name = 5"), "needs a name"),
        (("[[packages]]", "[[packages"), "catalogue: "),
    ],
)
def test_a_wrong_catalogue_is_refused(change: tuple[str, str], complaint: str) -> None:
    text = SHIPPED.replace(*change)
    assert text != SHIPPED
    with pytest.raises(SettingsError, match=complaint):
        Catalogue.from_toml(text)
