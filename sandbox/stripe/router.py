"""All the parts of the double's Stripe, put together, and the table of its endpoints."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from typing import Final

from sandbox.stripe.account import Account
from sandbox.stripe.balance import Balance
from sandbox.stripe.charges import Charges
from sandbox.stripe.checkout_sessions import CheckoutSessions
from sandbox.stripe.disputes import Disputes
from sandbox.stripe.errors import Json, StripeRefusal
from sandbox.stripe.form import Parameters
from sandbox.stripe.lists import Expansion, created_filter, page
from sandbox.stripe.payment_intents import PaymentIntents
from sandbox.stripe.payment_methods import PaymentMethods
from sandbox.stripe.refunds import Refunds
from sandbox.stripe.webhooks import EVENT_KEPT_SECONDS, Webhooks

Endpoint = Callable[..., Json]
"""Takes the parameters, then the ids in the path; returns the answer's object."""
_MOST_TYPES: Final = 20


class NoSuchEndpoint(StripeRefusal):
    """Nothing of Stripe's that the double knows is at this path."""

    status = 404
    kept = False


class World:
    """The parts, and `find`, which knows what is at a path."""

    def __init__(self, account: Account, webhook_time_factor: float) -> None:
        self.account = account
        self.balance = Balance(account)
        self.methods = PaymentMethods(account)
        self.charges = Charges(account, self.balance)
        self.intents = PaymentIntents(account, self.charges, self.methods)
        self.sessions = CheckoutSessions(account, self.intents)
        self.refunds = Refunds(account, self.balance)
        self.disputes = Disputes(account, self.balance)
        self.webhooks = Webhooks(account, webhook_time_factor)
        self.intents.on_payment(self.disputes.after_payment)
        self.expansion = Expansion(account, {
            ("checkout.session", "line_items"): self._line_items,
            ("charge", "refunds"): self._refunds_of_charge,
        })  # fmt: skip
        self._endpoints = self._table()

    def find(self, method: str, path: str) -> tuple[Endpoint, list[str]]:
        """The endpoint at a path such as `/v1/payment_intents/pi_1/confirm`, and the ids in it; raises
        `NoSuchEndpoint`."""
        steps = path.strip("/").split("/")
        for (wanted, pattern), endpoint in self._endpoints.items():
            parts = pattern.split("/")
            if wanted == method and len(parts) == len(steps):
                pairs = list(zip(parts, steps, strict=True))
                if all(part in ("*", step) for part, step in pairs):
                    return endpoint, [step for part, step in pairs if part == "*"]
        raise NoSuchEndpoint(f"Unrecognized request URL ({method}: {path}). The double does not know it.")

    def _table(self) -> dict[tuple[str, str], Endpoint]:
        table: dict[tuple[str, str], Endpoint] = {
            ("POST", "v1/payment_intents"): self.intents.create,
            ("POST", "v1/payment_intents/*"): self.intents.update,
            ("POST", "v1/payment_intents/*/confirm"): self.intents.confirm,
            ("POST", "v1/payment_intents/*/cancel"): self.intents.cancel,
            ("POST", "v1/payment_methods"): self.methods.create,
            ("POST", "v1/checkout/sessions"): self.sessions.create,
            ("POST", "v1/checkout/sessions/*/expire"): self.sessions.expire,
            ("GET", "v1/checkout/sessions/*/line_items"): self._list_lines,
            ("POST", "v1/refunds"): self.refunds.create,
            ("POST", "v1/refunds/*"): self.refunds.update,
            ("POST", "v1/disputes/*"): self.disputes.update,
            ("POST", "v1/disputes/*/close"): self.disputes.concede,
            ("GET", "v1/balance"): self._balance,
            ("GET", "v1/balance_transactions"): self._list_balance_transactions,
            ("GET", "v1/events"): self._list_events,
            ("POST", "v1/webhook_endpoints"): self.webhooks.create,
            ("POST", "v1/webhook_endpoints/*"): self.webhooks.update,
            ("DELETE", "v1/webhook_endpoints/*"): self.webhooks.delete,
        }
        for path, kind, filters in _LISTS:
            table.setdefault(("GET", path), self._lister(path, kind, filters))
        for path, kind, _ in (*_LISTS, *_ONLY_ONE_BY_ONE):
            table[("GET", f"{path}/*")] = self._retriever(kind)
        return table

    def _lister(self, path: str, kind: str, filters: tuple[str, ...]) -> Endpoint:
        def list_objects(parameters: Parameters) -> Json:
            given = {name: parameters.optional_text(name) for name in filters}
            wanted = {name: value for name, value in given.items() if value is not None}
            in_time = created_filter(parameters)
            found = (body for body in self.account.newest(kind, **wanted) if in_time(body))
            return page(f"/{path}", found, parameters)

        return list_objects

    def _retriever(self, kind: str) -> Endpoint:
        def retrieve(parameters: Parameters, object_id: str) -> Json:
            parameters.ignore("client_secret")
            parameters.finish()
            body = self.account.get(kind, object_id)
            if kind == "event":
                return self.webhooks.presented(body)
            return self.balance.as_of_now(body) if kind == "balance_transaction" else body

        return retrieve

    def _balance(self, parameters: Parameters) -> Json:
        parameters.finish()
        return self.balance.retrieve()

    def _list_lines(self, parameters: Parameters, session_id: str) -> Json:
        self.account.get("checkout.session", session_id, "session")
        return page(f"/v1/checkout/sessions/{session_id}/line_items", self.sessions.lines(session_id), parameters)

    def _list_balance_transactions(self, parameters: Parameters) -> Json:
        given = {name: parameters.optional_text(name) for name in ("type", "source", "currency")}
        wanted = {name: value for name, value in given.items() if value is not None}
        payout, in_time = parameters.optional_text("payout"), created_filter(parameters)
        found = (
            self.balance.as_of_now(movement) for movement in self.account.newest("balance_transaction", **wanted)
            if in_time(movement) and (payout is None or self.balance.of_payout(payout, movement))
        )  # fmt: skip
        return page("/v1/balance_transactions", found, parameters)

    def _list_events(self, parameters: Parameters) -> Json:
        types, one_type = parameters.texts("types"), parameters.optional_text("type")
        if one_type is not None and types:
            raise _both_types()
        patterns = [one_type] if one_type is not None else types[:_MOST_TYPES]
        delivered = parameters.flag("delivery_success") if "delivery_success" in parameters else None
        return page("/v1/events", self._events(patterns, created_filter(parameters), delivered), parameters)

    def _events(self, patterns: list[str], in_time: Callable[[Json], bool], delivered: bool | None) -> Iterator[Json]:
        for event in self.account.newest("event"):
            if event["created"] < self.account.now() - EVENT_KEPT_SECONDS:
                return
            if patterns and not any(fnmatch.fnmatchcase(event["type"], pattern) for pattern in patterns):
                continue
            shown = self.webhooks.presented(event)
            if in_time(shown) and (delivered is None or delivered == (shown["pending_webhooks"] == 0)):
                yield shown

    def _line_items(self, session_id: str) -> Json:
        return page(f"/v1/checkout/sessions/{session_id}/line_items", self.sessions.lines(session_id), Parameters({}))

    def _refunds_of_charge(self, charge_id: str) -> Json:
        found = self.account.newest("refund", charge=charge_id)
        return page(f"/v1/charges/{charge_id}/refunds", found, Parameters({}))


def _both_types() -> StripeRefusal:
    return StripeRefusal("You may only specify one of these parameters: type, types.", param="type")


_LISTS: Final = (
    ("v1/payment_intents", "payment_intent", ("customer",)),
    ("v1/charges", "charge", ("payment_intent", "customer", "transfer_group")),
    ("v1/checkout/sessions", "checkout.session", ("payment_intent", "status", "customer")),
    ("v1/refunds", "refund", ("charge", "payment_intent")),
    ("v1/disputes", "dispute", ("charge", "payment_intent")),
    ("v1/radar/early_fraud_warnings", "radar.early_fraud_warning", ("charge", "payment_intent")),
    ("v1/payouts", "payout", ("status",)),
    ("v1/webhook_endpoints", "webhook_endpoint", ()),
)
"""Path, kind, and the fields that the list can be asked for."""
_ONLY_ONE_BY_ONE: Final = (
    ("v1/payment_methods", "payment_method", ()),
    ("v1/balance_transactions", "balance_transaction", ()),
    ("v1/events", "event", ()),
)
