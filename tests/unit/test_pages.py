"""The pages' languages: which one a reader gets, how numbers are written in it, and that no words are missing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.core import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po
from fastapi import Request

from api.pages.rendering import PAGES, Language, filters, filters_of_the_rate, language_of
from cascade import charts
from cascade.domain.money import DUCAT, USD, USDC, Money

PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}")


def asking(accept: str = "", query: str = "", cookie: str = "") -> Request:
    headers = [(b"accept-language", accept.encode()), (b"cookie", cookie.encode())]
    return Request({"type": "http", "headers": headers, "query_string": query.encode(), "path": "/", "method": "GET"})


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("it", "it"),
        ("it-CH,en;q=0.9", "it"),
        ("de;q=0.9, en;q=0.2, it;q=0.5", "it"),
        ("it;q=0, en", "en"),
        ("it;q=0", "en"),
        ("de,fr;q=0.8", "en"),
        ("it;q=nonsense,en;q=0.1", "en"),
        (";q=,,", "en"),
    ],
)
def test_a_reader_gets_the_language_that_is_liked_best(accept: str, language: str) -> None:
    assert language_of(asking(accept)) == language


def test_a_chosen_language_wins_and_is_remembered() -> None:
    assert language_of(asking("it", cookie="lang=en")) == "en"
    assert language_of(asking("it", "lang=it", "lang=en")) == "it"
    assert language_of(asking("it", "lang=xx", "lang=../en")) == "it"


@pytest.mark.parametrize(
    ("value", "places", "english", "italian"),
    [
        (Money(DUCAT, 2_750_000_000), 2, "2,750", "2.750"),
        (Money(DUCAT, 250_109_999), 2, "250.10", "250,10"),
        (Money(DUCAT, 999_999), 2, "0.99", "0,99"),
        (Money(USDC, 12_345_678), 6, "12.345678", "12,345678"),
        (Money(USDC, 1_234_500_000), 6, "1,234.50", "1.234,50"),
        ("0.100000001", 9, "0.100000001", "0,100000001"),
    ],
)
def test_amounts_are_cut_off_and_written_as_the_reader_writes_them(
    value: Money | str, places: int, english: str, italian: str
) -> None:
    assert filters(Locale("en"))["amount"](value, places) == english
    assert filters(Locale("it"))["amount"](value, places) == italian


def test_money_says_of_what() -> None:
    for language, dollars, coins in (("en", "$1,234.50", "0.50 USDC"), ("it", "1.234,50 $", "0,50 USDC")):
        money = filters(Locale(language))["money"]
        assert (money(Money(USD, 123_450)), money(Money(USDC, 500_000))) == (dollars, coins)


def test_times_say_their_zone() -> None:
    at = datetime(2026, 11, 26, 7, 5, tzinfo=UTC)
    assert filters(Locale("en"))["hour"](at) == "07:05 UTC"
    assert filters(Locale("it"))["moment"](at) == "26 nov 2026, 07:05:00 UTC"


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
    told = [filters_of_the_rate(Locale(code))["duration"](seconds, exact=exactly) for code in ("en", "it")]
    assert told == [english, italian]


def test_what_is_known_of_the_city_is_written_as_the_reader_writes_it() -> None:
    english, italian = (filters_of_the_rate(Locale(code)) for code in ("en", "it"))
    assert [english["number"](value) for value in ("1234.5", "-0.254", 7)] == ["1,234.5", "\N{MINUS SIGN}0.25", "7"]
    assert [italian["number"](value) for value in ("1234.5", "-0.254", 7)] == ["1.234,5", "\N{MINUS SIGN}0,25", "7"]
    assert (english["exact"]("0.1000"), italian["exact"]("0.1000")) == ("0.1000", "0,1000")
    assert english["listed"](["sales", "coherence"]) == "sales and coherence"
    assert italian["listed"](["vendite", "coerenza"]) == "vendite e coerenza"
    at = datetime(2026, 9, 6, 7, 5, tzinfo=UTC)
    assert (english["minute"](at), italian["minute"](at)) == ("6 Sep, 07:05 UTC", "6 set, 07:05 UTC")


@pytest.fixture(scope="module")
def words() -> Catalog:
    """Everything that the templates and the pictures say."""
    found = Catalog()
    for folder, pattern, method, options, keywords in (
        (
            PAGES / "templates",
            "**.html",
            "jinja2",
            {"trimmed": "true", "newstyle_gettext": "true"},
            DEFAULT_KEYWORDS,
        ),
        (Path(charts.__path__[0]), "**.py", "python", {}, {"say": None}),
    ):
        for _, _, message, _, _ in extract_from_dir(folder, [(pattern, method)], {pattern: options}, keywords):
            found.add(message)
        assert len(found) > 100
    return found


@pytest.mark.parametrize("language", [language for language in Language if language != Language.ENGLISH])
def test_everything_is_said_in_every_language(language: Language, words: Catalog) -> None:
    with (PAGES / "locales" / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, language)
    there: dict[object, Message] = {message.id: message for message in catalogue if message.id}
    assert set(there) == {message.id for message in words if message.id}
    for message in there.values():
        assert message.string, message.id
        assert not message.fuzzy, message.id
        assert sorted(PLACEHOLDER.findall(str(message.string))) == sorted(PLACEHOLDER.findall(str(message.id)))
