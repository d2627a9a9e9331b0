"""From an order to a payment by card: attempts that survive a lost answer, a crash and a double click.

An order has at most one attempt that a payer can get. Before another one is made, the former is ended at Stripe, and
whatever Stripe may have made of an attempt without an answer is looked for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

from cascade.adapters.stripe import Begun, BegunState, Stripe
from cascade.db import card_attempts, orders
from cascade.db.database import Conn, Database
from cascade.domain.card_payments import CardAttempt, Flow
from cascade.domain.orders import Order, OrderStatus, check_payable
from cascade.errors import NotPayable, StripeDenied, StripeError, StripeFailed, StripeRefused, StripeUnavailable
from cascade.services.order_view import check_beginning, view_of

log = logging.getLogger(__name__)

STRIPES_MINUTES = 30
"""A page of Stripe's lives for this long at least."""
MINUTES_TO_PAY = STRIPES_MINUTES + 1
"""A payer who begins while the order is open has this long at least."""
MOST_ATTEMPTS = 10
"""Pages or forms that payers of one order may get, of each flow."""
_HAS_MONEY = (BegunState.PAID, BegunState.PROCESSING)
_CLOCKS = timedelta(minutes=2)
"""How long after its end a page is taken for payable: clocks are read to the second, and requests take time."""


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
        self.stripe.clock.ahead()  # read outside of any transaction
        order, attempt = self._attempt(order_id, flow)
        begun = self._ask(order, attempt)
        if begun.state is BegunState.OVER:  # by Stripe's clock, or in the Dashboard
            with self.database.transaction() as connection:
                card_attempts.close_attempt(connection, attempt)
            order, attempt = self._attempt(order_id, flow)
            begun = self._ask(order, attempt)
        if begun.state in _HAS_MONEY:
            check_payable(OrderStatus.SEEN)
        return self._hand_over(order, attempt, begun)

    def close(self, attempt: CardAttempt) -> BegunState:
        """Let nobody pay an attempt any more.

        Returns:
            How its payment stands. What a bank is still carrying out is not closed: an intent that fails is payable.

        Raises:
            StripeError: it is not sure that nobody can.
        """
        with self.database.transaction() as connection:
            card_attempts.give_up(connection, attempt)
        stripe_id = attempt.stripe_id or self._look_for(attempt)
        if stripe_id is None:
            return BegunState.OVER
        state = self.stripe.end(attempt.flow, stripe_id)
        with self.database.transaction() as connection:
            if state is BegunState.PROCESSING and attempt.flow is Flow.PAYMENT_INTENT:
                card_attempts.postpone_ending(connection, attempt)
            else:
                card_attempts.close_attempt(connection, attempt)
        return state

    def _attempt(self, order_id: str, flow: Flow) -> tuple[Order, CardAttempt]:
        """Return the order's one open attempt, a new one where there is none; whatever stands in its way is ended
        first."""
        order, attempt, left = self._claim(order_id, flow, looked=False)
        if attempt is None:
            for each in left:
                if self.close(each) in _HAS_MONEY:
                    check_payable(OrderStatus.SEEN)
            order, attempt, _ = self._claim(order_id, flow, looked=True)
        if attempt is None:
            raise StripeUnavailable("this order is being begun in another way at this moment")
        return order, attempt

    def _claim(self, order_id: str, flow: Flow, *, looked: bool) -> tuple[Order, CardAttempt | None, list[CardAttempt]]:
        """Return one look under the order's lock: the attempt to go on with, or None and what is to be ended before."""
        with self.database.transaction() as connection:
            order = orders.lock(connection, order_id)
            assert order is not None  # noqa: S101 - its status was looked up
            check_beginning(connection, order)
            attempt = card_attempts.open_attempt(connection, order.id)
            if attempt is not None and not self._is_usable(connection, attempt, flow):
                card_attempts.give_up(connection, attempt)
                attempt = None
            left = card_attempts.given_up_attempts(connection, order.id)
            if looked:  # what could not be found in Stripe's list a moment ago is in nobody's hands
                left = [each for each in left if each.stripe_id is not None or not each.key_spent]
            if attempt is None and not left:
                attempt = self._new_attempt(connection, order, flow)
        return order, attempt, left

    def _is_usable(self, connection: Conn, attempt: CardAttempt, flow: Flow) -> bool:
        """Return whether a payer may go on with an attempt: not with another flow, nor where Stripe would not begin
        it now."""
        if attempt.flow is not flow:
            return False
        in_time = orders.clock(connection) + timedelta(minutes=STRIPES_MINUTES)
        return attempt.stripe_id is not None or attempt.payable_until >= in_time

    def _new_attempt(self, connection: Conn, order: Order, flow: Flow) -> CardAttempt:
        """Return a new attempt, stored under the order's lock."""
        if card_attempts.handed_attempts(connection, order.id, flow) >= MOST_ATTEMPTS:
            raise NotPayable("This order was begun too often by card. Pay it in another way, or open a new order.")
        # Whole seconds, as Stripe counts: a lost answer can be asked for again only with the very same words.
        now = orders.clock(connection).replace(microsecond=0)
        number = card_attempts.last_number(connection, order.id, flow) + 1
        until = max(order.expires_at, now + timedelta(minutes=MINUTES_TO_PAY))
        ahead = self.stripe.clock.ahead(asking=False)
        attempt = CardAttempt(order.id, flow, number, until, None, now, int(ahead.total_seconds()))
        card_attempts.insert_attempt(connection, attempt)
        return attempt

    def _ask(self, order: Order, attempt: CardAttempt) -> Begun:
        """Return what Stripe says of an attempt; one that is not begun yet is begun."""
        if attempt.stripe_id is not None:
            return self.stripe.begun(attempt.flow, attempt.stripe_id, order)
        try:
            if attempt.flow is Flow.PAYMENT_INTENT:
                return self.stripe.begin_intent(order, attempt)
            return self.stripe.begin_session(order, attempt, f"{self.base_url}/pay/{order.link_token}")
        except StripeDenied:
            raise
        except StripeFailed:  # Stripe may repeat this answer: the next try needs a key of its own
            with self.database.transaction() as connection:
                card_attempts.give_up(connection, attempt, key_spent=True)
            raise
        except StripeRefused:  # nothing was made
            with self.database.transaction() as connection:
                card_attempts.close_attempt(connection, attempt)
            raise

    def _hand_over(self, order: Order, attempt: CardAttempt, begun: Begun) -> CardPayment:
        """Give a payer what was begun, unless nobody may pay it any more since it was asked for."""
        named = replace(attempt, stripe_id=begun.stripe_id)
        with self.database.transaction() as connection:
            orders.lock(connection, order.id)
            status = view_of(connection, order).status
            paid = status not in (OrderStatus.OPEN, OrderStatus.EXPIRED)
            if paid or begun.error:
                card_attempts.give_up(connection, attempt)
            usable = card_attempts.name_attempt(connection, attempt, begun.stripe_id)
        if usable:
            return CardPayment(order, named, begun)
        try:
            if self.close(named) in _HAS_MONEY:
                check_payable(OrderStatus.SEEN)
        except StripeError as error:  # the worker goes on
            log.warning("ending %s: %s: %s", begun.stripe_id, type(error).__name__, error)
        if paid:
            check_payable(status)
        if begun.error:
            raise StripeRefused(begun.error)
        raise StripeUnavailable("this order was begun in another way meanwhile")

    def _look_for(self, attempt: CardAttempt) -> str | None:
        """Return the id of what Stripe made of an attempt without an answer; None when nobody can ever pay such a
        thing.

        Raises:
            StripeError: that is not known yet.
        """
        with self.database.transaction() as connection:
            order = orders.by_id(connection, attempt.order_id)
            over = orders.clock(connection) > attempt.payable_until + _CLOCKS
        if over and attempt.flow is Flow.CHECKOUT_SESSION:  # Stripe has ended it by itself, or would not begin it
            with self.database.transaction() as connection:
                card_attempts.close_attempt(connection, attempt)
            return None
        try:
            found = self.stripe.find(attempt) if attempt.key_spent else self._ask(order, attempt)
        except StripeDenied:
            raise
        except StripeRefused:
            return None
        except StripeFailed:
            found = self.stripe.find(attempt)
        with self.database.transaction() as connection:
            if found is not None:
                card_attempts.name_attempt(connection, attempt, found.stripe_id)
            elif over:  # an intent that is in no list by now, and whose secret nobody has
                card_attempts.close_attempt(connection, attempt)
            else:
                card_attempts.postpone_ending(connection, attempt)
        return found.stripe_id if found else None
