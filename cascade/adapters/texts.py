"""Write messages to citizens: the title and text of each event, from a template that operators can replace."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2

from cascade.domain.delivery_states import Problem
from cascade.domain.money import DUCAT, Money
from cascade.domain.order_events import EventType
from cascade.domain.seller import Seller
from cascade.errors import DeliveryRefused, SettingsError
from cascade.locales.formats import formats
from cascade.locales.translations import ENGLISH, LANGUAGES, translations

_OURS: Final = Path(__file__).parent / "texts"
_NOT_TEXT: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")


@dataclass(frozen=True, slots=True)
class Text:
    """A text for a person: a title of one line, and plain text."""

    title: str
    body: str


class Texts:
    """Writes what people read.

    Args:
        language: what is written for readers whose language there is not.
        folder: an operator's own ``<language>/<event type>.txt``, which go before ours; None when there are none.
        seller: is named in receipts; None: nobody is.

    Raises:
        SettingsError: there is no such folder or language, or a file of the operator's is no template.
    """

    def __init__(self, language: str = ENGLISH, folder: Path | None = None, seller: Seller | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise SettingsError(f"{folder} is no folder: texts are read from <folder>/<language>/<event type>.txt")
        self._folders: Final = (_OURS,) if folder is None else (_OURS, folder)
        self._language = language
        self._seller = seller
        self._templates: dict[str, jinja2.Environment] = {}
        self.languages: Final = self._found(folder)
        """Those that there are texts in."""
        if language not in self.languages:
            raise SettingsError(f"there are no texts in {language!r}, only in {', '.join(self.languages)}")

    def write(self, kind: EventType, data: Mapping[str, Any], language: str | None = None) -> Text:
        """Return an event in words.

        Args:
            kind: one that citizens are told of.
            data: the event's; amounts are plain decimals as text.
            language: the reader's, such as ``en`` or ``en-GB``; None for the default.

        Raises:
            DeliveryRefused: there is no text, or it asks for something that the event does not tell.
        """
        wanted = (language or "", (language or "").partition("-")[0], self._language, ENGLISH)
        try:
            written = self._template(kind, [one for one in wanted if one in self.languages]).render(data)
        except (jinja2.TemplateError, ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise DeliveryRefused(f"the text of {kind} cannot be written: {error}", Problem.REFUSED) from None
        title, _, body = written.strip().partition("\n")
        if not title.strip() or not body.strip():
            raise DeliveryRefused(f"the text of {kind} needs a title, an empty line and a text", Problem.REFUSED)
        lines = "\n".join(line.rstrip() for line in body.strip().splitlines())
        return Text(title.strip(), re.sub(r"\n{3,}", "\n\n", lines) + "\n")

    def _template(self, kind: EventType, languages: Sequence[str]) -> jinja2.Template:
        """Return the text in the first of the languages that has it. Raises TemplateNotFound."""
        for language in languages:
            theirs, ours = f"{language}/{kind}.txt", f"{kind}.txt"
            with suppress(jinja2.TemplateNotFound):
                return self._in(language).select_template((theirs, ours) if language in LANGUAGES else (theirs,))
        raise jinja2.TemplateNotFound(f"{kind}.txt")

    def _in(self, language: str) -> jinja2.Environment:
        """Return where templates of a language are found: words and figures are written as its readers write them."""
        if language not in self._templates:
            made = jinja2.Environment(
                loader=jinja2.FileSystemLoader(self._folders),
                undefined=jinja2.StrictUndefined,
                autoescape=False,  # noqa: S701 - plain text, which no browser reads as HTML
                trim_blocks=True,
                lstrip_blocks=True,
                auto_reload=False,
                finalize=_shown,
            )
            made.filters |= formats(language).filters | {"total": total}
            made.tests["some"] = _is_some
            made.globals |= {"seller": self._seller, "_": _translated(language)}
            self._templates[language] = made
        return self._templates[language]

    def _found(self, folder: Path | None) -> Sequence[str]:
        """Return the languages; an operator's templates are read on the way, so that a broken one is found at the
        start."""
        languages = set(LANGUAGES)
        for file in sorted(folder.glob("*/*.txt")) if folder else ():
            if file.stem not in list(EventType):
                raise SettingsError(f"{file}: there is no event {file.stem!r}, so this text would never be read")
            languages.add(file.parent.name)
            try:
                self._in(file.parent.name).get_template(f"{file.parent.name}/{file.name}")
            except (jinja2.TemplateError, UnicodeDecodeError) as error:
                raise SettingsError(f"{file} is no template: {error}") from None
        return tuple(sorted(languages))


def total(parts: Sequence[str]) -> str:
    """Return the sum of several amounts of ducats, as a plain decimal.

    Raises:
        ValueError: one of them is none.
    """
    return sum((Money.parse(part, DUCAT) for part in parts), Money(DUCAT, 0)).plain


def _translated(language: str) -> Callable[..., str]:
    """Return what translates a message and puts values into it."""

    def translate(message: str, **values: object) -> str:
        shown = {name: _shown(value) for name, value in values.items()}
        return translations(language).gettext(message) % shown

    return translate


def _is_some(value: object) -> bool:
    """Return whether a value is there and is not nothing: ``{% if ducats_owed is some %}``."""
    if isinstance(value, jinja2.Undefined) or value is None:
        return False
    return str(value).strip("0.") != ""


def _shown(value: object) -> object:
    """Return a value as it is put into a text: one line, and nothing in it that steers a terminal or the reading
    direction."""
    if value is None:
        raise ValueError("a value that is not known was to be shown: ask with `is some` first")
    if isinstance(value, str):
        return "".join(character for character in value if unicodedata.category(character) not in _NOT_TEXT)
    return value
