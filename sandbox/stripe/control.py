"""What payers, banks and time do, by the hand of a test. The same verbs answer `POST /_double/<verb>` with JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, TypeVar

from sandbox.stripe.delivery import Sender
from sandbox.stripe.errors import CardDeclined, Json, WrongState
from sandbox.stripe.form import Parameters
from sandbox.stripe.router import World

VERBS: Final = (
    "advance_clock", "pay_session", "authenticate", "complete_async_payment", "settle_charge", "settle_refund",
    "fail_refund", "ask_for_refund", "cancel_refund", "convert_payment", "capture_a_part", "open_dispute",
    "escalate_dispute", "submit_evidence", "close_dispute", "warn_of_fraud", "pay_out", "set_chaos", "reset_chaos",
    "deliver_now", "resend_event", "deliveries",
)  # fmt: skip
"""What may be asked for over HTTP."""
Result = TypeVar("Result")
_STEP_SECONDS: Final = 0.01


class Control:
    """The verbs. All amounts are in cents. A verb that the state forbids raises `WrongState`, an unknown id
    `NoSuchObject`, a value that cannot be `InvalidRequest` or `ValueError`; then nothing has happened."""

    def __init__(self, world: World, sender: Sender) -> None:
        self._world = world
        self._account = world.account
        self._sender = sender

    def advance_clock(self, seconds: int) -> int:
        """Moves Stripe's clock forward: sessions expire, balances become available, idempotency keys are forgotten.

        Returns the new time in seconds since 1970. Retries of webhooks go by the machine's clock; see `deliver_now`.
        """
        self._account.clock.advance(seconds)
        self._do(self._world.sessions.expire_due)
        return self._account.now()

    def pay_session(self, session_id: str, card: str = "4242424242424242", name: str = "Marco Polo") -> Json:
        """A payer pays on the hosted page with this card number: the session. `card="bank_account"` settles later.

        Raises `CardDeclined` once the refusal is on record. With a 3-D Secure card the session stays open until
        `authenticate` is called with its `payment_intent`.
        """
        methods = self._world.methods

        def pay() -> Json:
            if card == "bank_account" or self._account.chaos.delayed_payments:
                method = methods.bank_account(name, None)
            else:
                method = methods.from_card(card, 12, 2034, "123", name, None)
            return self._world.sessions.pay(session_id, method)

        return self._do(pay)

    def authenticate(self, intent_id: str, passed: bool = True) -> Json:
        """The payer answers the 3-D Secure step: the payment intent."""
        self._do(lambda: self._world.sessions.authenticate(intent_id, passed))
        return self._account.get("payment_intent", intent_id)

    def complete_async_payment(self, name: str, succeeded: bool = True) -> Json:
        """The bank answers for a payment that is `processing`, named by its session or its intent: that object."""
        return self._do(lambda: self._world.sessions.complete_async_payment(name, succeeded))

    def settle_charge(self, charge_id: str) -> Json:
        """Gives a charge the balance transaction that `Chaos.late_balance_transactions` withheld: the charge."""
        return self._do(lambda: self._world.charges.settle(charge_id))

    def settle_refund(self, refund_id: str) -> Json:
        """The bank takes a pending refund: the refund."""
        return self._do(lambda: self._world.refunds.settle(refund_id))

    def fail_refund(self, refund_id: str, reason: str = "lost_or_stolen_card") -> Json:
        """The bank sends a pending or succeeded refund back: the refund. The charge is as if it had never been."""
        return self._do(lambda: self._world.refunds.fail(refund_id, reason))

    def ask_for_refund(self, refund_id: str) -> Json:
        """A refund needs its payer to do something, e.g. to name a bank account: the refund, `requires_action`."""
        return self._do(lambda: self._world.refunds.ask(refund_id))

    def cancel_refund(self, refund_id: str) -> Json:
        """A refund that required action is canceled, and its money is ours again: the refund."""
        return self._do(lambda: self._world.refunds.cancel(refund_id))

    def convert_payment(self, intent_id: str, currency: str, amount: int) -> Json:
        """A paid intent turns out to be in the payer's currency, as by Adaptive Pricing before 2025: the intent."""
        return self._do(lambda: self._world.intents.convert(intent_id, currency, amount))

    def capture_a_part(self, intent_id: str, amount: int) -> Json:
        """Of a paid intent only a part was captured, in the Dashboard; the rest went back to the payer: the intent."""
        return self._do(lambda: self._world.intents.capture_a_part(intent_id, amount))

    def open_dispute(
        self,
        payment: str,
        amount: int | None = None,
        reason: str = "fraudulent",
        inquiry: bool = False,
        taken: int | None = None,
    ) -> Json:
        """A bank disputes a payment (a charge or an intent), by default all that was not refunded: the dispute.

        `taken`: what it takes instead of that, because it counts in another currency.
        """
        return self._do(lambda: self._world.disputes.open(self._charge(payment), amount, reason, inquiry, taken))

    def escalate_dispute(self, dispute_id: str) -> Json:
        """An inquiry becomes a dispute, and takes its money: the dispute."""
        return self._do(lambda: self._world.disputes.escalate(dispute_id))

    def submit_evidence(self, dispute_id: str, text: str = "Delivered.") -> Json:
        """The merchant answers in the Dashboard: the dispute, now under review."""
        answer = {"evidence": {"uncategorized_text": text}}
        return self._do(lambda: self._world.disputes.update(Parameters(answer), dispute_id))

    def close_dispute(self, dispute_id: str, won: bool, given_back: int | None = None) -> Json:
        """The bank decides: the dispute. An inquiry just closes. `given_back`: cents that come back instead of all."""
        return self._do(lambda: self._world.disputes.close(dispute_id, won, given_back))

    def warn_of_fraud(self, payment: str, fraud_type: str = "unauthorized_use_of_card") -> Json:
        """The card's issuer warns of a payment (a charge or an intent): the early fraud warning."""
        return self._do(lambda: self._world.disputes.warn(self._charge(payment), fraud_type))

    def pay_out(self) -> Json:
        """Pays out what is available as of now and reconciles it: the payout. `ValueError` if there is nothing."""
        return self._do(self._world.balance.pay_out)

    def set_chaos(self, **switches: Any) -> dict[str, Any]:
        """Sets switches of `Chaos` by name: all of them as they are now."""
        self._account.chaos.set(**switches)
        return self._account.chaos.switches()

    def reset_chaos(self) -> dict[str, Any]:
        """Turns all switches off."""
        self._account.chaos.reset()
        return self._account.chaos.switches()

    def deliveries(self) -> list[dict[str, Any]]:
        """Every event that an endpoint is, was or was not told: event, endpoint, state, attempts, last_status."""
        return [asdict(delivery) for delivery in self._world.webhooks.deliveries()]

    def resend_event(self, event_id: str) -> None:
        """Tells all endpoints of an event once more, as a click in the Dashboard does."""
        self._do(lambda: self._world.webhooks.resend(event_id))

    def deliver_now(self, timeout_seconds: float = 10.0) -> int:
        """Tries at once what is in the queue, retries and delayed ones too, and waits for each one's next answer.

        Returns how many are still pending then: those that were refused. Raises `TimeoutError`.
        """
        webhooks, until = self._world.webhooks, time.monotonic() + timeout_seconds
        asked = {delivery.id: delivery.attempts for delivery in webhooks.deliveries("state = 'pending'")}
        webhooks.make_due()
        self._sender.wake()
        while True:
            waiting = webhooks.deliveries("state = 'pending'")
            if not any(delivery.attempts == asked.get(delivery.id) for delivery in waiting):
                return len(waiting)
            if time.monotonic() > until:
                raise TimeoutError(f"{len(waiting)} webhooks were not answered within {timeout_seconds} seconds")
            time.sleep(_STEP_SECONDS)

    def _charge(self, payment: str) -> str:
        if not payment.startswith("pi_"):
            return payment
        charge_id = self._account.get("payment_intent", payment)["latest_charge"]
        if charge_id is None:
            raise WrongState(f"{payment} has no charge.")
        return str(charge_id)

    def _do(self, action: Callable[[], Result]) -> Result:
        """All or nothing, except that a declined card leaves its attempt on record."""
        declined: CardDeclined | None = None
        with self._account.doing():
            try:
                result = action()
            except CardDeclined as refusal:
                declined = refusal
        self._sender.wake()
        if declined is not None:
            raise declined
        return result
