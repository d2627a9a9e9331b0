"""Payment links and renewals: orders that are opened in the place of something else, one at a time.

The rules are docs/decisions/0018. All of them are decided under row locks, always in this order: the link, then its
orders from the oldest to the newest.
"""

from __future__ import annotations

import secrets
from base64 import b32encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cascade.db import card_attempts, orders, payment_links, receipt_contacts
from cascade.db.database import Conn
from cascade.db.payment_links import LinkUse
from cascade.domain.orders import Order, OrderStatus, check_citizen_id
from cascade.domain.payment_links import MOST_MINUTES, LinkState, PaymentLink, check_opens, state_of
from cascade.domain.relay_items import RelayState
from cascade.errors import InvalidInput
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView

SETTLING: Final = timedelta(seconds=60)
"""What was paid in a block just before the deadline may be seen as much later."""
_NEWEST = 10
"""Of a link for a given citizen, one order is open at most; some that were paid may lie before it."""
_BEGUN: Final = (OrderStatus.OPEN, OrderStatus.SEEN, OrderStatus.CONFIRMED)


@dataclass(frozen=True, slots=True)
class PaymentLinks:
    """Makes links, opens their orders, and renews orders that have expired."""

    checkout: Checkout

    def create(
        self,
        connection: Conn,
        *,
        package: str | None,
        usd_amount: str | None,
        citizen_id: str | None = None,
        single_use: bool = True,
        minutes: int | None = None,
    ) -> PaymentLink:
        """Make a link. It locks no price.

        Args:
            connection: the link is stored in its transaction.
            package: a package's id, or None.
            usd_amount: US dollars as a plain decimal, or None.
            citizen_id: who gets the ducats; None: who opens it is asked.
            single_use: one order of it is paid at most.
            minutes: how long it opens orders; None: until it is deactivated.

        Raises:
            InvalidInput: one of them cannot be taken; the message says why.
        """
        if citizen_id is not None:
            check_citizen_id(citizen_id)
        if minutes is not None and not 1 <= minutes <= MOST_MINUTES:
            raise InvalidInput("valid_minutes", f"A link is valid for 1 to {MOST_MINUTES:,} minutes, or without end.")
        quote = self.checkout.quote(connection, package, usd_amount)

        now = orders.clock(connection)
        link = PaymentLink(
            id="lnk_" + b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower(),
            token=secrets.token_urlsafe(16),
            package=quote.package,
            usd=None if quote.package else quote.price,
            citizen_id=citizen_id,
            single_use=single_use,
            created_at=now,
            expires_at=None if minutes is None else now + timedelta(minutes=minutes),
        )
        payment_links.insert(connection, link)
        return link

    def state(self, connection: Conn, use: LinkUse) -> LinkState:
        """Return where a link stands now."""
        return state_of(use.link, orders.clock(connection), paid=use.paid)

    def standing(self, connection: Conn, link: PaymentLink) -> OrderView | None:
        """Return the order that opening a link gives back instead of a new one; None: it would open one.

        Of a single-use link: its last order, unless that has expired and no money of it came or may come. Of a link for
        a given citizen: the order that can be paid or is being paid. Any other link gives none back.
        """
        if link.single_use:
            last = orders.of_link(connection, link.id, limit=1)
            view = self.checkout.view(connection, last[0]) if last else None
            return view if view and not self._is_over(connection, view) else None
        if link.citizen_id is None:
            return None
        for order in orders.of_link(connection, link.id, limit=_NEWEST):
            view = self.checkout.view(connection, order)
            if view.status in _BEGUN or (view.status is OrderStatus.EXPIRED and self._may_be_paid(connection, view)):
                return view
        return None

    def open(self, connection: Conn, token: str, citizen_id: str | None = None) -> OrderView:
        """Open a link: the order that stands, or a new one at the rate of the moment.

        Whom a link of no given citizen is opened for should be looked up before, with `Checkout.validate_purchase` and
        outside of any transaction. Its one order is given back to each who opens a single-use link: it may be for
        another citizen than the one that was given: a page has to say for whom it is.

        Args:
            connection: the link stays locked until its transaction ends.
            token: of the link.
            citizen_id: who gets the ducats, if the link does not say; or the same as the link says.

        Raises:
            NotFound: there is no such link.
            InvalidInput: no citizen or another one than the link's, or what it is for is no longer sold.
            NotPayable: it was deactivated or has expired.
        """
        link = payment_links.lock_by_token(connection, token)
        if link.citizen_id is not None and citizen_id not in (None, link.citizen_id):
            raise InvalidInput("citizen_id", f"This payment link is for {link.citizen_id}, not for {citizen_id}.")
        last = orders.of_link(connection, link.id, limit=1) if link.single_use else []
        for order in last:
            orders.lock(connection, order.id)  # a booking that is under way is waited for
        standing = self.standing(connection, link)
        if standing is not None:
            return standing
        check_opens(link, orders.clock(connection))
        citizen = link.citizen_id or citizen_id
        if citizen is None:
            raise InvalidInput("citizen_id", "Say which citizen gets the ducats: this payment link does not.")
        return self.checkout.open_order(
            connection,
            citizen_id=citizen,
            package=link.package,
            usd_amount=link.usd_amount,
            link_id=link.id,
            renewal_of=last[0].id if last else None,
        )

    def renew(self, connection: Conn, order: Order) -> OrderView:
        """Return an expired order again, at the price of the moment; again is the same new order.

        What cannot be renewed is given back as it stands: the newest renewal of an order, if it has not expired. Parts
        that were paid of the expired order stay with it, with what they brought; the new order asks for its whole
        price. A renewal gives up the old price: a page of Stripe's that is open for it is closed.

        Raises:
            NotFound: there is no such order.
            InvalidInput: what it was for is no longer sold.
            NotPayable: it is of a link that was deactivated or has expired.
        """
        link = payment_links.lock(connection, order.link_id) if order.link_id else None
        newest = orders.lock_newest(connection, order.id)
        view = self.checkout.view(connection, newest)
        if view.status is not OrderStatus.EXPIRED or _is_being_sent(view):
            return view
        if link is not None:
            if link.single_use and any(payment.grant for payment in view.payments):
                return view
            standing = self.standing(connection, link)
            if standing is not None and standing.status in _BEGUN:
                return standing
            check_opens(link, orders.clock(connection))
        card_attempts.end_attempts(connection, newest.id)
        quote = newest.quote
        renewed = self.checkout.open_order(
            connection,
            citizen_id=newest.citizen_id,
            package=quote.package,
            usd_amount=None if quote.package else quote.price.plain,
            link_id=newest.link_id,
            renewal_of=newest.id,
        )
        email = receipt_contacts.email_of(connection, newest.id)
        if email is not None:
            receipt_contacts.insert(connection, renewed.order.id, email)
        return renewed

    def _is_over(self, connection: Conn, view: OrderView) -> bool:
        """Return whether an order has expired without any money that came or may come for it."""
        return view.status is OrderStatus.EXPIRED and not view.payments and not self._may_be_paid(connection, view)

    def _may_be_paid(self, connection: Conn, view: OrderView) -> bool:
        """Return whether money of an expired order may be on its way, as far as anybody here can know."""
        return (
            orders.clock(connection) < view.order.expires_at + SETTLING
            or _is_being_sent(view)
            or any(not arrival.collected for arrival in view.deposits)
            or card_attempts.can_be_paid(connection, view.order.id)
        )


def _is_being_sent(view: OrderView) -> bool:
    """Return whether a payment or a collected transfer of an order waits in the relayer's queue or for its block."""
    return any(item.state in (RelayState.QUEUED, RelayState.SENT) for item in view.relay)
