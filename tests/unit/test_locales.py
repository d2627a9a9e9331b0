"""What every language writes: amounts and times as its readers do, and each text of pages, messages and pictures."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po

from api.pages.rendering import PAGES
from cascade import charts
from cascade.adapters import texts
from cascade.domain.money import DUCAT, USD, USDC, Money
from cascade.locales.formats import formats
from cascade.locales.translations import ENGLISH, LANGUAGES, LOCALES

PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}")
EN, IT = formats("en"), formats("it")


@pytest.mark.parametrize(
    ("value", "places", "english", "italian"),
    [
        ("0", None, "0", "0"),
        ("1234567", None, "1,234,567", "1.234.567"),
        ("1234.5", None, "1,234.50", "1.234,50"),
        ("0.000001", None, "0.000001", "0,000001"),
        ("-250", None, "-250", "-250"),
        ("12345678901234567890.123456", None, "12,345,678,901,234,567,890.123456", "12.345.678.901.234.567.890,123456"),
        (Money(USDC, 12_345_678), None, "12.345678", "12,345678"),
        (Money(USDC, 1_234_500_000), None, "1,234.50", "1.234,50"),
        ("0.104123456", 6, "0.104123", "0,104123"),
        ("0.104000001", 6, "0.104", "0,104"),
        ("1234.999", 2, "1,234.99", "1.234,99"),
    ],
)
def test_an_amount_is_shown_as_it_is_or_cut_off(
    value: Money | str, places: int | None, english: str, italian: str
) -> None:
    assert [one.amount(value, places) for one in (EN, IT)] == [english, italian]


@pytest.mark.parametrize(
    ("value", "english", "italian"),
    [
        ("2500", "2,500", "2.500"),
        ("1234.569999", "1,234.56", "1.234,56"),
        ("0.009", "0", "0"),
        (Money(DUCAT, 2_750_000_000), "2,750", "2.750"),
        (Money(DUCAT, 250_109_999), "250.10", "250,10"),
        (Money(DUCAT, 999_999), "0.99", "0,99"),
    ],
)
def test_ducats_are_cut_and_never_rounded_up(value: Money | str, english: str, italian: str) -> None:
    assert [one.ducats(value) for one in (EN, IT)] == [english, italian]


def test_the_price_of_a_ducat_has_no_more_decimals_than_people_read() -> None:
    assert [EN.rate(value) for value in ("0.1", "0.104123456", "12")] == ["0.10", "0.104123", "12"]


@pytest.mark.parametrize("wrong", ["", "1e5", "NaN", "1,000", "٣", "1.", "five", "--1"])
def test_what_is_no_amount_is_never_shown_as_one(wrong: str) -> None:
    for shows in (EN.amount, EN.ducats, EN.rate):
        with pytest.raises(ValueError, match="plain decimal"):
            shows(wrong)


def test_money_says_of_what() -> None:
    for one, dollars, coins in ((EN, "$1,234.50", "0.50 USDC"), (IT, "1.234,50 $", "0,50 USDC")):
        assert (one.money(Money(USD, 123_450)), one.money(Money(USDC, 500_000))) == (dollars, coins)
    assert [one.cents(Money(USD, 25_000)) for one in (EN, IT)] == ["$250.00", "250,00 $"]


def test_times_say_their_zone() -> None:
    at = datetime(2026, 9, 6, 7, 5, tzinfo=UTC)
    assert [one.hour(at) for one in (EN, IT)] == ["07:05 UTC", "07:05 UTC"]
    assert [one.minute(at) for one in (EN, IT)] == ["6 Sep, 07:05 UTC", "6 set, 07:05 UTC"]
    for value in (at, "2026-09-06T07:05:00Z"):
        assert [one.moment(value) for one in (EN, IT)] == ["2026-09-06 07:05:00 UTC", "6 set 2026, 07:05:00 UTC"]


@pytest.mark.parametrize(
    ("seconds", "exactly", "english", "italian"),
    [
        (0, False, "1 second", "1 secondo"),
        (59, False, "59 seconds", "59 secondi"),
        (90, False, "1 minute", "1 minuto"),
        (90, True, "90 seconds", "90 secondi"),
        (300, True, "5 minutes", "5 minuti"),
        (7_199, False, "1 hour", "1 ora"),
        (11 * 86_400 + 5, False, "11 days", "11 giorni"),
    ],
)
def test_a_length_of_time_is_told_in_one_unit(seconds: int, exactly: bool, english: str, italian: str) -> None:
    assert [one.duration(seconds, exact=exactly) for one in (EN, IT)] == [english, italian]


def test_what_is_known_of_the_city_is_written_as_the_reader_writes_it() -> None:
    assert [EN.number(value) for value in ("1234.5", "-0.254", 7)] == ["1,234.5", "\N{MINUS SIGN}0.25", "7"]
    assert [IT.number(value) for value in ("1234.5", "-0.254", 7)] == ["1.234,5", "\N{MINUS SIGN}0,25", "7"]
    assert [one.exact("0.1000") for one in (EN, IT)] == ["0.1000", "0,1000"]
    assert EN.listed(["sales", "coherence"]) == "sales and coherence"
    assert IT.listed(["vendite", "coerenza"]) == "vendite e coerenza"


def test_a_language_that_babel_does_not_know_is_written_as_english() -> None:
    for language in ("xx", "en-GB", "../it", ""):
        assert formats(language).amount("1234.5") == "1,234.50"


@pytest.fixture(scope="module")
def words() -> Catalog:
    """Everything that the templates and the pictures say."""
    found = Catalog()
    for folder, pattern, method, keywords, least in (
        (PAGES / "templates", "**.html", "jinja2", DEFAULT_KEYWORDS, 150),
        (Path(texts.__file__).with_suffix(""), "**.txt", "jinja2", DEFAULT_KEYWORDS, 50),
        (Path(charts.__path__[0]), "**.py", "python", {"say": None}, 20),
    ):
        options = {pattern: {"trimmed": "true", "newstyle_gettext": "true"}}
        before = len(found)
        for _, _, message, _, _ in extract_from_dir(folder, [(pattern, method)], options, keywords):
            found.add(message)
        assert len(found) - before > least
    return found


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != ENGLISH])
def test_everything_is_said_in_every_language(language: str, words: Catalog) -> None:
    with (LOCALES / f"{language}.po").open("rb") as file:
        catalogue = read_po(file)
    assert re.fullmatch("[a-z]{2,3}", language), "the database notes no other languages"
    assert str(catalogue.locale) == language, "named at the head of the file"
    there: dict[object, Message] = {message.id: message for message in catalogue if message.id}
    assert set(there) == {message.id for message in words if message.id}
    missing = [str(message.id) for message in there.values() if not message.string or message.fuzzy]
    assert not missing, "\n".join(missing)
    for message in there.values():
        assert sorted(PLACEHOLDER.findall(str(message.string))) == sorted(PLACEHOLDER.findall(str(message.id)))
