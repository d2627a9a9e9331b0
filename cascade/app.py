"""The parts of a running system, in one object that commands, workers and routes are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cascade.adapters.texts import Text, Texts
from cascade.chains import Deployment
from cascade.db.database import Database
from cascade.domain.order_events import EventType
from cascade.rate.parameters import Formula
from cascade.services.card_checkout import CardCheckout
from cascade.services.checkout import Checkout
from cascade.services.payment_links import PaymentLinks
from cascade.services.signed_payments import SignedPayments
from cascade.services.wallet_plan import Wallets
from cascade.settings import Settings
from cascade.workers.notification_channels import write


@dataclass(frozen=True, slots=True)
class App:
    """A running system's parts. Nothing is connected until ``database.open()``."""

    settings: Settings
    database: Database
    deployment: Deployment
    checkout: Checkout
    card: CardCheckout | None
    """None: no cards are taken here."""
    texts: Texts
    """What citizens are told, in words."""
    formula: Formula
    """How the rate moves."""
    signed_payments: SignedPayments | None
    """None: nothing is sent for payers, since there is no relayer."""
    wallets: Wallets
    """How accounts pay."""

    @property
    def links(self) -> PaymentLinks:
        """Return what opens the orders of payment links."""
        return PaymentLinks(self.checkout)

    def write(self, kind: EventType, data: Mapping[str, Any], accept_language: str | None = None) -> Text:
        """Return the words for an event, in the first language that the reader accepts and that there is."""
        wanted = [part.split(";")[0].strip().split("-")[0].lower() for part in (accept_language or "").split(",")]
        language = next((name for name in wanted if name in self.texts.languages), None)
        return write(self.texts, {"type": kind, "data": data}, self.deployment.chain, language)
