"""What happens when a payer opens a page or sends its form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sandbox.stripe import pages
from sandbox.stripe.account import Account
from sandbox.stripe.errors import CardDeclined, Json, StripeRefusal
from sandbox.stripe.router import World

_EXPIRY: Final = re.compile(r"\s*(\d{1,2})\s*/?\s*(\d{4}|\d{2})\s*")


@dataclass(frozen=True)
class Answer:
    """A page, or a redirect with 303."""

    page: str = ""
    status: int = 200
    location: str | None = None


class Payer:
    """The pages' behaviour."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._account: Account = world.account

    def open_checkout(self, session_id: str) -> Answer:
        """`GET /c/pay/{id}`."""
        with self._account.doing():
            self._world.sessions.expire_due()
            session = self._account.store.get("checkout.session", session_id)
            if session is None:
                return Answer(
                    pages.message("Something went wrong", "The page you were looking for was not found."), 404
                )
            return self._checkout(session)

    def send_checkout(self, session_id: str, form: str) -> Answer:
        """`POST /c/pay/{id}`: pays, and goes on to the merchant or to the bank."""
        fields = dict(parse_qsl(form))
        with self._account.doing():
            self._world.sessions.expire_due()
            session = self._account.store.get("checkout.session", session_id)
            if session is None or session["status"] != "open":
                return self.open_checkout(session_id)
            try:
                session = self._world.sessions.pay(session_id, self._method(session, fields))
            except CardDeclined as refusal:
                session = self._account.get("checkout.session", session_id)
                return self._checkout(session, refusal.message, status=402)
            return self._onward(session)

    def open_authentication(self, intent_id: str, query: str) -> Answer:
        """`GET /authenticate/{id}?client_secret=…`."""
        with self._account.doing():
            intent = self._waiting_intent(intent_id, query)
        if intent is None:
            return Answer(pages.message("Nothing to authenticate", "This payment does not wait for you."), 404)
        return Answer(pages.authentication(intent, f"/authenticate/{intent_id}?{query}"))

    def send_authentication(self, intent_id: str, query: str, form: str) -> Answer:
        """`POST /authenticate/{id}?client_secret=…`: `outcome=complete` or `fail`."""
        passed = dict(parse_qsl(form)).get("outcome") == "complete"
        with self._account.doing():
            intent = self._waiting_intent(intent_id, query)
            if intent is None:
                return Answer(pages.message("Nothing to authenticate", "This payment does not wait for you."), 404)
            action = intent["next_action"]
            try:
                session = self._world.sessions.authenticate(intent_id, passed)
            except CardDeclined:
                session = self._world.sessions.of_intent(intent_id)
            if session is not None:
                return self._onward(session)
            return self._back(self._account.get("payment_intent", intent_id), action)

    def _waiting_intent(self, intent_id: str, query: str) -> Json | None:
        intent = self._account.store.get("payment_intent", intent_id)
        if intent is None or dict(parse_qsl(query)).get("client_secret") != intent["client_secret"]:
            return None
        return intent if intent["status"] == "requires_action" else None

    def _method(self, session: Json, fields: dict[str, str]) -> Json:
        by_bank, by_card = self._ways(session)
        name, email = fields.get("name") or None, fields.get("email") or None
        if by_bank and (fields.get("method") == "bank_account" or not by_card):
            return self._world.methods.bank_account(name, email)
        expiry = _EXPIRY.fullmatch(fields.get("expiry", ""))
        if expiry is None:
            raise CardDeclined("Your card's expiration date is incomplete.", code="invalid_expiry_month")
        year = int(expiry[2]) + (2000 if len(expiry[2]) == 2 else 0)
        return self._world.methods.from_card(
            fields.get("number", ""), int(expiry[1]), year, fields.get("cvc", ""), name, email
        )

    def _ways(self, session: Json) -> tuple[bool, bool]:
        """Whether the payer may pay by bank account, and by card."""
        if self._account.chaos.delayed_payments:
            return True, False
        kinds = session["payment_method_types"]
        return "us_bank_account" in kinds, "card" in kinds

    def _checkout(self, session: Json, error: str | None = None, status: int = 200) -> Answer:
        if session["status"] == "complete":
            return Answer(pages.message("You're all done here", "This Checkout Session has been paid."))
        if session["status"] == "expired":
            return Answer(pages.message("This page has expired", "Go back to the shop and start again."), 410)
        if error is None and session["payment_intent"] is not None:
            failure = self._account.get("payment_intent", session["payment_intent"])["last_payment_error"]
            error = None if failure is None else failure["message"]
        by_bank, by_card = self._ways(session)
        return Answer(
            pages.checkout(session, self._world.sessions.lines(session["id"]), error, by_bank, by_card), status
        )

    def _onward(self, session: Json) -> Answer:
        if session["status"] == "complete":
            return Answer(status=303, location=session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))
        intent = self._account.get("payment_intent", session["payment_intent"])
        if intent["status"] == "requires_action":
            return Answer(status=303, location=intent["next_action"]["redirect_to_url"]["url"])
        return Answer(status=303, location=f"/c/pay/{session['id']}")

    def _back(self, intent: Json, action: Json) -> Answer:
        succeeded = intent["status"] == "succeeded"
        if action["type"] != "redirect_to_url":
            text = "You may close this page." if succeeded else str(intent["last_payment_error"]["message"])
            return Answer(pages.message("Authenticated" if succeeded else "Not authenticated", text))
        url = urlsplit(action["redirect_to_url"]["return_url"])
        more = {
            "payment_intent": intent["id"], "payment_intent_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if succeeded else "failed",
        }  # fmt: skip
        query = urlencode([*parse_qsl(url.query, keep_blank_values=True), *more.items()])
        return Answer(status=303, location=urlunsplit(url._replace(query=query)))


def as_page(refusal: StripeRefusal) -> Answer:
    """What a payer sees of a refusal."""
    return Answer(pages.message("Something went wrong", refusal.message), refusal.status)
