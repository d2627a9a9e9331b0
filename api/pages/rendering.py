"""Pages in their reader's language: the same templates, words from a catalogue, numbers as they are read there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from babel.core import Locale
from fastapi import Request
from fastapi.templating import Jinja2Templates
from starlette.responses import Response

from cascade.charts.chart_locale import ChartLocale
from cascade.domain.money import ASSETS, Money
from cascade.domain.seller import Seller
from cascade.locales.formats import formats
from cascade.locales.translations import ENGLISH, LANGUAGES, translations

PAGES: Final = Path(__file__).parent
DEFAULT_SELLER: Final = "Venice"
_COOKIE: Final = "lang"
_YEAR_SECONDS: Final = 31_536_000


def page(request: Request, template: str, context: Mapping[str, Any] | None = None, status_code: int = 200) -> Response:
    """Return a page in the reader's language; one chosen by ``?lang=`` is kept for the next pages."""
    language = language_of(request)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    others = [
        (code, str(Locale(code).display_name).capitalize(), urlencode([*asked, ("lang", code)]))
        for code in LANGUAGES
        if code != language
    ]
    seller = request.app.state.app.settings.seller
    words = {"language": language, "other_languages": others, **sold_by(language, seller), **(context or {})}
    response = templates(language).TemplateResponse(request, template, words, status_code)
    if request.query_params.get("lang") == language:
        response.set_cookie(_COOKIE, language, _YEAR_SECONDS, httponly=True, samesite="lax")
    return response


def sold_by(language: str, seller: Seller) -> dict[str, Any]:
    """Return what every page is given of the seller; the name of the city is translated, any other is as it is."""
    name = translations(language).gettext(seller.name) if seller.name == DEFAULT_SELLER else seller.name
    return {"seller": seller, "seller_name": name}


def language_of(request: Request) -> str:
    """Return the language that the reader chose, or else the first of the browser's that there is."""
    accepted = [part.strip().partition(";q=") for part in request.headers.get("accept-language", "").split(",")]
    by_liking = sorted(accepted, key=lambda part: -_liking(part[2]))
    liked = [tag.split("-")[0].lower() for tag, _, liking in by_liking if _liking(liking)]
    wanted = (request.query_params.get("lang"), request.cookies.get(_COOKIE), *liked)
    return next((code for code in wanted if code in LANGUAGES), ENGLISH)


@cache
def templates(language: str) -> Jinja2Templates:
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
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    written = formats(language)

    def paid(payment: Any) -> str:
        return written.money(Money(ASSETS[payment.token], int(payment.amount)))

    environment.filters.update(written.filters | {"paid": paid})
    environment.globals["separators"] = written.separators
    return Jinja2Templates(env=environment)


@cache
def speech(language: str) -> ChartLocale:
    """Return how pictures speak in one of the languages."""
    return ChartLocale(formats(language).locale, translations(language).gettext)


def _liking(text: str) -> float:
    """Return how much a language is liked, as Accept-Language says it; nothing said is most, nonsense is least."""
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
