"""Orders: from a citizen's wish to locked terms, and how an order stands."""

from __future__ import annotations

import secrets
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cascade.adapters.chain.router_logs import deposit_address, on_chain_order_id
from cascade.adapters.email import check_email
from cascade.adapters.venice import CitizenDirectory
from cascade.chains import Deployment
from cascade.db import card_attempts, checkpoints, orders, payments, receipt_contacts
from cascade.db.database import Conn
from cascade.domain.amount_parser import NoAmount, read_plain
from cascade.domain.card_payments import CardIntent, IntentStatus
from cascade.domain.catalogue import Catalogue
from cascade.domain.ducat_rate import START, Rate
from cascade.domain.money import USD, USDC, Asset
from cascade.domain.order_events import EventType
from cascade.domain.orders import ChainTerms, Order, OrderStatus, check_citizen_id
from cascade.domain.partial_payments import missing_of
from cascade.domain.payments import Rail
from cascade.domain.quotes import Quote, quote_custom, quote_package
from cascade.errors import InvalidInput
from cascade.rate import tick_store
from cascade.services.order_events import record
from cascade.services.order_view import OrderView, lock_payable, view_of


@dataclass(frozen=True, slots=True)
class PurchaseRequest:
    """A request to pay: for an order that is open already, or for a citizen's purchase.

    Attributes:
        order_id: of a stored order; then everything else is None.
        citizen_id: who gets the ducats.
        package: a package's id, or None.
        usd_amount: US dollars as a plain decimal, or None.
        email: where receipts go, or None.
    """

    order_id: str | None = None
    citizen_id: str | None = None
    package: str | None = None
    usd_amount: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Checkout:
    """Opens orders at the rate of the moment.

    Attributes:
        catalogue: what is for sale.
        deployment: the router that takes stablecoins.
        order_minutes: how long a quote is locked.
        ledger_mode: our ledger is where citizens hold their ducats; else it is Venice's.
        register: knows who is a citizen; None: citizens are taken at their word.
        sends_mail: receipts can be sent by e-mail.
        start: the rate before the first tick.
    """

    catalogue: Catalogue
    deployment: Deployment
    order_minutes: int
    ledger_mode: bool = True
    register: CitizenDirectory | None = None
    sends_mail: bool = False
    start: Rate = START

    def rate(self, connection: Conn) -> tuple[Rate, datetime | None]:
        """Return the rate of the moment, and its tick, UTC; None before the first one."""
        current = tick_store.current(connection)
        return (current[1], current[0]) if current else (self.start, None)

    def stablecoin(self, code: str) -> tuple[Asset, str]:
        """Return a stablecoin that the router takes, with its address.

        Raises:
            InvalidInput: it takes no such token.
        """
        accepted = self.deployment.chain.stablecoins
        for asset, address in accepted.items():
            if asset.code == code.upper():
                return asset, address
        known = " or ".join(asset.code for asset in accepted)
        raise InvalidInput("token", f"Pay with {known}; {code!r} is not taken. Bridged USDC.e is not USDC.")

    def quote(self, connection: Conn, package: str | None, usd_amount: str | None) -> Quote:
        """Price a wish at the rate of the moment: either a package or an amount of dollars.

        Raises:
            InvalidInput: both or neither, no such package, or an amount outside the catalogue's bounds.
        """
        if (package is None) == (usd_amount is None):
            raise InvalidInput("package", "Give either a package or a usd_amount, not both and not neither.")
        rate, tick = self.rate(connection)
        if package is not None:
            return replace(quote_package(self.catalogue, package, rate), tick=tick)
        try:
            usd = read_plain(usd_amount or "", USD)
        except NoAmount as error:
            raise InvalidInput("usd_amount", f"{error}.") from None
        return replace(quote_custom(self.catalogue, usd, rate), tick=tick)

    def get_or_open_order(self, connection: Conn, wish: PurchaseRequest, token: str = USDC.code) -> OrderView:
        """Return an order that a payment can be begun for: an open one, on whichever rail it was opened, or a new one.

        Raises:
            InvalidInput: an order and a wish, neither, or a wish that cannot be taken.
            NotFound: there is no such order.
            NotPayable: it is paid, expired or being paid.
        """
        if wish.order_id is not None:
            if wish != PurchaseRequest(wish.order_id):
                raise InvalidInput("order_id", "Give either an order_id, or what a citizen wants to buy, not both.")
            return lock_payable(connection, wish.order_id, in_parts=True)
        if wish.citizen_id is None:
            raise InvalidInput("citizen_id", "Say which citizen gets the ducats, or give an order_id.")
        view = self.open_order(
            connection, citizen_id=wish.citizen_id, package=wish.package, usd_amount=wish.usd_amount, token=token
        )
        if wish.email is not None:
            receipt_contacts.insert(connection, view.order.id, check_email(wish.email))
        return view

    def validate_purchase(self, wish: PurchaseRequest) -> None:
        """Ask Venice whether the citizen exists, before an order is opened and outside of any transaction.

        While Venice does not answer, citizens are taken at their word: a credit that finds nobody is parked.

        Raises:
            InvalidInput: Venice says that there is no such citizen, or receipts are not sent by e-mail here.
        """
        if wish.email is not None and not self.sends_mail:
            raise InvalidInput("email", "Receipts are not sent by e-mail here. Leave the address out.")
        if self.register is None or wish.citizen_id is None:
            return
        check_citizen_id(wish.citizen_id)
        if self.register.knows(wish.citizen_id) is False:
            raise InvalidInput("citizen_id", f"Venice knows no citizen {wish.citizen_id}. Check the spelling.")

    def open_order(
        self,
        connection: Conn,
        *,
        citizen_id: str,
        package: str | None,
        usd_amount: str | None,
        token: str = USDC.code,
        link_id: str | None = None,
        renewal_of: str | None = None,
    ) -> OrderView:
        """Open an order: one locked quote, payable by card and, on chain, in every stablecoin that the router takes.

        Args:
            connection: the order is stored in its transaction.
            citizen_id: who gets the ducats.
            package: a package's id, or None.
            usd_amount: US dollars as a plain decimal, or None.
            token: ``USDC`` or ``USDT``: whose terms come first in the answer.
            link_id: of the payment link that opens it; the caller holds its lock.
            renewal_of: id of the order whose place it takes; the caller holds its lock.

        Raises:
            InvalidInput: one of them cannot be taken; the message says why.
        """
        check_citizen_id(citizen_id)
        first, _ = self.stablecoin(token)
        quote = self.quote(connection, package, usd_amount)
        # The router counts whole seconds, so the order does too.
        now = orders.clock(connection).replace(microsecond=0)
        order = Order(
            id="ord_" + b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower(),
            link_token=secrets.token_urlsafe(16),
            citizen_id=citizen_id,
            quote=quote,
            created_at=now,
            expires_at=now + timedelta(minutes=self.order_minutes),
            link_id=link_id,
            renewal_of=renewal_of,
        )
        orders.insert(connection, order)
        record(
            connection,
            order,
            EventType.ORDER_OPENED,
            order.id,
            {"expires_at": f"{order.expires_at:%Y-%m-%dT%H:%M:%SZ}"},
        )
        accepted = self.deployment.chain.stablecoins.items()
        terms = [self._new_terms(connection, order, asset, address) for asset, address in accepted]
        return OrderView(order, sorted(terms, key=lambda each: each.token != first), OrderStatus.OPEN)

    def terms(self, connection: Conn, order: Order, token: str) -> ChainTerms:
        """Return what a stored order asks for in a stablecoin: the same terms at every call.

        An order has them from its opening, unless it is older than that rule or its router was replaced since.

        Raises:
            InvalidInput: the router takes no such token.
        """
        asset, address = self.stablecoin(token)
        orders.lock(connection, order.id)
        chain_id, router = self.deployment.chain.chain_id, self.deployment.router
        for terms in orders.chain_terms(connection, order.id):
            if (terms.chain_id, terms.router, terms.token) == (chain_id, router, asset):
                return terms
        return self._new_terms(connection, order, asset, address)

    def _new_terms(self, connection: Conn, order: Order, asset: Asset, address: str) -> ChainTerms:
        chain_id, router = self.deployment.chain.chain_id, self.deployment.router
        units = order.quote.price_in(asset).units
        expires_at = int(order.expires_at.timestamp())
        salt = secrets.token_bytes(32)
        order_id = on_chain_order_id(chain_id, router, address, units, expires_at, salt)
        made = ChainTerms(order_id, chain_id, router, asset, address, units, expires_at, salt)
        orders.insert_chain_terms(connection, order.id, made, deposit_address(router, order_id))
        return made

    def view(self, connection: Conn, order: Order) -> OrderView:
        """Return how an order stands now."""
        return view_of(connection, order, ledger_mode=self.ledger_mode)


def emit_pending_events(connection: Conn) -> None:
    """Record that payments are in blocks which may still be replaced."""
    for order_id, transaction in checkpoints.unannounced_sightings(connection):
        name = "0x" + transaction.hex()
        seen = {"payment": {"rail": Rail.CHAIN, "transaction": name}}
        record(connection, orders.by_id(connection, order_id), EventType.ORDER_SEEN, name, seen)


def emit_card_events(connection: Conn, intent: CardIntent, failures: Iterable[str]) -> None:
    """Record what Stripe said of an intent before any money came: a bank is at it, or a card was refused.

    Args:
        connection: the events are recorded in its transaction.
        intent: as it stands.
        failures: ids of Stripe's events that tell of a refused card, so that each is told once.
    """
    failures = list(failures)
    if intent.order_id is None or not (failures or intent.status is IntentStatus.PROCESSING):
        return
    order = orders.lock(connection, intent.order_id)
    if order is None:
        return
    payment = {"payment": {"rail": Rail.CARD, "transaction": intent.intent_id}}
    if intent.status is IntentStatus.PROCESSING:
        record(connection, order, EventType.ORDER_SEEN, intent.intent_id, payment)
    for failure in failures:
        record(connection, order, EventType.PAYMENT_FAILED, failure, payment | {"code": intent.failure_code})


def expire_orders(connection: Conn, *, seconds: float, limit: int = 50) -> int:
    """Record that orders have expired, once their time has been over for some seconds. Returns how many."""
    expired = orders.lock_expired(connection, seconds=seconds, limit=limit)
    for order in expired:
        orders.forget_expiry(connection, order.id)
        # An order that nobody began to pay is no news to its citizen: anybody can open one for anybody.
        parts = payments.parts_of(payments.of_order(connection, order.id))
        begun = parts or card_attempts.payable_until(connection, order.id) is not None
        missing = missing_of(order.quote, parts[0].left.asset, parts) if parts else None
        data = {"missing": missing.plain, "token": missing.asset.code} if missing else None
        record(connection, order, EventType.ORDER_EXPIRED, order.id, data, notify=bool(begun))
    return len(expired)
