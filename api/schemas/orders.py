"""An order as it stands, over the wire: what was paid for it, what is on its way, and what went back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.purchases import Address, Body, Hash, OrderId, Plain, Signed, Units, hexadecimal
from cascade.adapters.chain.router_logs import deposit_address, transfer_uri
from cascade.chains import Chain
from cascade.db.deposits import Arrival
from cascade.db.payments import BookedPayment
from cascade.db.reversals import BookedReversal
from cascade.domain.card_payments import CaseKind, IntentStatus
from cascade.domain.credits import CreditState
from cascade.domain.money import Money
from cascade.domain.orders import ChainTerms, OrderStatus
from cascade.domain.payments import Outcome, Rail, SuspenseReason
from cascade.domain.relay_items import RejectReason, RelayItem, RelayKind, RelayState
from cascade.domain.reversals import ReversalKind
from cascade.services.order_view import OrderView


class ReversalOut(Body):
    """Money of a payment that went back, or came again, and the ducats that went with it."""

    reference: str
    kind: ReversalKind
    amount: Units
    amount_display: str
    ducats_taken: Annotated[Signed, Field(description="From the citizen; negative: given back")]
    ducats_owed: Annotated[Signed, Field(description="Could not be taken, and are owed; negative: no longer owed")]
    recorded_at: datetime

    @classmethod
    def of(cls, reversal: BookedReversal) -> ReversalOut:
        """Return it as it is booked."""
        return cls(
            reference=reversal.reference,
            kind=reversal.kind,
            amount=str(reversal.amount.units),
            amount_display=reversal.amount.display(),
            ducats_taken=reversal.taken.plain,
            ducats_owed=reversal.owed.plain,
            recorded_at=reversal.recorded_at,
        )


class CaseOut(Body):
    """A bank's word about a payment by card, in Stripe's terms. It moves no money by itself."""

    kind: CaseKind
    status: str
    reason: str


class PaymentOut(Body):
    """A payment of an order: seen in a block or at a bank, confirmed by finality, or booked."""

    rail: Rail
    status: Literal[OrderStatus.SEEN, OrderStatus.CONFIRMED] | Outcome
    transaction: str
    transaction_url: Annotated[str | None, Field(description="Where a payer can look it up")] = None
    reference: str | None = None
    token: str | None = None
    amount: Units | None = None
    amount_display: str | None = None
    payer: str | None = None
    reason: SuspenseReason | None = None
    recorded_at: datetime | None = None
    ducats: Annotated[
        Plain | None, Field(description="What it brought, bonus included; what went back is not taken off")
    ] = None
    returned: Annotated[Units | None, Field(description="How much of it has gone back")] = None
    reversals: list[ReversalOut] = Field(default_factory=list)
    cases: list[CaseOut] = Field(default_factory=list)

    @classmethod
    def booked(cls, payment: BookedPayment, view: OrderView, chain: Chain) -> PaymentOut:
        """Return a payment that was booked, with what went back of it."""
        return cls(
            rail=payment.rail,
            status=payment.outcome,
            transaction=payment.transaction,
            transaction_url=chain.transaction_url(payment.transaction) if payment.rail is Rail.CHAIN else None,
            reference=payment.reference,
            token=payment.received.asset.code,
            amount=str(payment.received.units),
            amount_display=payment.received.display(),
            payer=payment.payer,
            reason=payment.reason,
            recorded_at=payment.recorded_at,
            ducats=payment.grant.total.plain if payment.grant else "0",
            returned=str(payment.returned.units),
            reversals=[ReversalOut.of(r) for r in view.reversals if r.payment == payment.reference],
            cases=[
                CaseOut(kind=case.kind, status=case.status, reason=case.reason)
                for case in view.cases
                if case.payment == payment.reference
            ],
        )

    @classmethod
    def expected(cls, view: OrderView, chain: Chain) -> list[PaymentOut]:
        """Return the payments that were seen, in a block or at a bank, and not booked yet."""
        in_blocks = [
            cls(
                rail=Rail.CHAIN,
                status=OrderStatus.CONFIRMED if sighting.final else OrderStatus.SEEN,
                transaction=hexadecimal(sighting.transaction_hash),
                transaction_url=chain.transaction_url(hexadecimal(sighting.transaction_hash)),
            )
            for sighting in view.sightings
        ]
        at_a_bank = [
            cls(rail=Rail.CARD, status=OrderStatus.SEEN, transaction=intent.intent_id)
            for intent in view.intents
            if intent.status is IntentStatus.PROCESSING
        ]
        return in_blocks + at_a_bank


class RelayOut(Body):
    """A transaction that we send for a payer, paying its fees."""

    kind: RelayKind
    state: Annotated[
        RelayState, Field(description="settled: its transaction is final, the payment is among the others")
    ]
    reason: Annotated[RejectReason | None, Field(description="Why nothing came of it")]
    next_step: Annotated[str | None, Field(description="What the payer can do instead")]
    transaction: Annotated[Hash | None, Field(description="Its latest form; null before it is sent")]

    @classmethod
    def of(cls, item: RelayItem) -> RelayOut:
        """Return it as it stands."""
        return cls(
            kind=item.kind,
            state=item.state,
            reason=item.reason,
            next_step=item.reason.next_step if item.reason else None,
            transaction=item.transaction,
        )


class MissingOut(Body):
    """The rest of an order's price, while only parts of it have come: a transfer of this much completes it."""

    token: str
    amount: Units
    amount_display: Annotated[str, Field(description="For people, not cut off", examples=["149.50"])]

    @classmethod
    def of(cls, missing: Money) -> MissingOut:
        """Return it in the stablecoin of the first part; a dollar of the other one does as well."""
        return cls(token=missing.asset.code, amount=str(missing.units), amount_display=missing.display(None))


class TransferToOut(Body):
    """The plain transfer that pays an open order, or what is missing of it."""

    token: str
    amount: Units
    amount_display: str
    deposit_address: Address
    eip681: Annotated[str, Field(description="The transfer as a URI")]
    qr: Annotated[str, Field(description="The URI as a picture for a phone")]

    @classmethod
    def of(cls, order_id: str, terms: ChainTerms, missing: Money | None) -> TransferToOut:
        """Return it in one stablecoin; a dollar of the other one counts as much, so what is missing is the same in
        both."""
        amount = terms.amount if missing is None else Money(terms.token, missing.units)
        return cls(
            token=terms.token.code,
            amount=str(amount.units),
            amount_display=amount.display(None),
            deposit_address=deposit_address(terms.router, terms.on_chain_order_id),
            eip681=transfer_uri(terms, amount.units),
            qr=f"/api/payments/orders/{order_id}/transfer.svg?token={terms.token.code}",
        )


class DepositOut(Body):
    """A plain transfer that came to the order's deposit address."""

    token: str
    amount: Units
    amount_display: str
    transaction: Hash
    transaction_url: Annotated[str, Field(description="Where a payer can look it up")]
    collected: Annotated[bool, Field(description="It is among the payments now")]

    @classmethod
    def of(cls, arrival: Arrival, chain: Chain) -> DepositOut:
        """Return it as the token tells of it."""
        (asset,) = (asset for asset, address in chain.stablecoins.items() if address == arrival.token_address)
        return cls(
            token=asset.code,
            amount=str(arrival.units),
            amount_display=Money(asset, arrival.units).display(),
            transaction=arrival.transaction,
            transaction_url=chain.transaction_url(arrival.transaction),
            collected=arrival.collected,
        )


class OrderOut(Body):
    """An order and what has been paid for it."""

    order_id: OrderId
    status: OrderStatus
    package: str | None
    price_usd: Plain
    ducats: Plain
    bonus: Plain
    usd_per_ducat: Plain
    rate_tick: Annotated[datetime | None, Field(description="Which tick priced it; null: it was before the first one")]
    created_at: datetime
    expires_at: datetime
    payments: list[PaymentOut]
    relay: Annotated[
        list[RelayOut], Field(default_factory=list, description="What we send for its payers, oldest first")
    ]
    transfer_to: Annotated[
        list[TransferToOut],
        Field(default_factory=list, description="Of an open order: where plain transfers for it go, by token"),
    ]
    deposits: Annotated[
        list[DepositOut], Field(default_factory=list, description="Plain transfers for it, oldest first")
    ]
    link_id: Annotated[str | None, Field(description="Of the payment link that opened it")] = None
    credit: Annotated[CreditState | None, Field(description="Of what was paid: where its ducats are")] = None
    missing: Annotated[MissingOut | None, Field(description="Of the price, while only parts of it have come")] = None

    @classmethod
    def of(cls, view: OrderView, chain: Chain, *, collects: bool = False) -> OrderOut:
        """Return an order as it stands; ``collects``: plain transfers are looked for here."""
        order = view.order
        missing = view.missing if view.missing and view.missing.units else None
        payable = collects and view.status is OrderStatus.OPEN and (missing or view.missing is None)
        return cls(
            order_id=order.id,
            status=view.status,
            package=order.quote.package,
            price_usd=order.quote.price.plain,
            ducats=order.quote.ducats.plain,
            bonus=order.quote.bonus.plain,
            usd_per_ducat=str(order.quote.rate),
            rate_tick=order.quote.tick,
            created_at=order.created_at,
            expires_at=order.expires_at,
            link_id=order.link_id,
            payments=[*(PaymentOut.booked(p, view, chain) for p in view.payments), *PaymentOut.expected(view, chain)],
            credit=view.credit,
            relay=[RelayOut.of(item) for item in view.relay],
            transfer_to=[TransferToOut.of(order.id, terms, missing) for terms in view.terms if payable],
            deposits=[DepositOut.of(arrival, chain) for arrival in view.deposits],
            missing=MissingOut.of(missing) if missing else None,
        )
