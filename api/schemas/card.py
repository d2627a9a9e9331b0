"""Requests and answers about payments by card."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.purchases import Body, OrderId, Plain
from cascade.domain.card_payments import CardIntent, IntentStatus
from cascade.domain.orders import OrderStatus
from cascade.services.card_checkout import CardPayment
from cascade.services.order_view import OrderView


class CardPaymentOut(Body):
    """An order, and a payment by card that was begun for it. Ducats are credited on Stripe's word only."""

    order_id: OrderId
    status: OrderStatus
    price_usd: Plain
    ducats: Annotated[Plain, Field(description="Ducats bought, without the bonus")]
    bonus: Plain
    expires_at: datetime
    payable_until: Annotated[datetime, Field(description="Until then the card may pay at this price")]
    payment_link: str

    @classmethod
    def common(cls, payment: CardPayment, base_url: str) -> dict[str, Any]:
        """Return what both ways to pay by card say."""
        order = payment.order
        return {
            "order_id": order.id,
            "status": OrderStatus.OPEN,
            "price_usd": order.quote.price.plain,
            "ducats": order.quote.ducats.plain,
            "bonus": order.quote.bonus.plain,
            "expires_at": order.expires_at,
            "payable_until": payment.attempt.payable_until,
            "payment_link": f"{base_url}/pay/{order.link_token}",
        }


class CheckoutSessionOut(CardPaymentOut):
    """A page of Stripe's on which a payer pays: send the browser to `url`, by a link or a 303."""

    session_id: str
    url: str

    @classmethod
    def of(cls, payment: CardPayment, base_url: str) -> CheckoutSessionOut:
        """Return a session that was begun."""
        begun = payment.begun
        return cls(session_id=begun.stripe_id, url=begun.handle, **cls.common(payment, base_url))


class PaymentIntentOut(CardPaymentOut):
    """A payment intent for the platform's own form: hand the client secret to Stripe.js, and to nobody else."""

    payment_intent_id: str
    client_secret: str

    @classmethod
    def of(cls, payment: CardPayment, base_url: str) -> PaymentIntentOut:
        """Return an intent that was begun."""
        begun = payment.begun
        return cls(payment_intent_id=begun.stripe_id, client_secret=begun.handle, **cls.common(payment, base_url))


class PaymentIntentStatusOut(Body):
    """A payment intent as Stripe last told of it, and the order that it pays."""

    payment_intent_id: str
    status: IntentStatus
    failure_code: Annotated[str | None, Field(description="Why the last card was refused, in Stripe's words")]
    order_id: OrderId
    order_status: OrderStatus

    @classmethod
    def of(cls, intent: CardIntent, view: OrderView) -> PaymentIntentStatusOut:
        """Return an intent of an order of ours."""
        return cls(
            payment_intent_id=intent.intent_id,
            status=intent.status,
            failure_code=intent.failure_code,
            order_id=view.order.id,
            order_status=view.status,
        )


class WebhookOut(Body):
    """The event is kept; what it means is worked out later, from Stripe's own answers."""

    received: Literal[True] = True
