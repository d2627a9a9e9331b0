"""Requests and answers about payment links."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from api.schemas.purchases import Body, Plain, UsdAmount
from cascade.db.payment_links import LinkUse
from cascade.domain.payment_links import MOST_MINUTES, LinkState, address, in_metamask, mailto

LinkId = Annotated[str, Field(pattern=r"^lnk_[a-z2-7]{26}$", examples=["lnk_mfrggzdfmztwq2lknnwg23tpoa"])]


class LinkIn(BaseModel):
    """The purchase of a link: a package, or a usd_amount. How long it holds is said in minutes, so that no clock
    but the database's is asked."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"package": "merchant", "citizen_id": "Marco_Polo", "valid_minutes": 10_080},
                {"usd_amount": "25.01", "single_use": False},
            ]
        },
    )

    package: Annotated[str, Field(max_length=200)] | None = None
    usd_amount: UsdAmount | None = None
    citizen_id: Annotated[
        str | None, Field(max_length=200, description="Who gets the ducats; null: who opens the link is asked")
    ] = None
    single_use: Annotated[StrictBool, Field(description="At most one order of it is paid")] = True
    valid_minutes: Annotated[
        int | None, Field(strict=True, ge=1, le=MOST_MINUTES, description="null: until it is deactivated")
    ] = None


class LinkOut(Body):
    """A payment link as its maker sees it. Its price is that of the moment in which it is opened."""

    id: LinkId
    url: Annotated[str, Field(description="Send this; anyone who has it may open the link")]
    metamask_url: Annotated[str, Field(description="The same page inside of MetaMask on a phone")]
    mailto: Annotated[str, Field(description="A letter with both, for a mail program to finish")]
    qr: Annotated[str, Field(description="The url as a picture; needs the key as well")]
    package: str | None
    usd_amount: Plain | None
    citizen_id: str | None
    single_use: bool
    created_at: datetime
    expires_at: datetime | None
    deactivated_at: datetime | None
    state: Annotated[LinkState, Field(description="used: for a single use, and paid")]
    orders: Annotated[int, Field(description="How many it has opened")]
    paid: Annotated[int, Field(description="How many of them were paid, also when that money went back")]

    @classmethod
    def of(cls, use: LinkUse, state: LinkState, base_url: str) -> LinkOut:
        """Return a link as it stands."""
        link = use.link
        url = address(base_url, link.token)
        return cls(
            id=link.id,
            url=url,
            metamask_url=in_metamask(url),
            mailto=mailto(url, link.expires_at),
            qr=f"/api/payments/links/{link.id}/qr.svg",
            package=link.package,
            usd_amount=link.usd_amount,
            citizen_id=link.citizen_id,
            single_use=link.single_use,
            created_at=link.created_at,
            expires_at=link.expires_at,
            deactivated_at=link.deactivated_at,
            state=state,
            orders=use.opened,
            paid=use.paid,
        )


class LinkQuery(BaseModel):
    """Which part of the links. A misspelt name is refused: it would otherwise mean the newest."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[LinkId | None, Field(description="Read on: only links older than this one")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class LinksOut(Body):
    """A page of links, the newest first."""

    links: list[LinkOut]
