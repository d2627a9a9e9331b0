"""Schemas that several subjects share. Amounts are strings: a number in JSON is a float to most who read it."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_serializer

from api.schemas.decimal_fields import amount_schema, plain_amount
from cascade.adapters.chain.router_logs import deposit_address, payment_calls, transfer_uri
from cascade.domain.catalogue import Catalogue
from cascade.domain.ducat_rate import Rate
from cascade.domain.money import DUCAT, USD, Money
from cascade.domain.orders import ChainTerms, OrderStatus
from cascade.domain.quotes import tiers
from cascade.services.card_checkout import CardCheckout
from cascade.services.checkout import Checkout, PurchaseRequest
from cascade.services.order_view import OrderView

Units = Annotated[str, Field(pattern=r"^\d+$", description="Smallest units of the asset", examples=["250000000"])]
Plain = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$", description="A plain decimal", examples=["250.1"])]
Signed = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", description="A plain decimal", examples=["525"])]
UsdAmount = Annotated[
    str,
    BeforeValidator(partial(plain_amount, asset=USD)),
    WithJsonSchema(amount_schema(USD)),
    Field(description="A plain decimal", examples=["25.01"]),
]
DucatAmount = Annotated[
    str,
    BeforeValidator(partial(plain_amount, asset=DUCAT)),
    WithJsonSchema(amount_schema(DUCAT)),
    Field(description="A plain decimal", examples=["250.1"]),
]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="Checksummed address")]
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
OrderId = Annotated[str, Field(pattern=r"^ord_[a-z2-7]{26}$", examples=["ord_mfrggzdfmztwq2lknnwg23tpoa"])]


class Body(BaseModel):
    """A model whose times are UTC, to the second."""

    @field_serializer(
        *("created_at", "expires_at", "payable_until", "recorded_at", "occurred_at", "read_at", "deactivated_at"),
        *("at", "tick", "next_tick", "rate_tick", "newest_report", "start", "next"),
        check_fields=False,
    )
    def _utc(self, value: datetime | None) -> str | None:
        return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


class PackageOut(Body):
    """A package at the rate of the moment."""

    id: str
    name: str
    ducats: Plain
    bonus: Plain
    price_usd: Plain


class CustomOut(Body):
    """The bounds of a custom purchase, in US dollars."""

    minimum_usd: Plain
    maximum_usd: Plain


class CustomBonusOut(Body):
    """A bonus of a custom purchase: that of a package, from its price on."""

    from_usd: Plain
    percent: Annotated[Plain, Field(description="Of the ducats bought", examples=["7.5"])]


class PricingOut(Body):
    """The catalogue at the rate of the moment."""

    usd_per_ducat: Plain
    tick: Annotated[datetime | None, Field(description="Of the rate; null before the first one")]
    packages: list[PackageOut]
    custom: CustomOut
    custom_bonuses: Annotated[
        list[CustomBonusOut], Field(description="Of custom purchases; the last one that is reached holds. Empty: none")
    ]
    tokens: list[str]
    card: Annotated[Literal["off", "test", "live"], Field(description="test: Stripe's test mode, no money moves")]
    quote_minutes: Annotated[int, Field(description="How long an order keeps its price")]

    @classmethod
    def of(cls, checkout: Checkout, card: CardCheckout | None, rate: Rate, tick: datetime | None) -> PricingOut:
        """Return the price list at a rate."""
        packages = [
            PackageOut(
                id=package.id,
                name=package.name,
                ducats=package.ducats.plain,
                bonus=package.bonus.plain,
                price_usd=rate.price_of(package.ducats).plain,
            )
            for package in checkout.catalogue.packages.values()
        ]
        custom = CustomOut(minimum_usd=checkout.catalogue.minimum.plain, maximum_usd=checkout.catalogue.maximum.plain)
        return PricingOut(
            usd_per_ducat=str(rate),
            tick=tick,
            packages=packages,
            custom=custom,
            custom_bonuses=_custom_bonuses(checkout.catalogue, rate),
            tokens=[asset.code for asset in checkout.deployment.chain.stablecoins],
            card="off" if card is None else "test" if card.stripe.test_mode else "live",
            quote_minutes=checkout.order_minutes,
        )


class CardPaymentIn(BaseModel):
    """A purchase: a package, or a usd_amount. Or an order that is open already, on whichever rail."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"citizen_id": "Marco_Polo", "package": "explorer"},
                {"citizen_id": "Marco_Polo", "usd_amount": "25.01"},
                {"order_id": "ord_mfrggzdfmztwq2lknnwg23tpoa"},
            ]
        },
    )

    citizen_id: Annotated[str, Field(max_length=200)] | None = None
    package: Annotated[str, Field(max_length=200)] | None = None
    usd_amount: UsdAmount | None = None
    order_id: OrderId | None = None
    email: Annotated[str, Field(max_length=254, description="Where receipts go, if they are sent by e-mail")] | None = (
        None
    )

    @property
    def wish(self) -> PurchaseRequest:
        """Return the purchase as the checkout takes it; dollars as a plain decimal."""
        return PurchaseRequest(self.order_id, self.citizen_id, self.package, self.usd_amount, self.email)


class CryptoPaymentIntentIn(CardPaymentIn):
    """A purchase in a stablecoin. Or an order that is open already, on whichever rail."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"citizen_id": "Marco_Polo", "package": "merchant", "token": "USDC"},
                {"citizen_id": "Marco_Polo", "usd_amount": "25.01", "token": "USDT"},
            ]
        },
    )

    token: Annotated[str, Field(max_length=200)] = "USDC"


class TermsOut(Body):
    """The order as the router's ABI names it; the on-chain order id commits to every field."""

    token: Address
    amount: Units
    expiresAt: Annotated[int, Field(description="Unix time in seconds")]  # noqa: N815 - the ABI's name
    salt: Hash

    @classmethod
    def of(cls, terms: ChainTerms) -> TermsOut:
        """Return the terms as the ABI wants them."""
        return cls(
            token=terms.token_address, amount=str(terms.units), expiresAt=terms.expires_at, salt=hexadecimal(terms.salt)
        )


class CallOut(Body):
    """A transaction for the payer's wallet, ready to send."""

    label: str
    to: Address
    data: Annotated[str, Field(pattern=r"^0x[0-9a-f]*$")]
    value: Literal["0x0"] = "0x0"


class CryptoPaymentIntentOut(Body):
    """An order, and the calls that pay it."""

    order_id: OrderId
    status: OrderStatus
    token: str
    amount: Units
    amount_display: Annotated[str, Field(description="For people", examples=["250"])]
    ducats: Annotated[Plain, Field(description="Ducats bought, without the bonus")]
    bonus: Plain
    router: Address
    chain_id: int
    expires_at: datetime
    terms: TermsOut
    on_chain_order_id: Hash
    calls: list[CallOut]
    payment_link: str
    deposit_address: Annotated[
        Address | None, Field(description="Where a plain transfer pays the order; null: none is collected here")
    ]
    eip681: Annotated[str | None, Field(description="The same transfer as a URI, for a QR code (EIP-681)")]

    @classmethod
    def of(cls, view: OrderView, terms: ChainTerms, base_url: str, *, collects: bool) -> CryptoPaymentIntentOut:
        """Return an open order, with its terms in the stablecoin that was asked for."""
        order = view.order
        deposit = deposit_address(terms.router, terms.on_chain_order_id) if collects else None
        return cls(
            order_id=order.id,
            status=view.status,
            token=terms.token.code,
            amount=str(terms.units),
            amount_display=terms.amount.display(),
            ducats=order.quote.ducats.plain,
            bonus=order.quote.bonus.plain,
            router=terms.router,
            chain_id=terms.chain_id,
            expires_at=order.expires_at,
            terms=TermsOut.of(terms),
            on_chain_order_id=hexadecimal(terms.on_chain_order_id),
            calls=calls_of(terms),
            payment_link=f"{base_url}/pay/{order.link_token}",
            deposit_address=deposit,
            eip681=transfer_uri(terms) if deposit else None,
        )


class BalanceOut(Body):
    """The ducats of a citizen. Where Venice keeps the balances, ducats with us are on their way to it."""

    citizen_id: str
    ducats: Annotated[Plain, Field(description="With us", examples=["2750"])]
    units: Annotated[Units, Field(description="The same in millionths of a ducat", examples=["2750000000"])]
    in_venice: Annotated[
        Plain, Field(description="Handed over to Venice, which may not have said yet that it has them")
    ]
    in_venice_units: Annotated[Units, Field(description="The same in millionths of a ducat")]

    @classmethod
    def of(cls, citizen_id: str, with_us: Money, in_venice: Money) -> BalanceOut:
        """Return both parts of a balance."""
        return cls(
            citizen_id=citizen_id,
            ducats=with_us.plain,
            units=str(with_us.units),
            in_venice=in_venice.plain,
            in_venice_units=str(in_venice.units),
        )


def _custom_bonuses(catalogue: Catalogue, rate: Rate) -> list[CustomBonusOut]:
    if not catalogue.custom_bonus:
        return []
    return [
        CustomBonusOut(from_usd=Money(USD, tier.cents).plain, percent=tier.percent) for tier in tiers(catalogue, rate)
    ]


def calls_of(terms: ChainTerms) -> list[CallOut]:
    """Return the calls that pay an order from any wallet."""
    return [CallOut(label=call.label, to=call.to, data=call.data) for call in payment_calls(terms)]


def hexadecimal(value: bytes) -> str:
    """Return bytes as the chain's tools write them."""
    return "0x" + value.hex()
