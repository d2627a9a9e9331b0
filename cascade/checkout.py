"""Orders: from a citizen's wish to locked terms, and how an order stands."""

from __future__ import annotations

import secrets
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from cascade.chains import Deployment
from cascade.domain import rates
from cascade.domain.catalogue import Catalogue
from cascade.domain.money import USD, Asset, Money
from cascade.domain.orders import ChainTerms, Order, OrderStatus, check_citizen_id, status_of
from cascade.domain.quotes import Quote, quote_custom, quote_package
from cascade.errors import InvalidInput
from cascade.rails.chain import on_chain_order_id
from cascade.store import cursors, orders, payments
from cascade.store.cursors import Sighting
from cascade.store.database import Conn
from cascade.store.payments import BookedPayment


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with everything that a payer may see of it."""

    order: Order
    terms: Sequence[ChainTerms]
    status: OrderStatus
    payments: Sequence[BookedPayment]
    sightings: Sequence[Sighting]


@dataclass(frozen=True, slots=True)
class Checkout:
    """Opens orders at the rate of the moment.

    Attributes:
        catalogue: what is for sale.
        deployment: the router that takes stablecoins.
        order_minutes: how long a quote is locked.
    """

    catalogue: Catalogue
    deployment: Deployment
    order_minutes: int

    @property
    def rate(self) -> rates.Rate:
        """The rate of the moment."""
        return rates.START

    def stablecoin(self, code: str) -> tuple[Asset, str]:
        """A stablecoin that the router takes, with its address.

        Raises:
            InvalidInput: it takes no such token.
        """
        accepted = self.deployment.chain.stablecoins
        for asset, address in accepted.items():
            if asset.code == code.upper():
                return asset, address
        known = " or ".join(asset.code for asset in accepted)
        raise InvalidInput("token", f"Pay with {known}; {code!r} is not taken. Bridged USDC.e is not USDC.")

    def quote(self, package: str | None, usd_amount: str | None) -> Quote:
        """Price a wish: either a package or an amount of dollars.

        Raises:
            InvalidInput: both or neither, no such package, or an amount outside the catalogue's bounds.
        """
        if (package is None) == (usd_amount is None):
            raise InvalidInput("package", "Give either a package or a usd_amount, not both and not neither.")
        if package is not None:
            return quote_package(self.catalogue, package, self.rate)
        try:
            usd = Money.parse(usd_amount or "", USD)
        except ValueError as fault:
            raise InvalidInput("usd_amount", f"{str(fault).capitalize()}.") from None
        return quote_custom(self.catalogue, usd, self.rate)

    def open_chain_order(
        self, connection: Conn, *, citizen_id: str, package: str | None, usd_amount: str | None, token: str
    ) -> OrderView:
        """Open an order that is payable in a stablecoin.

        Args:
            connection: the order is stored in its transaction.
            citizen_id: who gets the ducats.
            package: a package's id, or None.
            usd_amount: US dollars as a plain decimal, or None.
            token: ``USDC`` or ``USDT``.

        Raises:
            InvalidInput: one of them cannot be taken; the message says why.
        """
        check_citizen_id(citizen_id)
        asset, address = self.stablecoin(token)
        quote = self.quote(package, usd_amount)
        # The router counts whole seconds, so the order does too.
        now = orders.clock(connection).replace(microsecond=0)
        order = Order(
            id="ord_" + b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower(),
            link_token=secrets.token_urlsafe(16),
            citizen_id=citizen_id,
            quote=quote,
            created_at=now,
            expires_at=now + timedelta(minutes=self.order_minutes),
        )
        terms = self._terms(order, asset, address)
        orders.insert(connection, order)
        orders.insert_chain_terms(connection, order.id, terms)
        return OrderView(order, [terms], OrderStatus.OPEN, [], [])

    def view(self, connection: Conn, order: Order) -> OrderView:
        """How an order stands now."""
        booked = payments.of_order(connection, order.id)
        sightings = cursors.sightings_of_order(connection, order.id)
        status = status_of(
            order,
            orders.clock(connection),
            outcomes=[payment.outcome for payment in booked],
            seen=bool(sightings),
            final=any(sighting.final for sighting in sightings),
        )
        return OrderView(order, orders.chain_terms(connection, order.id), status, booked, sightings)

    def _terms(self, order: Order, asset: Asset, address: str) -> ChainTerms:
        chain_id, router = self.deployment.chain.chain_id, self.deployment.router
        units = order.quote.price_in(asset).units
        expires_at = int(order.expires_at.timestamp())
        salt = secrets.token_bytes(32)
        order_id = on_chain_order_id(chain_id, router, address, units, expires_at, salt)
        return ChainTerms(order_id, chain_id, router, asset, address, units, expires_at, salt)
