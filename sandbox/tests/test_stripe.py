"""The double's payments, through Stripe's own SDK: intents, cards, Checkout Sessions, lists and keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import stripe

from sandbox.stripe import StripeDouble

NO_REDIRECTS: Any = {"enabled": True, "allow_redirects": "never"}


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble.start() as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})


def intent_of(client: stripe.StripeClient, cents: int = 2500, **more: Any) -> stripe.PaymentIntent:
    """A new payment intent."""
    wish = {"amount": cents, "currency": "usd", "automatic_payment_methods": NO_REDIRECTS, **more}
    return client.v1.payment_intents.create(wish)  # type: ignore[arg-type]


def session_of(client: stripe.StripeClient, **more: Any) -> stripe.checkout.Session:
    """A new Checkout Session over 25 dollars."""
    price = {"currency": "usd", "unit_amount": 1250, "product_data": {"name": "Explorer"}}
    wish = {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 2}],
        "success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
        "client_reference_id": "o1",
        "metadata": {"order": "o1"},
        "payment_intent_data": {"metadata": {"order": "o1"}},
        **more,
    }
    return client.v1.checkout.sessions.create(wish)  # type: ignore[arg-type]


def types(client: stripe.StripeClient) -> list[str]:
    """The types of all events, the oldest first."""
    return [str(event.type) for event in client.v1.events.list({"limit": 100}).data][::-1]


class TestPaymentIntents:
    def test_pays_with_a_good_card(self, client: stripe.StripeClient) -> None:
        intent = intent_of(client, metadata={"order": "o1"})
        assert (intent.status, intent.latest_charge) == ("requires_payment_method", None)
        assert intent.client_secret is not None
        assert intent.client_secret.startswith(f"{intent.id}_secret_")
        paid = client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
        assert (paid.status, paid.amount_received, paid.metadata["order"]) == ("succeeded", 2500, "o1")
        charge = client.v1.charges.retrieve(str(paid.latest_charge), {"expand": ["balance_transaction"]})
        movement = charge.balance_transaction
        assert isinstance(movement, stripe.BalanceTransaction)
        assert (movement.amount, movement.fee, movement.net) == (2500, 103, 2397)
        assert types(client) == [
            *("payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"),
        ]

    def test_charge_succeeded_does_not_know_its_balance_transaction_yet(self, client: stripe.StripeClient) -> None:
        intent_of(client, confirm=True, payment_method="pm_card_visa")
        succeeded = client.v1.events.list({"type": "charge.succeeded"}).data[0]
        updated = client.v1.events.list({"type": "charge.updated"}).data[0]
        assert succeeded.data.object["balance_transaction"] is None
        assert updated.data.object["balance_transaction"].startswith("txn_")
        assert updated.data.previous_attributes is not None
        assert updated.data.previous_attributes.to_dict() == {"balance_transaction": None}

    def test_a_charge_may_be_late_with_its_balance_transaction(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.chaos.late_balance_transactions = True
        charge_id = str(intent_of(client, confirm=True, payment_method="pm_card_visa").latest_charge)
        assert client.v1.charges.retrieve(charge_id).balance_transaction is None
        double.control.settle_charge(charge_id)
        assert client.v1.charges.retrieve(charge_id).balance_transaction is not None

    @pytest.mark.parametrize(
        ("card", "code", "decline_code"),
        [
            ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
            ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
            ("4000000000000002", "card_declined", "generic_decline"),
            ("4000000000009995", "card_declined", "insufficient_funds"),
            ("4000000000000069", "expired_card", None),
            ("4111111111111111", "card_declined", "test_mode_live_card"),
        ],
    )
    def test_a_decline_is_on_record_and_can_be_made_good(
        self, client: stripe.StripeClient, card: str, code: str, decline_code: str | None
    ) -> None:
        intent = intent_of(client)
        name = card
        if card.isdigit():
            number: Any = {"number": card, "exp_month": 12, "exp_year": 2034, "cvc": "123"}
            name = client.v1.payment_methods.create({"type": "card", "card": number}).id
        with pytest.raises(stripe.CardError) as refused:
            client.v1.payment_intents.confirm(intent.id, {"payment_method": name})
        body: Any = refused.value.json_body
        assert (refused.value.http_status, refused.value.code, body["error"].get("decline_code")) == (
            *(402, code, decline_code),
        )
        assert body["error"]["payment_intent"]["id"] == intent.id
        after = client.v1.payment_intents.retrieve(intent.id)
        assert (after.status, after.payment_method) == ("requires_payment_method", None)
        assert after.last_payment_error is not None
        assert after.last_payment_error.code == code
        assert client.v1.charges.retrieve(str(after.latest_charge)).status == "failed"
        assert types(client)[1:] == ["charge.failed", "payment_intent.payment_failed"]
        assert client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}).status == "succeeded"
        assert client.v1.payment_intents.retrieve(intent.id).last_payment_error is None

    @pytest.mark.parametrize(
        ("card", "code"),
        [
            ({"number": "4242424242424241"}, "incorrect_number"),
            ({"exp_month": 13}, "invalid_expiry_month"),
            ({"exp_year": 2020}, "invalid_expiry_year"),
            ({"cvc": "1"}, "invalid_cvc"),
        ],
    )
    def test_what_is_no_card_is_refused(self, client: stripe.StripeClient, card: dict[str, Any], code: str) -> None:
        good: Any = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2034, "cvc": "123"}
        with pytest.raises(stripe.CardError) as refused:
            client.v1.payment_methods.create({"type": "card", "card": good | card})
        assert refused.value.code == code

    @pytest.mark.parametrize(("passed", "status"), [(True, "succeeded"), (False, "requires_payment_method")])
    def test_three_d_secure(self, client: stripe.StripeClient, passed: bool, status: str) -> None:
        intent = intent_of(client)
        wish: Any = {"payment_method": "pm_card_authenticationRequired", "return_url": "https://shop.example/back?a=1"}
        waiting = client.v1.payment_intents.confirm(intent.id, wish)
        assert waiting.status == "requires_action"
        assert waiting.next_action is not None
        assert waiting.next_action.redirect_to_url is not None
        page = str(waiting.next_action.redirect_to_url.url)
        assert "TEST MODE" in httpx.get(page, trust_env=False).text
        answer = httpx.post(page, data={"outcome": "complete" if passed else "fail"}, trust_env=False)
        assert answer.status_code == 303
        back = httpx.URL(answer.headers["location"])
        assert (back.host, back.params["a"], back.params["payment_intent"]) == ("shop.example", "1", intent.id)
        assert back.params["redirect_status"] == ("succeeded" if passed else "failed")
        after = client.v1.payment_intents.retrieve(intent.id)
        assert after.status == status
        if not passed:
            assert after.last_payment_error is not None
            assert after.last_payment_error.code == "payment_intent_authentication_failure"
        assert httpx.post(page, data={"outcome": "complete"}, trust_env=False).status_code == 404

    def test_cancels_until_it_is_paid(self, client: stripe.StripeClient) -> None:
        intent = intent_of(client)
        canceled = client.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
        assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
        assert refused.value.code == "payment_intent_unexpected_state"
        paid = intent_of(client, confirm=True, payment_method="pm_card_visa")
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.payment_intents.cancel(paid.id)

    def test_metadata_is_merged_and_unset(self, client: stripe.StripeClient) -> None:
        intent = intent_of(client, metadata={"a": "1", "b": "2"})
        updated = client.v1.payment_intents.update(intent.id, {"metadata": {"b": "", "c": "3"}})
        assert updated.metadata.to_dict() == {"a": "1", "c": "3"}

    @pytest.mark.parametrize(
        ("wish", "param", "code"),
        [
            ({"amount": 49}, "amount", "amount_too_small"),
            ({"amount": 100_000_000}, "amount", "amount_too_large"),
            ({"amount": "1.5"}, "amount", "parameter_invalid_integer"),
            ({"amount": None}, "amount", "parameter_missing"),
            ({"currency": "eur"}, "currency", None),
            ({"amout": 500}, "amout", "parameter_unknown"),
            (
                {"payment_method_types": ["card"]},
                *("payment_method_types", "payment_method_types_no_longer_supported"),
            ),
            ({"allowed_payment_method_types": ["card"]}, None, None),
            ({"metadata": {"k" * 41: "v"}}, "metadata", None),
            ({"confirm": True, "automatic_payment_methods": {"enabled": True}}, "return_url", None),
        ],
    )
    def test_refuses_what_stripe_would(
        self, client: stripe.StripeClient, wish: dict[str, Any], param: str | None, code: str | None
    ) -> None:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            intent_of(client, **wish)
        assert (refused.value.param, refused.value.code) == (param, code)
        assert client.v1.payment_intents.list().data == []


class TestCheckout:
    def test_the_intent_is_made_when_the_payer_pays(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        session = session_of(client)
        assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
        assert (session.amount_total, session.client_reference_id) == (2500, "o1")
        assert types(client) == []
        double.control.pay_session(session.id)
        paid = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent", "line_items"]})
        assert (paid.status, paid.payment_status, paid.url) == ("complete", "paid", None)
        assert isinstance(paid.payment_intent, stripe.PaymentIntent)
        assert paid.payment_intent.metadata["order"] == "o1"
        assert paid.line_items is not None
        assert [(line.description, line.quantity) for line in paid.line_items.data] == [("Explorer", 2)]
        assert types(client) == [
            *("payment_intent.created", "charge.succeeded", "payment_intent.succeeded"),
            *("checkout.session.completed", "charge.updated"),
        ]
        with pytest.raises(Exception, match="complete"):
            double.control.pay_session(session.id)

    def test_a_declined_payer_tries_again_with_the_same_intent(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        session = session_of(client)
        with pytest.raises(Exception, match="declined"):
            double.control.pay_session(session.id, "4000000000000002")
        tried = client.v1.checkout.sessions.retrieve(session.id)
        assert (tried.status, tried.payment_status) == ("open", "unpaid")
        double.control.pay_session(session.id)
        assert client.v1.checkout.sessions.retrieve(session.id).payment_intent == tried.payment_intent
        assert types(client) == [
            *("payment_intent.created", "charge.failed", "payment_intent.payment_failed"),
            *("charge.succeeded", "payment_intent.succeeded", "checkout.session.completed", "charge.updated"),
        ]

    def test_the_intent_of_a_session_is_left_to_the_session(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        session = session_of(client)
        with pytest.raises(Exception, match="declined"):
            double.control.pay_session(session.id, "4000000000000002")
        intent = str(client.v1.checkout.sessions.retrieve(session.id).payment_intent)
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.payment_intents.cancel(intent)
        client.v1.checkout.sessions.expire(session.id)
        assert client.v1.payment_intents.retrieve(intent).status == "canceled"
        assert types(client)[-2:] == ["checkout.session.expired", "payment_intent.canceled"]

    @pytest.mark.parametrize(("succeeded", "outcome"), [(True, "paid"), (False, "unpaid")])
    def test_a_bank_answers_later(
        self, double: StripeDouble, client: stripe.StripeClient, succeeded: bool, outcome: str
    ) -> None:
        session = session_of(client, allowed_payment_method_types=["card", "us_bank_account"])
        double.control.pay_session(session.id, "bank_account")
        waiting = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
        assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
        assert isinstance(waiting.payment_intent, stripe.PaymentIntent)
        assert waiting.payment_intent.status == "processing"
        double.control.complete_async_payment(session.id, succeeded)
        assert client.v1.checkout.sessions.retrieve(session.id).payment_status == outcome
        before = ["payment_intent.created", "charge.pending", "payment_intent.processing", "checkout.session.completed"]
        after = ["charge.succeeded", "payment_intent.succeeded", "checkout.session.async_payment_succeeded"]
        if not succeeded:
            after = ["charge.failed", "payment_intent.payment_failed", "checkout.session.async_payment_failed"]
        assert types(client) == [*before, *after, *(["charge.updated"] if succeeded else [])]

    def test_expires_when_its_time_has_come(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        now = double.control.advance_clock(0)
        session = session_of(client, expires_at=now + 1801)
        double.control.advance_clock(1802)
        expired = client.v1.checkout.sessions.retrieve(session.id)
        assert (expired.status, expired.url) == ("expired", None)
        assert types(client) == ["checkout.session.expired"]
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.checkout.sessions.expire(session.id)
        assert httpx.get(str(session.url), trust_env=False).status_code == 410

    @pytest.mark.parametrize("seconds", [1700, 24 * 3600 + 60])
    def test_lives_from_half_an_hour_to_a_day(
        self, double: StripeDouble, client: stripe.StripeClient, seconds: int
    ) -> None:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            session_of(client, expires_at=double.control.advance_clock(0) + seconds)
        assert refused.value.param == "expires_at"

    def test_refuses_what_it_does_not_know(self, client: stripe.StripeClient) -> None:
        wishes: list[dict[str, Any]] = [
            *({"mode": "subscription"}, {"line_items": []}, {"success_url": "shop"}, {"no_such": "x"}),
            *({"ui_mode": "hosted"}, {"payment_method_types": ["card"]}),
        ]
        for wish in wishes:
            with pytest.raises(stripe.InvalidRequestError):
                session_of(client, **wish)
        assert client.v1.checkout.sessions.list().data == []


class TestListsAndKeys:
    def test_pages_forwards_and_backwards(self, client: stripe.StripeClient) -> None:
        made = [intent_of(client).id for _ in range(7)][::-1]
        first = client.v1.payment_intents.list({"limit": 3})
        assert ([intent.id for intent in first.data], first.has_more) == (made[:3], True)
        second = client.v1.payment_intents.list({"limit": 4, "starting_after": made[2]})
        assert ([intent.id for intent in second.data], second.has_more) == (made[3:], False)
        back = client.v1.payment_intents.list({"limit": 2, "ending_before": made[4]})
        assert ([intent.id for intent in back.data], back.has_more) == (made[2:4], True)
        assert [intent.id for intent in client.v1.payment_intents.list({"limit": 2}).auto_paging_iter()] == made
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.payment_intents.list({"starting_after": "pi_nobody"})
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.payment_intents.list({"limit": 101})

    def test_filters_by_time_and_by_field(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        early = intent_of(client, confirm=True, payment_method="pm_card_visa")
        now = double.control.advance_clock(100)
        late = intent_of(client, confirm=True, payment_method="pm_card_visa")
        listing = client.v1.payment_intents.list
        assert [intent.id for intent in listing({"created": {"gte": now}}).data] == [late.id]
        assert [intent.id for intent in listing({"created": {"lt": now}}).data] == [early.id]
        charges = client.v1.charges.list({"payment_intent": early.id}).data
        assert [charge.id for charge in charges] == [early.latest_charge]

    def test_expands_deeply_and_refuses_nonsense(self, client: stripe.StripeClient) -> None:
        paid = intent_of(client, confirm=True, payment_method="pm_card_visa")
        deep = client.v1.payment_intents.retrieve(paid.id, {"expand": ["latest_charge.balance_transaction.source"]})
        assert deep.latest_charge.balance_transaction.source.id == paid.latest_charge  # type: ignore[union-attr]
        for path in ("amount", "a.b.c.d.e"):
            with pytest.raises(stripe.InvalidRequestError):
                client.v1.payment_intents.retrieve(paid.id, {"expand": [path]})

    def test_an_id_that_does_not_exist(self, client: stripe.StripeClient) -> None:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.payment_intents.retrieve("pi_nobody")
        assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")

    @pytest.mark.parametrize("key", ["sk_test_wrong", "sk_live_51abcdef", "pk_test_wrong"])
    def test_a_wrong_key(self, double: StripeDouble, key: str) -> None:
        client = stripe.StripeClient(key, base_addresses={"api": double.url})
        with pytest.raises(stripe.AuthenticationError) as refused:
            client.v1.balance.retrieve()
        assert key not in str(refused.value)
        assert requests.get(f"{double.url}/v1/balance", timeout=5).status_code == 401

    def test_a_payers_browser_may_confirm_its_own_intent_only(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        mine, other = intent_of(client), intent_of(client)
        browser = stripe.StripeClient(double.publishable_key, base_addresses={"api": double.url})
        secret: Any = {"client_secret": mine.client_secret}
        assert browser.v1.payment_intents.retrieve(mine.id, secret).id == mine.id
        refused: tuple[Any, ...] = (
            lambda: browser.v1.payment_intents.retrieve(other.id, secret),
            lambda: browser.v1.payment_intents.retrieve(mine.id),
            lambda: browser.v1.payment_intents.list(),
            lambda: browser.v1.payment_intents.update(mine.id, secret | {"amount": 50}),
            lambda: browser.v1.payment_intents.cancel(mine.id),
            lambda: browser.v1.refunds.create({"payment_intent": mine.id}),
        )
        for attempt in refused:
            with pytest.raises(stripe.PermissionError):
                attempt()
        paid = browser.v1.payment_intents.confirm(mine.id, secret | {"payment_method": "pm_card_visa"})
        assert paid.status == "succeeded"

    def test_says_who_answers(self, double: StripeDouble) -> None:
        answer = requests.get(
            f"{double.url}/v1/balance", auth=(double.secret_key, ""), headers={"Stripe-Version": "x"}, timeout=5
        )
        assert (answer.status_code, answer.headers["stripe-version"]) == (200, "x")
        assert answer.headers["request-id"].startswith("req_")
        unknown = requests.get(f"{double.url}/v1/customers", auth=(double.secret_key, ""), timeout=5)
        assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "invalid_request_error")

    def test_another_host_name_or_a_form_does_not_reach_the_control(self, double: StripeDouble) -> None:
        verb = f"{double.url}/_double/advance_clock"
        assert requests.post(verb, json={"seconds": 5}, timeout=5).status_code == 200
        assert requests.post(verb, json={"seconds": 5}, headers={"Host": "evil.example"}, timeout=5).status_code == 400
        assert requests.post(verb, data={"seconds": 5}, timeout=5).status_code == 415
        assert requests.post(f"{double.url}/_double/__init__", json={}, timeout=5).status_code == 404
        assert requests.post(verb, json={"hours": 5}, timeout=5).status_code == 400
        missing = requests.post(f"{double.url}/_double/open_dispute", json={"payment": "pi_nobody"}, timeout=5)
        assert missing.status_code == 404
