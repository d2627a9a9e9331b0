"""Every amount that is read is exactly the one that was meant; whatever could be another one is refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter, ValidationError

from api.schemas.purchases import DucatAmount, UsdAmount
from cascade.domain.amount_parser import NoAmount, Separators, examples, read_plain, read_typed
from cascade.domain.money import DUCAT, USD, USDC, Money
from cascade.locales.formats import formats

ENGLISH, ITALIAN = formats("en").separators, formats("it").separators
NBSP, NARROW, THIN, RIGHT_QUOTE = "\u00a0", "\u202f", "\u2009", "\u2019"
GROUPS = ("", ",", ".", " ", NBSP, NARROW, THIN, "'", RIGHT_QUOTE)
DECIMALS = (".", ",")
CENTS = (1000, 1050, 1005, 9999, 10000, 99999, 100000, 100050, 123456, 999999, 1000000, 1000001, 2500000, 123456789)


def typed(cents: int, group: str, decimal: str, places: int) -> str:
    """How somebody writes an amount who separates like this."""
    whole = f"{cents // 100:,}".replace(",", group)
    return whole + (f"{decimal}{cents % 100:02d}"[: places + 1] if places else "")


def everything_that_people_type() -> Iterator[tuple[str, int, str, str]]:
    """Texts with the cents that they mean, whatever the language, and the separators that they use."""
    for cents in CENTS:
        for group in GROUPS:
            for decimal in DECIMALS:
                for places in range(3):
                    exact = cents % 10 ** (2 - places) == 0
                    if exact and (group != decimal or not places):
                        yield typed(cents, group, decimal, places), cents, group, decimal if places else ""


def read(text: str, language: Separators) -> int | None:
    try:
        return read_typed(text, USD, language).units
    except NoAmount:
        return None


def test_an_amount_is_what_was_meant_or_refused() -> None:
    meant = defaultdict(set)
    for text, cents, _, _ in everything_that_people_type():
        meant[text].add(cents)
    assert len(meant) > 200
    for text, amounts in meant.items():
        assert len(amounts) == 1, text  # so that what it means is not a question of taste
        for language in (ENGLISH, ITALIAN):
            assert read(text, language) in (None, *amounts), (text, language)


def test_an_amount_is_read_exactly_when_it_is_written_in_the_pages_language() -> None:
    for text, cents, group, decimal in everything_that_people_type():
        for language in (ENGLISH, ITALIAN):
            fits = decimal in ("", language.decimal) and (group != language.decimal or cents < 100_000)
            assert read(text, language) == (cents if fits else None), (text, language)


def test_every_text_means_the_same_in_all_languages_that_read_it() -> None:
    """A form may be sent in another language than it was shown in: the reader changed it in another tab."""
    texts = [a + b + c for a in ("1", "10", "010", "100", "1000") for b in GROUPS for c in ("", "0", "5", "50", "000")]
    texts += [text + mark + rest for text in texts for mark in (",", ".") for rest in ("5", "50", "000")]
    for text in texts:
        found = {read(text, language) for language in (ENGLISH, ITALIAN)} - {None}
        assert len(found) <= 1, text


@pytest.mark.parametrize(
    ("text", "english", "italian"),
    [
        ("10,000", 1_000_000, None),
        ("25,000", 2_500_000, None),
        ("10.000", None, 1_000_000),
        ("10,000.50", 1_000_050, None),
        ("10.000,50", None, 1_000_050),
        ("1,50", None, 150),
        ("1.50", 150, None),
        ("1.234,56", None, 123_456),
        ("1,234.56", 123_456, None),
        ("1,234,567.89", 123_456_789, None),
        ("25.005", None, 2_500_500),
        ("10'000", 1_000_000, 1_000_000),
        (f"10{RIGHT_QUOTE}000,5", None, 1_000_050),
        (f"10{NBSP}000", 1_000_000, 1_000_000),
        ("10 000.5", 1_000_050, None),
        ("  25 ", 2500, 2500),
        (f"{NBSP}25\n", 2500, 2500),
        ("$10,000", 1_000_000, None),
        ("US$ 25", 2500, 2500),
        ("25.50 USD", 2550, None),
        ("usd 25", 2500, 2500),
        (f"10.000{NBSP}$", None, 1_000_000),
        ("$25 USD", 2500, 2500),
        ("010", 1000, 1000),
    ],
)
def test_what_people_type(text: str, english: int | None, italian: int | None) -> None:
    assert (read(text, ENGLISH), read(text, ITALIAN)) == (english, italian)


NEVER = [
    *("", " ", "ten", "10k", "1e3", "0x10", "NaN", "Infinity", "-25", "+25", "25-", "\N{MINUS SIGN}25", "(25)", "2_5"),
    *(
        "25.",
        ".50",
        "25,",
        ",50",
        "25,005,",
        "1,0000",
        "1,00,000",
        "10,000,00",
        "10.000.00",
        "0,010",
        "0.010",
    ),
    *("1,234.567", "1.234,567", "1,234 567", "10 00", "10  000", "10,,000", "10''000", "1 0", "25.5.5", "25,5,5"),
    *(
        "\uff12\uff15",
        "\u0662\u0665",
        "2\u0665",
        "\u00bd",
        "25\u00b2",
        "10\u066c000",
        "25\u066b50",
        "25\u200b",
        "\u202e25",
    ),
    *("\u20ac25", "25 EUR", "$$25", "$", "USD", "25$ 30", "25 $ USD", "25%", "25\0", "25\n30", "1" * 13, "1" * 5000),
    *("10000" + " " * 40 + "0", "10000" + " " * 40),
]


@pytest.mark.parametrize("text", NEVER, ids=ascii)
def test_what_is_no_amount_in_any_language(text: str) -> None:
    for language in (ENGLISH, ITALIAN):
        assert read(text, language) is None


def test_a_refusal_shows_what_was_read_and_how_to_write_it() -> None:
    with pytest.raises(NoAmount, match=r"^'10\.000' cannot be read as an amount\. Write it like 10,000 or 10,000\.50$"):
        read_typed("10.000", USD, ENGLISH)
    with pytest.raises(NoAmount, match=r"^'\\uff12\\uff15' is not a plain decimal.* 10000 or 10000\.50$"):
        read_plain("\uff12\uff15", USD)
    with pytest.raises(NoAmount) as refused:
        read_plain("9" * 5000, USD)
    assert len(str(refused.value)) < 200
    assert [examples(language) for language in (ENGLISH, ITALIAN)] == [("10,000", "10,000.50"), ("10.000", "10.000,50")]


@pytest.mark.parametrize(
    ("text", "cents"),
    [("10000", 1_000_000), ("10000.50", 1_000_050), ("25.5", 2550), ("0", 0), ("9" * 12, 10**14 - 100)],
)
def test_programs_write_plain_decimals(text: str, cents: int) -> None:
    assert read_plain(text, USD) == Money(USD, cents)


@pytest.mark.parametrize(
    "text", [*NEVER, "10,000", "10'000", " 25", "25 ", "25\n", "$25", "25 USD", "25.005", "25.010"], ids=ascii
)
def test_programs_write_nothing_else(text: str) -> None:
    with pytest.raises(NoAmount, match="not a plain decimal"):
        read_plain(text, USD)
    with pytest.raises(ValidationError, match="not a plain decimal"):
        TypeAdapter(UsdAmount).validate_python(text)


def test_each_asset_has_its_own_decimal_places() -> None:
    assert read_plain("0.000001", USDC) == Money(USDC, 1)
    with pytest.raises(NoAmount, match="at most 6 decimal places"):
        read_plain("0.0000001", DUCAT)
    with pytest.raises(NoAmount):
        read_typed("$25", USDC, ENGLISH)


@pytest.mark.parametrize(
    ("value", "read"), [(25, "25"), (25.01, "25.01"), (10000.0, "10000"), ("25.10", "25.1"), (0, "0")]
)
def test_a_number_in_json_is_read_as_it_is_written(value: object, read: str) -> None:
    assert TypeAdapter(UsdAmount).validate_python(value) == read


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, None, [], {}, b"25", 25.005, 1e300, 1e-7, -1, -25.5, float("nan"), float("inf"), 10**400),
        *(24.999999999999996, 0.1 + 0.2),
    ],
    ids=str,
)
def test_no_other_value_in_json_is_an_amount(value: object) -> None:
    for kind in (UsdAmount, DucatAmount):
        if (kind, value) != (DucatAmount, 25.005):
            with pytest.raises(ValidationError):
                TypeAdapter(kind).validate_python(value)
