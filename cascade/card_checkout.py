"""From an order to a payment by card: attempts that survive a lost answer, a crash and a double click."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from cascade.domain.card import CardAttempt, Flow
from cascade.domain.orders import Order, OrderStatus, check_payable
from cascade.errors import NotPayable, StripeFailed, StripeRefused
from cascade.order_view import check_beginning
from cascade.rails.stripe import Begun, Stripe
from cascade.store import card, orders
from cascade.store.database import Conn, Database

STRIPES_MINUTES = 30
"""A page of Stripe's lives for this long at least."""
MINUTES_TO_PAY = STRIPES_MINUTES + 1
"""A payer who begins while the order is open has this long at least."""
MOST_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class CardPayment:
    """A payment that has been begun: whose, until when, and what the payer needs for it."""

    order: Order
    attempt: CardAttempt
    begun: Begun


@dataclass(frozen=True, slots=True)
class CardCheckout:
    """Begins payments by card.

    Attributes:
        database: holds the attempts.
        stripe: the account that takes the money.
        base_url: how citizens reach us, without a slash at the end.
    """

    database: Database
    stripe: Stripe
    base_url: str

    def begin(self, order_id: str, status: OrderStatus, flow: Flow) -> CardPayment:
        """Begin to pay an order by card, or go on with what was begun.

        Args:
            order_id: of a stored order.
            status: how it stands now.
            flow: on a page of Stripe's, or with a form of the platform's.

        Raises:
            NotPayable: it is paid, expired or being paid, or was begun too often.
            StripeError: Stripe did not do its part; nobody was charged.
        """
        check_payable(status)
        with self.database.transaction() as connection:
            order = orders.lock(connection, order_id)
            assert order is not None  # noqa: S101 - its status was looked up
            check_beginning(connection, order)
            attempt = self._usable(connection, order, flow) or self._attempt(connection, order, flow)
        begun = self._ask(order, attempt)
        if begun.is_paid:
            check_payable(OrderStatus.SEEN)
        if not begun.is_open:  # over, by Stripe's clock or in the Dashboard
            attempt = self._next(order, attempt)
            begun = self._ask(order, attempt)
        with self.database.transaction() as connection:
            card.name_attempt(connection, attempt, begun.stripe_id)
        return CardPayment(order, replace(attempt, stripe_id=begun.stripe_id), begun)

    def close(self, attempt: CardAttempt) -> None:
        """Let nobody pay an attempt any more. Raises StripeError when that is not sure."""
        if attempt.stripe_id is not None:
            if attempt.flow is Flow.CHECKOUT_SESSION:
                self.stripe.expire_session(attempt.stripe_id)
            else:
                self.stripe.cancel_intent(attempt.stripe_id)
        with self.database.transaction() as connection:
            card.close_attempt(connection, attempt)

    def _ask(self, order: Order, attempt: CardAttempt) -> Begun:
        try:
            if attempt.flow is Flow.CHECKOUT_SESSION:
                if attempt.stripe_id is not None:
                    return self.stripe.session(attempt.stripe_id)
                return self.stripe.begin_session(order, attempt, f"{self.base_url}/pay/{order.link_token}")
            if attempt.stripe_id is not None:
                return self.stripe.intent(attempt.stripe_id)
            return self.stripe.begin_intent(order, attempt)
        except (StripeFailed, StripeRefused):
            if attempt.stripe_id is None:  # Stripe may repeat this answer: the next try needs a key of its own
                with self.database.transaction() as connection:
                    card.close_attempt(connection, attempt)
            raise

    def _next(self, order: Order, over: CardAttempt) -> CardAttempt:
        with self.database.transaction() as connection:
            orders.lock(connection, order.id)
            card.close_attempt(connection, over)
            return self._usable(connection, order, over.flow) or self._attempt(connection, order, over.flow)

    def _usable(self, connection: Conn, order: Order, flow: Flow) -> CardAttempt | None:
        """The open attempt, unless its answer was lost so long ago that Stripe would not begin it any more."""
        attempt = card.open_attempt(connection, order.id, flow)
        if attempt is None or attempt.stripe_id is not None:
            return attempt
        if attempt.payable_until >= orders.clock(connection) + timedelta(minutes=STRIPES_MINUTES):
            return attempt
        card.close_attempt(connection, attempt)
        return None

    def _attempt(self, connection: Conn, order: Order, flow: Flow) -> CardAttempt:
        """A new attempt, stored under the order's lock."""
        number = card.last_number(connection, order.id, flow) + 1
        if number > MOST_ATTEMPTS:
            raise NotPayable("This order was begun too often by card. Pay it in another way, or open a new order.")
        # Whole seconds, as Stripe counts: a lost answer can be asked for again only with the very same words.
        begun_at = orders.clock(connection).replace(microsecond=0)
        until = max(order.expires_at, begun_at + timedelta(minutes=MINUTES_TO_PAY))
        attempt = CardAttempt(order.id, flow, number, until)
        card.insert_attempt(connection, attempt)
        return attempt
