"""What goes over the wire. Amounts are strings: a number in JSON is a float to most who read it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from cascade.chains import Chain
from cascade.checkout import Checkout, OrderView
from cascade.domain.money import Money
from cascade.domain.orders import ChainTerms, OrderStatus
from cascade.domain.payments import Outcome, Rail, SuspenseReason
from cascade.rails.chain import payment_calls

Units = Annotated[str, Field(pattern=r"^\d+$", description="Smallest units of the asset", examples=["250000000"])]
Plain = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$", description="A plain decimal", examples=["250.1"])]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="Checksummed address")]
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
OrderId = Annotated[str, Field(pattern=r"^ord_[a-z2-7]{26}$", examples=["ord_mfrggzdfmztwq2lknnwg23tpoa"])]


class Body(BaseModel):
    """A model whose times are UTC, to the second."""

    @field_serializer("created_at", "expires_at", "recorded_at", check_fields=False)
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


class PricingOut(Body):
    """Everything for sale, at the rate of the moment."""

    usd_per_ducat: Plain
    packages: list[PackageOut]
    custom: CustomOut
    tokens: list[str]
    quote_minutes: Annotated[int, Field(description="How long an order keeps its price")]

    @classmethod
    def of(cls, checkout: Checkout) -> PricingOut:
        """The price list as it stands."""
        packages = [
            PackageOut(
                id=package.id,
                name=package.name,
                ducats=package.ducats.plain,
                bonus=package.bonus.plain,
                price_usd=checkout.rate.price_of(package.ducats).plain,
            )
            for package in checkout.catalogue.packages.values()
        ]
        custom = CustomOut(minimum_usd=checkout.catalogue.minimum.plain, maximum_usd=checkout.catalogue.maximum.plain)
        return PricingOut(
            usd_per_ducat=str(checkout.rate),
            packages=packages,
            custom=custom,
            tokens=[asset.code for asset in checkout.deployment.chain.stablecoins],
            quote_minutes=checkout.order_minutes,
        )


class CryptoPaymentIntentIn(BaseModel):
    """What a citizen wants to buy, and in which stablecoin. Either a package or a usd_amount."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"citizen_id": "Marco_Polo", "package": "merchant", "token": "USDC"},
                {"citizen_id": "Marco_Polo", "usd_amount": "25.01", "token": "USDT"},
            ]
        },
    )

    citizen_id: Annotated[str, Field(max_length=200)]
    package: Annotated[str, Field(max_length=200)] | None = None
    usd_amount: Annotated[Decimal, Field(max_digits=12, decimal_places=2, ge=0)] | None = None
    token: Annotated[str, Field(max_length=200)] = "USDC"

    @property
    def usd_text(self) -> str | None:
        """The dollars as a plain decimal."""
        return None if self.usd_amount is None else format(self.usd_amount, "f")


class TermsOut(Body):
    """The order as the router's ABI names it; the on-chain order id commits to every field."""

    token: Address
    amount: Units
    expiresAt: Annotated[int, Field(description="Unix time in seconds")]  # noqa: N815 - the ABI's name
    salt: Hash

    @classmethod
    def of(cls, terms: ChainTerms) -> TermsOut:
        """As the ABI wants them."""
        return cls(
            token=terms.token_address, amount=str(terms.units), expiresAt=terms.expires_at, salt=_hex(terms.salt)
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

    @classmethod
    def of(cls, view: OrderView, base_url: str) -> CryptoPaymentIntentOut:
        """An order that has just been opened."""
        order, (terms,) = view.order, view.terms
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
            on_chain_order_id=_hex(terms.on_chain_order_id),
            calls=calls_of(terms),
            payment_link=f"{base_url}/pay/{order.link_token}",
        )


class PaymentOut(Body):
    """A payment of an order: seen in a block, confirmed by finality, or booked."""

    rail: Rail
    status: Literal[OrderStatus.SEEN, OrderStatus.CONFIRMED] | Outcome
    transaction: str
    transaction_url: str
    reference: str | None = None
    token: str | None = None
    amount: Units | None = None
    amount_display: str | None = None
    payer: str | None = None
    reason: SuspenseReason | None = None
    recorded_at: datetime | None = None


class OrderOut(Body):
    """An order and what has been paid for it."""

    order_id: OrderId
    status: OrderStatus
    package: str | None
    price_usd: Plain
    ducats: Plain
    bonus: Plain
    created_at: datetime
    expires_at: datetime
    payments: list[PaymentOut]

    @classmethod
    def of(cls, view: OrderView, chain: Chain) -> OrderOut:
        """An order as it stands."""
        order = view.order
        payments = [
            PaymentOut(
                rail=payment.rail,
                status=payment.outcome,
                transaction=payment.transaction,
                transaction_url=chain.transaction_url(payment.transaction),
                reference=payment.reference,
                token=payment.received.asset.code,
                amount=str(payment.received.units),
                amount_display=payment.received.display(),
                payer=payment.payer,
                reason=payment.reason,
                recorded_at=payment.recorded_at,
            )
            for payment in view.payments
        ]
        sightings = [
            PaymentOut(
                rail=Rail.CHAIN,
                status=OrderStatus.CONFIRMED if sighting.final else OrderStatus.SEEN,
                transaction=_hex(sighting.transaction_hash),
                transaction_url=chain.transaction_url(_hex(sighting.transaction_hash)),
            )
            for sighting in view.sightings
        ]
        return cls(
            order_id=order.id,
            status=view.status,
            package=order.quote.package,
            price_usd=order.quote.price.plain,
            ducats=order.quote.ducats.plain,
            bonus=order.quote.bonus.plain,
            created_at=order.created_at,
            expires_at=order.expires_at,
            payments=payments + sightings,
        )


class BalanceOut(Body):
    """What a citizen holds."""

    citizen_id: str
    ducats: Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", examples=["2750"])]
    units: Annotated[str, Field(pattern=r"^-?\d+$", description="Millionths of a ducat", examples=["2750000000"])]

    @classmethod
    def of(cls, citizen_id: str, balance: Money) -> BalanceOut:
        """A balance; below zero only when ducats that were spent have been taken back."""
        return cls(citizen_id=citizen_id, ducats=balance.plain, units=str(balance.units))


class StreamOut(Body):
    """How far a router's payments are booked."""

    stream: str
    height: int
    behind_blocks: int
    finality_lag_seconds: Annotated[int, Field(description="Age of the last final block that the node told of")]
    standing_still: bool


class HealthOut(Body):
    """Whether the system works, and how far it has read."""

    status: Literal["ok", "degraded", "down"]
    database: bool
    streams: list[StreamOut]


def calls_of(terms: ChainTerms) -> list[CallOut]:
    """The calls that pay an order from any wallet."""
    return [CallOut(label=call.label, to=call.to, data=call.data) for call in payment_calls(terms)]


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
