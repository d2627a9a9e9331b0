"""The double's idempotency keys: the first result is kept, whatever it was."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import stripe

from sandbox.stripe import StripeDouble


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble.start() as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.secret_key, base_addresses={"api": double.url}, max_network_retries=0)


def create(client: stripe.StripeClient, key: str, cents: int = 2500) -> stripe.PaymentIntent:
    """A payment intent under a key."""
    return client.v1.payment_intents.create({"amount": cents, "currency": "usd"}, {"idempotency_key": key})


def status_of(client: stripe.StripeClient, key: str) -> int:
    """The status that a payment intent under a key is answered with."""
    try:
        create(client, key)
    except stripe.StripeError as refusal:
        return int(refusal.http_status or 0)
    return 200


def made(client: stripe.StripeClient) -> int:
    """How many payment intents there are."""
    return len(client.v1.payment_intents.list({"limit": 100}).data)


def test_the_first_result_is_given_again(client: stripe.StripeClient) -> None:
    first, again = create(client, "k1"), create(client, "k1")
    assert again.id == first.id
    assert first.last_response is not None
    assert again.last_response is not None
    assert "idempotent-replayed" not in first.last_response.headers
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert again.last_response.headers["original-request"] == first.last_response.headers["request-id"]
    assert create(client, "k2").id != first.id
    assert made(client) == 2
    assert [event.request.idempotency_key for event in client.v1.events.list().data if event.request] == ["k2", "k1"]


def test_other_parameters_under_the_same_key_are_an_error(client: stripe.StripeClient) -> None:
    first = create(client, "k1")
    with pytest.raises(stripe.IdempotencyError, match="same parameters") as refused:
        create(client, "k1", cents=2600)
    assert refused.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError):
        client.v1.payment_intents.cancel(first.id, options={"idempotency_key": "k1"})
    assert made(client) == 1
    assert create(client, "k1").id == first.id


@pytest.mark.parametrize(("switch", "effects"), [("fail_before_effect", 0), ("fail_after_effect", 1)])
def test_a_500_is_kept_too(double: StripeDouble, client: stripe.StripeClient, switch: str, effects: int) -> None:
    double.control.set_chaos(**{switch: 1.0, "strikes_left": 1})
    for _ in range(3):
        with pytest.raises(stripe.APIError) as broken:
            create(client, "k1")
        assert broken.value.http_status == 500
    assert made(client) == effects
    assert create(client, "k1 second attempt").status == "requires_payment_method"


def test_a_decline_is_kept_too(client: stripe.StripeClient) -> None:
    intent = client.v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "allowed_payment_method_types": ["card"]}
    )
    requests_ids = set()
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            wish: Any = {"payment_method": "pm_card_chargeDeclined"}
            client.v1.payment_intents.confirm(intent.id, wish, {"idempotency_key": "k1"})
        body: Any = declined.value.json_body
        requests_ids.add(body["error"]["charge"])
    assert len(requests_ids) == 1
    assert len(client.v1.charges.list().data) == 1


def test_what_was_refused_before_it_began_leaves_the_key_free(
    double: StripeDouble, client: stripe.StripeClient
) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        create(client, "k1", cents=1)
    double.control.set_chaos(rate_limit=1.0, strikes_left=1)
    with pytest.raises(stripe.RateLimitError):
        create(client, "k1")
    assert create(client, "k1").amount == 2500


def test_a_key_whose_first_request_is_under_way(double: StripeDouble, client: stripe.StripeClient) -> None:
    double.chaos.slow_seconds = 1.5

    def rival(_: int) -> int:
        return status_of(
            stripe.StripeClient(double.secret_key, base_addresses={"api": double.url}, max_network_retries=0), "k1"
        )

    with ThreadPoolExecutor(4) as rivals:
        assert sorted(rivals.map(rival, range(4))) == [200, 409, 409, 409]
    double.chaos.slow_seconds = 0.0
    assert create(client, "k1").amount == 2500
    assert made(client) == 1


def test_a_key_is_forgotten_after_a_day(double: StripeDouble, client: stripe.StripeClient) -> None:
    first = create(client, "k1")
    double.control.advance_clock(24 * 3600 - 60)
    assert create(client, "k1").id == first.id
    double.control.advance_clock(120)
    assert create(client, "k1", cents=2600).id != first.id


def test_each_account_has_keys_of_its_own(client: stripe.StripeClient) -> None:
    first = create(client, "k1")
    with StripeDouble.start(seed=1) as other_double:
        other = stripe.StripeClient(other_double.secret_key, base_addresses={"api": other_double.url})
        assert create(other, "k1", cents=2600).id != first.id
    with pytest.raises(stripe.PermissionError):
        client.v1.balance.retrieve(options={"stripe_account": "acct_somebody"})


def test_reading_takes_no_key_and_a_key_has_an_end(double: StripeDouble, client: stripe.StripeClient) -> None:
    for path in ("balance", "events"):
        headers = {"Idempotency-Key": "k1"}
        answer = requests.get(f"{double.url}/v1/{path}", auth=(double.secret_key, ""), headers=headers, timeout=5)
        assert answer.status_code == 200
    with pytest.raises(stripe.InvalidRequestError):
        create(client, "k" * 256)


def test_the_sdk_survives_a_lost_answer_by_itself(double: StripeDouble) -> None:
    client = stripe.StripeClient(double.secret_key, base_addresses={"api": double.url}, max_network_retries=2)
    double.control.set_chaos(reset_after_effect=1.0, strikes_left=1)
    intent = client.v1.payment_intents.create({"amount": 2500, "currency": "usd"})
    assert intent.last_response is not None
    assert intent.last_response.headers["idempotent-replayed"] == "true"
    assert made(client) == 1
