"""Pages in their reader's language: the same templates, words from a catalogue, numbers as they are read there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlencode

import jinja2
from babel.core import Locale
from babel.dates import format_datetime, format_time, format_timedelta
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, get_decimal_symbol, get_group_symbol
from babel.support import NullTranslations, Translations
from fastapi import Request
from fastapi.templating import Jinja2Templates
from starlette.responses import Response

from cascade.charts import ChartLocale
from cascade.domain.amount_parser import Separators
from cascade.domain.money import ASSETS, USD, Money
from cascade.domain.seller import Seller

PAGES: Final = Path(__file__).parent
DEFAULT_SELLER: Final = "Venice"
_COOKIE: Final = "lang"
_YEAR_SECONDS: Final = 31_536_000
_LONGEST_FIRST: Final[tuple[tuple[Literal["day", "hour", "minute", "second"], int], ...]] = (
    ("day", 86_400),
    ("hour", 3_600),
    ("minute", 60),
    ("second", 1),
)
_MINUS: Final = "\N{MINUS SIGN}"


class Language(StrEnum):
    """What the pages are written in."""

    ENGLISH = "en"
    """What the templates say, and what a reader gets whose language there is not."""
    ITALIAN = "it"


def page(request: Request, template: str, context: Mapping[str, Any] | None = None, status_code: int = 200) -> Response:
    """Return a page in the reader's language; one chosen by ``?lang=`` is kept for the next pages."""
    language = language_of(request)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    others = {code: urlencode([*asked, ("lang", code)]) for code in Language if code != language}
    seller = request.app.state.app.settings.seller
    words = {"language": language, "other_languages": others, **sold_by(language, seller), **(context or {})}
    response = templates(language).TemplateResponse(request, template, words, status_code)
    if request.query_params.get("lang") == language:
        response.set_cookie(_COOKIE, language, _YEAR_SECONDS, httponly=True, samesite="lax")
    return response


def sold_by(language: Language, seller: Seller) -> dict[str, Any]:
    """Return what every page is given of the seller; the name of the city is translated, any other is as it is."""
    name = _catalogue(language).gettext(seller.name) if seller.name == DEFAULT_SELLER else seller.name
    return {"seller": seller, "seller_name": name}


def language_of(request: Request) -> Language:
    """Return the language that the reader chose, or else the first of the browser's that there is."""
    accepted = [part.strip().partition(";q=") for part in request.headers.get("accept-language", "").split(",")]
    by_liking = sorted(accepted, key=lambda part: -_liking(part[2]))
    liked = [tag.split("-")[0].lower() for tag, _, liking in by_liking if _liking(liking)]
    wanted = (request.query_params.get("lang"), request.cookies.get(_COOKIE), *liked)
    return next((Language(code) for code in wanted if code in tuple(Language)), Language.ENGLISH)


@cache
def templates(language: Language) -> Jinja2Templates:
    """Return the templates in one of the languages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES / "templates"),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(_catalogue(language), newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(filters(Locale(language)) | filters_of_the_rate(Locale(language)))
    return Jinja2Templates(env=environment)


@cache
def separators(language: Language) -> Separators:
    """Return how one of the languages writes numbers."""
    locale = Locale(language)
    return Separators(decimal=get_decimal_symbol(locale), group=get_group_symbol(locale))


@cache
def speech(language: Language) -> ChartLocale:
    """Return how pictures speak in one of the languages."""
    return ChartLocale(Locale(language), _catalogue(language).gettext)


def filters(locale: Locale) -> dict[str, Callable[..., str]]:
    """Return how amounts and times are written for a reader; nothing is ever rounded up."""

    def amount(value: Money | str, places: int = 2) -> str:
        exact = Decimal(value.plain if isinstance(value, Money) else value)
        shown = exact.quantize(Decimal(1).scaleb(-places), ROUND_DOWN)
        pattern = "#,##0" if shown == shown.to_integral_value() else "#,##0.00" + "#" * (places - 2)
        return str(format_decimal(shown, pattern, locale))

    def money(value: Money, places: int = 2) -> str:
        text = amount(value, places)
        return dollars(text) if value.asset == USD else f"{text} {value.asset.code}"

    def cents(value: Money) -> str:
        return dollars(format_decimal(Decimal(value.plain), "#,##0.00", locale))

    def dollars(text: str) -> str:
        return f"${text}" if locale.language == "en" else f"{text} $"

    def moment(value: datetime) -> str:
        return f"{format_datetime(value.astimezone(UTC), 'medium', locale=locale)} UTC"

    def hour(value: datetime) -> str:
        return f"{format_time(value.astimezone(UTC), 'HH:mm', locale=locale)} UTC"

    def paid(payment: Any) -> str:
        return money(Money(ASSETS[payment.token], int(payment.amount)), 6)

    return {"amount": amount, "money": money, "cents": cents, "paid": paid, "moment": moment, "hour": hour}


def filters_of_the_rate(locale: Locale) -> dict[str, Callable[..., str]]:
    """Return how what is known of the city, and when it became known, is written for a reader."""

    def number(value: object, places: int = 2) -> str:
        shown = format_decimal(Decimal(str(value)), "#,##0." + "#" * places, locale)
        return str(shown).replace("-", _MINUS)

    def exact(text: str) -> str:
        return text.replace(".", get_decimal_symbol(locale))

    def listed(names: Iterable[str]) -> str:
        return str(format_list(list(names), locale=locale))

    def minute(value: datetime) -> str:
        return f"{format_datetime(value.astimezone(UTC), 'd MMM, HH:mm', locale=locale)} UTC"

    def duration(seconds: int, *, exact: bool = False) -> str:
        """Write a duration in its largest unit, rounded down; exactly in the largest that it is whole numbers of."""
        seconds = max(seconds, 1)
        unit, size = next(
            (unit, size) for unit, size in _LONGEST_FIRST if seconds >= size and not (exact and seconds % size)
        )
        whole = timedelta(seconds=seconds - seconds % size)
        return str(format_timedelta(whole, granularity=unit, threshold=math.inf, locale=locale))

    return {"number": number, "exact": exact, "listed": listed, "minute": minute, "duration": duration}


@cache
def _catalogue(language: Language) -> NullTranslations:
    if language == Language.ENGLISH:
        return NullTranslations()
    with (PAGES / "locales" / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, language)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def _liking(text: str) -> float:
    """Return how much a language is liked, as Accept-Language says it; nothing said is most, nonsense is least."""
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
