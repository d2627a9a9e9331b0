"""Each of the double's chaos switches, one by one: what it breaks and what it leaves alone."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import requests
import stripe

from sandbox.stripe import Chaos, StripeDouble, WebhookReceiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def double(receiver: WebhookReceiver) -> Iterator[StripeDouble]:
    with StripeDouble.start(webhook_url=receiver.url) as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.secret_key, base_addresses={"api": double.url}, max_network_retries=0)


def create(client: stripe.StripeClient) -> str:
    """A payment intent: exactly one event."""
    return client.v1.payment_intents.create({"amount": 2500, "currency": "usd"}).id


def made(client: stripe.StripeClient) -> int:
    """How many payment intents there are."""
    return len(client.v1.payment_intents.list({"limit": 100}).data)


def subjects(receiver: WebhookReceiver) -> list[str]:
    """The intents that the receiver was told of, in the order of arrival."""
    return [received.event["data"]["object"]["id"] for received in receiver.received]


class TestWebhooks:
    def test_in_order_when_all_is_well(self, client: stripe.StripeClient, receiver: WebhookReceiver) -> None:
        intents = [create(client) for _ in range(12)]
        receiver.wait_for(12)
        assert subjects(receiver) == intents

    def test_duplicate(self, double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver) -> None:
        double.chaos.duplicate_webhooks = 1.0
        create(client)
        first, second = receiver.wait_for(2)
        assert first.event["id"] == second.event["id"]
        double.control.deliver_now()
        assert client.v1.events.list().data[0].pending_webhooks == 0

    def test_reorder(self, double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver) -> None:
        double.chaos.reorder_webhooks = True
        intents = [create(client) for _ in range(12)]
        receiver.wait_for(12)
        assert subjects(receiver) != intents
        assert sorted(subjects(receiver)) == sorted(intents)

    def test_delay(self, double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver) -> None:
        double.chaos.delay_webhooks_seconds = 0.6
        began = time.monotonic()
        create(client)
        time.sleep(0.2)
        assert receiver.received == []
        assert receiver.wait_for(1)[0].at_seconds - began >= 0.55
        double.chaos.delay_webhooks_seconds = 3600.0
        create(client)
        double.control.deliver_now()
        assert len(receiver.received) == 2

    def test_drop(self, double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver) -> None:
        double.chaos.drop_webhooks = 1.0
        lost = create(client)
        double.chaos.drop_webhooks = 0.0
        taken = create(client)
        receiver.wait_for(1)
        double.control.deliver_now()
        assert subjects(receiver) == [taken]
        missing = client.v1.events.list({"delivery_success": False}).data
        assert [event.data.object["id"] for event in missing] == [lost]

    def test_bad_signature(self, double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver) -> None:
        double.chaos.bad_signatures = 1.0
        receiver.answers = [400]
        create(client)
        forged = receiver.wait_for(1)[0]
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(forged.body, forged.signature, double.webhook_secret)
        double.chaos.bad_signatures = 0.0
        honest = receiver.wait_for(2)[1]
        stripe.Webhook.construct_event(honest.body, honest.signature, double.webhook_secret)

    def test_several_at_once(
        self, double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver
    ) -> None:
        receiver.answers_after_seconds = 0.1
        for at_once, most in ((1, 1), (4, 4)):
            receiver.most_at_once = 0
            double.chaos.webhooks_at_once = at_once
            double.chaos.delay_webhooks_seconds = 3600.0
            for _ in range(8):
                create(client)
            double.control.deliver_now()
            assert receiver.most_at_once == most


class TestRequests:
    def test_fail_before_effect(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        double.chaos.fail_before_effect = 1.0
        with pytest.raises(stripe.APIError):
            create(client)
        assert made(client) == 0

    def test_fail_after_effect(
        self, double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver
    ) -> None:
        double.chaos.fail_after_effect = 1.0
        with pytest.raises(stripe.APIError):
            create(client)
        assert made(client) == 1
        receiver.wait_for(1)

    def test_hang_after_effect(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        double.control.set_chaos(hang_after_effect=1.0, hang_seconds=20.0)
        with pytest.raises(requests.Timeout):
            requests.post(
                f"{double.url}/v1/payment_intents",
                {"amount": "2500", "currency": "usd"},
                auth=(double.secret_key, ""),
                timeout=0.5,
            )
        assert made(client) == 1

    @pytest.mark.parametrize(("switch", "effects"), [("reset_before_effect", 0), ("reset_after_effect", 1)])
    def test_connection_reset(
        self, double: StripeDouble, client: stripe.StripeClient, switch: str, effects: int
    ) -> None:
        double.control.set_chaos(**{switch: 1.0})
        with pytest.raises(stripe.APIConnectionError):
            create(client)
        assert made(client) == effects

    def test_rate_limit(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        double.chaos.rate_limit = 1.0
        with pytest.raises(stripe.RateLimitError):
            create(client)
        double.chaos.rate_limit = 0.0
        assert made(client) == 0

    def test_slow(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        double.chaos.slow_seconds = 0.5
        began = time.monotonic()
        create(client)
        assert time.monotonic() - began >= 0.5

    def test_readers_and_other_paths_are_spared_and_strikes_run_out(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.control.set_chaos(fail_before_effect=1.0, only_paths="/v1/refunds", strikes_left=2)
        intent = create(client)
        assert made(client) == 1
        for _ in range(2):
            with pytest.raises(stripe.APIError):
                client.v1.refunds.create({"payment_intent": intent})
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.refunds.create({"payment_intent": intent})
        double.control.set_chaos(only_posts=False, only_paths="", strikes_left=1)
        with pytest.raises(stripe.APIError):
            client.v1.balance.retrieve()
        double.control.reset_chaos()
        assert double.chaos.switches() == Chaos().switches()


def test_the_seed_decides_who_is_struck() -> None:
    def struck(seed: int) -> list[bool]:
        chaos = Chaos(_random=random.Random(seed))
        return [chaos.draws(0.5) for _ in range(64)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 16 < Counter(struck(1))[True] < 48


def test_switches_over_http_and_what_cannot_be_set(double: StripeDouble) -> None:
    verb = f"{double.url}/_double/set_chaos"
    answer = requests.post(verb, json={"drop_webhooks": 1, "strikes_left": None}, timeout=5)
    assert (answer.status_code, answer.json()["result"]["drop_webhooks"]) == (200, 1)
    for wrong in ({"no_such": 1}, {"drop_webhooks": "all"}, {"only_posts": 1}, {"_random": 1}, {"slow_seconds": True}):
        assert requests.post(verb, json={"rate_limit": 1.0, **wrong}, timeout=5).status_code == 400
        assert double.chaos.rate_limit == 0.0
