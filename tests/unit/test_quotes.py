from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.domain.catalogue import Catalogue, Package
from cascade.domain.ducat_rate import NANO_USD, START, Rate
from cascade.domain.money import DUCAT, USD, USDC, Money
from cascade.domain.quotes import better_package, quote_custom, quote_package, reached, tiers
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


def test_a_custom_purchase_gets_whole_units_and_below_the_first_tier_no_bonus() -> None:
    quote = quote_custom(CATALOGUE, Money.parse("25.01", USD), START)
    assert (quote.ducats.plain, quote.bonus.units, quote.package) == ("250.1", 0, None)
    assert quote.price_in(USDC) == Money(USDC, 25_010_000)


@pytest.mark.parametrize(
    ("usd", "ducats", "bonus"),
    [
        ("49.99", "499.9", "0"),
        ("50", "500", "25"),  # 5 %
        ("99.99", "999.9", "49.995"),
        ("100", "1000", "75"),  # 7.5 %
        ("250", "2500", "250"),  # 10 %
        ("499.99", "4999.9", "499.99"),
        ("500", "5000", "750"),  # 15 %
        ("9999.99", "99999.9", "14999.985"),
        ("10000", "100000", "15000"),
    ],
)
def test_a_custom_purchase_gets_the_bonus_rate_of_the_package_that_it_reaches(
    usd: str, ducats: str, bonus: str
) -> None:
    quote = quote_custom(CATALOGUE, Money.parse(usd, USD), START)
    assert (quote.ducats.plain, quote.bonus.plain, quote.price.plain) == (ducats, bonus, usd)
    off = quote_custom(replace(CATALOGUE, custom_bonus=False), Money.parse(usd, USD), START)
    assert (off.ducats, off.bonus.units) == (quote.ducats, 0)


CENTS = range(1000, 1_000_001)
"""From 10 to 10,000 dollars."""


@pytest.mark.parametrize("nano_usd", [50_000_000, 99_999_999, 100_000_000, 123_456_789, 500_000_000])
def test_more_money_never_brings_fewer_ducats(nano_usd: int) -> None:
    """Every cent of every amount. Between two tiers the rule is the one of `quote_custom`, written out for speed."""
    rate = Rate(nano_usd)
    ladder = tiers(CATALOGUE, rate)
    edges = sorted({CENTS.start, *(tier.cents for tier in ladder if tier.cents in CENTS), CENTS.stop})
    before = 0
    for first, stop in pairwise(edges):
        tier = reached(ladder, first)
        assert tier is reached(ladder, stop - 1)
        bonus, ducats = (tier.package.bonus.units, tier.package.ducats.units) if tier else (0, 1)
        for cents in range(first, stop):
            bought = cents * 10**13 // nano_usd
            total = bought + bought * bonus // ducats
            assert total > before
            before = total
        for cents in {first, (first + stop) // 2, stop - 1}:
            quote = quote_custom(CATALOGUE, Money(USD, cents), rate)
            bought = cents * 10**13 // nano_usd
            assert (quote.ducats.units, quote.bonus.units) == (bought, bought * bonus // ducats)


@given(st.integers(CENTS.start, CENTS.stop - 1), rates)
def test_a_custom_purchase_follows_the_written_out_rule(cents: int, rate: Rate) -> None:
    quote = quote_custom(CATALOGUE, Money(USD, cents), rate)
    tier = reached(tiers(CATALOGUE, rate), cents)
    assert quote.ducats.units == cents * 10**13 // rate.nano_usd
    assert quote.bonus.units == (tier.bonus_units(quote.ducats.units) if tier else 0)
    more = quote_custom(CATALOGUE, Money(USD, min(cents + 1, CENTS.stop - 1)), rate)
    assert quote.total_ducats <= more.total_ducats


catalogues = st.lists(st.tuples(st.integers(1, 10**10), st.integers(0, 10**10)), min_size=1, max_size=6).map(
    lambda pairs: Catalogue(
        {
            str(i): Package(str(i), "A", Money(DUCAT, ducats), Money(DUCAT, bonus))
            for i, (ducats, bonus) in enumerate(pairs)
        },
        Money(USD, 1),
        Money(USD, 10**9),
        custom_bonus=True,
    )
)


@given(catalogues, rates, st.lists(st.integers(0, 5), max_size=6), st.integers(0, 10**6))
def test_no_set_of_packages_and_no_split_brings_more_for_the_same_money(
    catalogue: Catalogue, rate: Rate, chosen: list[int], rest: int
) -> None:
    """Of any catalogue: packages and a custom purchase beside them, against one custom purchase for all that money."""
    packages = list(catalogue.packages)
    bought = [quote_package(catalogue, packages[i % len(packages)], rate) for i in chosen]
    if rest:
        bought.append(quote_custom(catalogue, Money(USD, rest), rate))
    paid = sum((quote.price for quote in bought), Money(USD, 0))
    if paid.units:
        whole = quote_custom(catalogue, paid, rate)
        assert sum((quote.total_ducats for quote in bought), Money(DUCAT, 0)) <= whole.total_ducats


@given(catalogues, rates, st.integers(1, 10**6), st.integers(1, 10**6))
def test_of_any_catalogue_more_money_never_brings_fewer_ducats(
    catalogue: Catalogue, rate: Rate, cents: int, more: int
) -> None:
    less, all_of_it = (quote_custom(catalogue, Money(USD, paid), rate) for paid in (cents, cents + more))
    assert less.total_ducats <= all_of_it.total_ducats


def test_tiers_are_the_packages_that_give_more_than_cheaper_ones() -> None:
    assert [(tier.cents, tier.percent) for tier in tiers(CATALOGUE, START)] == [
        (5_000, "5"),
        (10_000, "7.5"),
        (25_000, "10"),
        (50_000, "15"),
    ]
    promoted = SHIPPED.replace('bonus = "0"', 'bonus = "10"')  # Starter gives as much as Merchant now
    ladder = tiers(Catalogue.from_toml(promoted), START)
    assert [(tier.cents, tier.percent) for tier in ladder] == [(1_000, "10"), (50_000, "15")]


def test_where_custom_purchases_get_no_bonus_the_best_package_is_named() -> None:
    silent = Catalogue.from_toml(SHIPPED.replace("bonus = true", "bonus = false"))
    for catalogue, usd, name in (
        (silent, "9999.99", "Noble"),
        (silent, "499.99", "Merchant"),
        (silent, "49.99", None),
        (CATALOGUE, "9999.99", None),
    ):
        better = better_package(catalogue, quote_custom(catalogue, Money.parse(usd, USD), START))
        assert (better and better.name) == name
    left_out = Catalogue.from_toml(SHIPPED.replace("bonus = true\n", ""))
    assert not left_out.custom_bonus


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
        (("bonus = true", 'bonus = "yes"'), "must be true or false"),
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
