"""A shop that takes cards: the API's own application on a port, a double of Stripe that tells it, and workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx
import stripe
import uvicorn

from api.main import create_app
from cascade import settings
from cascade.bootstrap import assemble
from cascade.db import balances, orders, stripe_inbox
from cascade.db.database import Database
from cascade.services.card_checkout import CardCheckout
from cascade.workers.stripe_worker import StripeWorker
from sandbox.ports import free_port
from sandbox.stripe import StripeDouble
from tests.support.purchases import balance_of

_MOST_STEPS = 50
_ONE_BY_ONE = httpx.Limits(
    max_keepalive_connections=0
)  # the server ends idle connections when the client still may not


@dataclass
class CardShop:
    """The parts. Nothing is booked until a test lets a worker work."""

    database: Database
    double: StripeDouble
    checkout: CardCheckout
    client: httpx.Client
    stripe: stripe.StripeClient

    @classmethod
    @contextmanager
    def open(cls, database: Database, set_variable: Callable[[str, str], None]) -> Iterator[Self]:
        """Start everything; the rest of the environment is set."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with StripeDouble.start(webhook_url=f"{url}/api/payments/webhook") as double:
            variables = {
                "STRIPE_SECRET_KEY": double.secret_key,
                "STRIPE_WEBHOOK_SECRET": double.webhook_secret,
                "CASCADE_STRIPE_API_BASE": double.url,
                "CASCADE_PUBLIC_URL": url,
                "CASCADE_PUBLIC_BALANCES": "true",
                "CASCADE_ORDERS_PER_MINUTE": "100000",
                "CASCADE_READS_PER_MINUTE": "100000",
            }
            for name, value in variables.items():
                set_variable(name, value)
            checkout = assemble(settings.load()).card
            assert checkout is not None
            with _served(port), httpx.Client(base_url=url, timeout=60, trust_env=False, limits=_ONE_BY_ONE) as client:
                sdk = stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})
                parts = CardCheckout(database, checkout.stripe, url)
                yield cls(database, double, parts, client, sdk)

    # Buying

    def session(self, **wish: Any) -> dict[str, Any]:
        """A Checkout Session, by default for an Explorer package: 500 ducats and 25 bonus for 50 dollars."""
        return self._begin("checkout-session", wish)

    def intent(self, **wish: Any) -> dict[str, Any]:
        """A payment intent, by default for an Explorer package."""
        return self._begin("payment-intent", wish)

    def confirm(self, intent: dict[str, Any], method: str = "pm_card_visa") -> None:
        """A payer sends the platform's form."""
        self.stripe.v1.payment_intents.confirm(
            intent["payment_intent_id"], {"payment_method": method, "return_url": "https://platform.example"}
        )

    def stray_intent(self, order_id: str) -> dict[str, Any]:
        """A second way to pay for an order, which somebody made in Stripe by hand: ours are never open side by side."""
        with self.database.transaction() as connection:
            cents = orders.by_id(connection, order_id).quote.price.units
        wish: Any = {"amount": cents, "currency": "usd", "metadata": {"order_id": order_id}}
        made = self.stripe.v1.payment_intents.create(wish | {"allowed_payment_method_types": ["card"]})
        return {"payment_intent_id": made.id, "order_id": order_id}

    def paid(self, **wish: Any) -> dict[str, Any]:
        """An order that a payer has paid on Stripe's page; nothing is booked yet."""
        session = self.session(**wish)
        self.double.control.pay_session(session["session_id"])
        return session

    def intent_of(self, session: dict[str, Any]) -> str:
        """The payment intent of a session."""
        return str(self.stripe.v1.checkout.sessions.retrieve(session["session_id"]).payment_intent)

    # Booking

    def worker(self) -> StripeWorker:
        """A worker that has just been started."""
        return StripeWorker(self.database, self.checkout, poll_seconds=0.02, catch_up_seconds=0.02)

    def work(self) -> None:
        """Deliver every webhook, and look at everything that was told of."""
        self.double.control.deliver_now()
        self.work_through_inbox()

    def work_through_inbox(self) -> None:
        """Look at everything in the inbox that is due; what fails is due again at once."""
        worker = self.worker()
        for _ in range(_MOST_STEPS):
            if not worker.step():
                return
        raise AssertionError("the inbox does not become empty")

    def make_due(self) -> None:
        """Let nothing in the inbox wait any longer."""
        with self.database.transaction() as connection:
            stripe_inbox.retry(connection)

    # Looking

    def order(self, begun: dict[str, Any]) -> dict[str, Any]:
        """How an order stands, as the API tells."""
        order: dict[str, Any] = self.client.get(f"/api/payments/orders/{begun['order_id']}").json()
        return order

    def ducats(self, citizen: str = "Marco_Polo") -> int:
        """Millionths of a ducat that a citizen holds."""
        return balance_of(self.database, f"citizen:{citizen}")

    def dollars(self) -> int:
        """Cents that the books say Stripe holds for us, before its fees."""
        return -balance_of(self.database, "stripe", "USD")

    def dollars_at_stripe(self) -> int:
        """Cents that the double says it holds for us, before its fees."""
        movements = self.stripe.v1.balance_transactions.list({"limit": 100}).auto_paging_iter()
        return sum(movement.amount for movement in movements if movement.type != "payout")

    def events(self) -> list[dict[str, Any]]:
        """The inbox."""
        with self.database.transaction() as connection:
            return connection.execute("SELECT * FROM stripe_events ORDER BY created_at, event_id").fetchall()

    def assert_books_balance(self) -> None:
        """The ledger adds up, and agrees with Stripe to the cent."""
        with self.database.transaction() as connection:
            assert not any(balances.totals(connection).values())
            assert balances.drifts(connection) == []
        assert self.dollars() == self.dollars_at_stripe()

    def _begin(self, way: str, wish: dict[str, Any]) -> dict[str, Any]:
        chosen = {"usd_amount", "package", "order_id"} & wish.keys()
        body = {**({} if chosen else {"package": "explorer"}), **wish}
        if "order_id" not in body:
            body.setdefault("citizen_id", "Marco_Polo")
        answer = self.client.post(f"/api/payments/{way}", json=body)
        assert answer.status_code == 201, answer.text
        begun: dict[str, Any] = answer.json()
        return begun


@contextmanager
def _served(port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(create_app(), port=port, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, name="api", daemon=True)
    thread.start()
    for _ in range(500):
        if server.started:
            break
        thread.join(0.02)
    assert server.started, "the API did not start"
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
