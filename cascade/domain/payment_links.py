"""A payment link: its purchase, and whether it still opens orders. It locks no price; its orders do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote

from cascade.domain.money import Money
from cascade.errors import NotPayable

MOST_MINUTES = 5 * 366 * 24 * 60
"""Five years: a link that shall live longer needs no end."""


class LinkState(StrEnum):
    """The state of a link. Always derived, never stored itself."""

    ACTIVE = "active"
    USED = "used"
    """For a single use, and paid."""
    EXPIRED = "expired"
    DEACTIVATED = "deactivated"


@dataclass(frozen=True, slots=True)
class PaymentLink:
    """One link.

    Attributes:
        id: ``lnk_`` and 128 random bits; manages the link and opens nothing.
        token: 128 random bits of its own; makes the address, and anyone who knows it may open the link.
        package: a package's id; None: it is for dollars.
        usd: US dollars; None: it is for a package.
        citizen_id: who gets the ducats; None: who opens it is asked.
        single_use: one order of it is paid at most.
        created_at: UTC.
        expires_at: UTC; from this moment on it opens nothing. None: never.
        deactivated_at: UTC; None: it was not.
    """

    id: str
    token: str
    package: str | None
    usd: Money | None
    citizen_id: str | None
    single_use: bool
    created_at: datetime
    expires_at: datetime | None = None
    deactivated_at: datetime | None = None

    @property
    def usd_amount(self) -> str | None:
        """Return its dollars as a plain decimal."""
        return None if self.usd is None else self.usd.plain

    def has_expired(self, now: datetime) -> bool:
        """Return whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


def state_of(link: PaymentLink, now: datetime, *, paid: int) -> LinkState:
    """Return where a link stands; ``paid``: how many of its orders are paid."""
    if link.single_use and paid:
        return LinkState.USED
    if link.deactivated_at is not None:
        return LinkState.DEACTIVATED
    return LinkState.EXPIRED if link.has_expired(now) else LinkState.ACTIVE


def check_opens(link: PaymentLink, now: datetime) -> None:
    """Refuse to open an order from a link whose time is over. What was opened before stays payable.

    Raises:
        NotPayable: it was deactivated or has expired; the message says when, and what to do.
    """
    remedy = "Ask whoever gave it to you for a new one."
    if link.deactivated_at is not None:
        raise NotPayable(f"This payment link was deactivated on {link.deactivated_at:%Y-%m-%d %H:%M} UTC. {remedy}")
    if link.has_expired(now):
        raise NotPayable(f"This payment link was valid until {link.expires_at:%Y-%m-%d %H:%M} UTC. {remedy}")


def address(base_url: str, token: str) -> str:
    """Return where a link is opened; ``base_url`` has no slash at the end."""
    return f"{base_url}/pay/{token}"


def in_metamask(url: str) -> str:
    """Return the address that opens ours inside of MetaMask on a phone. It wants host and path as they are, not
    encoded."""
    return f"https://link.metamask.io/dapp/{url.partition('://')[2]}"


def mailto(url: str, expires_at: datetime | None) -> str:
    """Return a letter with a link, for the sender's own mail program to finish (RFC 6068)."""
    lines = [
        *("Pay here, by card or in USDC or USDT on Polygon:", url, ""),
        *("On a phone with MetaMask:", in_metamask(url)),
        *(["", f"It is valid until {expires_at:%Y-%m-%d %H:%M} UTC."] if expires_at else []),
    ]
    body = quote("\r\n".join(lines), safe="")
    return f"mailto:?subject={quote('Your payment link for ducats', safe='')}&body={body}"
