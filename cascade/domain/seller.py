"""The seller that shop, orders, receipts and letters name: from settings, and checked before anything is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_MAIL = re.compile(r"[^\s@<>\"'?&%]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seller:
    """The seller of the ducats.

    Attributes:
        name: of the person or company that the contract of sale is with.
        contact: an e-mail address or a web address; None when there is none.
        terms_url: the terms of sale; None when there are none.
        home_url: where payers come from and go back to; None: there is only this shop.
    """

    name: str
    contact: str | None = None
    terms_url: str | None = None
    home_url: str | None = None

    @property
    def contact_url(self) -> str | None:
        """Return the contact as a link."""
        return f"mailto:{self.contact}" if self.contact and _MAIL.fullmatch(self.contact) else self.contact


def check_web_address(text: str) -> str:
    """Return a web address that may stand in a page as a link.

    Raises:
        ValueError: it is none, or holds a password.
    """
    try:
        url = urlsplit(text)
        is_good = url.scheme in ("http", "https") and url.hostname and not url.username and not url.password
    except ValueError:
        is_good = False
    if not is_good or re.search(r"[\s<>\"']", text):
        raise ValueError("must be a web address such as https://venice.example/terms")
    return text


def check_contact(text: str) -> str:
    """Return an e-mail address or a web address that may stand in a page as a link.

    Raises:
        ValueError: it is neither.
    """
    if _MAIL.fullmatch(text):
        return text
    try:
        return check_web_address(text)
    except ValueError:
        raise ValueError("must be an e-mail address such as help@venice.example, or a web address") from None


def check_name(text: str) -> str:
    """Return a name of one line.

    Raises:
        ValueError: it is empty, longer than 80 characters, or holds characters that cannot be printed.
    """
    if not text.strip() or len(text) > 80 or not text.isprintable():
        raise ValueError("must be a name of 1 to 80 characters on one line")
    return text.strip()
