"""Translations of the English texts: a gettext catalogue `<language>.po` in this folder for each other language."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

LOCALES: Final = Path(__file__).parent
ENGLISH: Final = "en"
"""What the templates are written in; stands in for every text and language that has no translation."""
LANGUAGES: Final = (ENGLISH, *sorted(file.stem for file in LOCALES.glob("*.po")))


@cache
def translations(language: str) -> NullTranslations:
    """Return a language's catalogue; texts that it lacks stay English, all of them where there is no catalogue."""
    if language == ENGLISH or language not in LANGUAGES:
        return NullTranslations()
    compiled = BytesIO()
    with (LOCALES / f"{language}.po").open("rb") as file:
        write_mo(compiled, read_po(file, language))
    compiled.seek(0)
    return Translations(compiled)
