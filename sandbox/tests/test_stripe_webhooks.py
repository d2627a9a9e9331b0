"""The double's webhooks and events: signed as Stripe signs, sent until taken, found again when they are not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import stripe

from sandbox.stripe import StripeDouble, WebhookReceiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def double(receiver: WebhookReceiver) -> Iterator[StripeDouble]:
    with StripeDouble.start(webhook_url=receiver.url, webhook_secret="whsec_ours") as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})


def create(client: stripe.StripeClient) -> str:
    """A payment intent: exactly one event."""
    return client.v1.payment_intents.create({"amount": 2500, "currency": "usd"}).id


def undelivered(client: stripe.StripeClient) -> list[stripe.Event]:
    """What a receiver that was away must catch up with."""
    return client.v1.events.list({"delivery_success": False}).data


def test_the_sdk_takes_the_signature_and_refuses_a_forged_or_an_old_one(
    double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver
) -> None:
    intent = create(client)
    body, signature = receiver.wait_for(1)[0].body, receiver.received[0].signature
    assert double.webhook_secret == "whsec_ours"
    event = stripe.Webhook.construct_event(body, signature, "whsec_ours")
    assert (event.type, event.data.object["id"]) == ("payment_intent.created", intent)
    assert stripe.WebhookSignature.generate_signature_header(
        body.decode(), "whsec_ours", int(signature[2:].split(",")[0])
    ) == signature  # fmt: skip
    signed_at = int(signature[2:].split(",")[0])
    old = stripe.WebhookSignature.generate_signature_header(body.decode(), "whsec_ours", signed_at - 301)
    for forged_body, forged_signature, secret in (
        (body.replace(b"2500", b"9999"), signature, "whsec_ours"),
        (body, signature, "whsec_other"),
        (body, signature.replace("v1=", "v1=0"), "whsec_ours"),
        (body, old, "whsec_ours"),
        (body, signature.replace(str(signed_at), str(signed_at + 1)), "whsec_ours"),
    ):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(forged_body, forged_signature, secret)


def test_a_clock_that_was_advanced_does_not_make_signatures_stale(
    double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver
) -> None:
    double.control.advance_clock(30 * 24 * 3600)
    create(client)
    received = receiver.wait_for(1)[0]
    stripe.Webhook.construct_event(received.body, received.signature, "whsec_ours")


def test_sends_until_it_is_taken(double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver) -> None:
    receiver.answers = [500, 302, 404]
    create(client)
    attempts = receiver.wait_for(4)
    assert [attempt.status for attempt in attempts] == [500, 302, 404, 200]
    assert len({attempt.body for attempt in attempts}) == 1
    pauses = [later.at_seconds - earlier.at_seconds for earlier, later in itertools.pairwise(attempts)]
    assert pauses[0] >= 0.06
    assert pauses[2] > pauses[1] > pauses[0]
    double.control.deliver_now()
    assert len(receiver.received) == 4
    event = client.v1.events.list().data[0]
    assert event.pending_webhooks == 0
    assert double.control.deliveries()[0]["attempts"] == 4


def test_what_is_not_taken_is_found_in_the_list(
    double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver
) -> None:
    create(client)
    receiver.wait_for(1)
    double.control.deliver_now()
    assert undelivered(client) == []
    receiver.stop()
    create(client)
    assert double.control.deliver_now() == 1
    assert [event.pending_webhooks for event in undelivered(client)] == [1]
    assert len(client.v1.events.list({"delivery_success": True}).data) == 1


def test_gives_up_after_three_days(receiver: WebhookReceiver) -> None:
    receiver.answers = [503] * 100
    with StripeDouble.start(webhook_url=receiver.url, webhook_time_factor=0.0) as double:
        client = stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})
        create(client)
        receiver.wait_for(12)
        double.control.deliver_now()
        assert [(d["state"], d["attempts"], d["last_status"]) for d in double.control.deliveries()] == [
            *[("failed", 12, 503)],
        ]
        assert len(undelivered(client)) == 1
        receiver.answers = []
        double.control.resend_event(undelivered(client)[0].id)
        receiver.wait_for(13)
        double.control.deliver_now()
        assert undelivered(client) == []


def test_one_bad_receiver_does_not_keep_another_waiting(
    double: StripeDouble, client: stripe.StripeClient, receiver: WebhookReceiver
) -> None:
    with WebhookReceiver() as other:
        other.answers = [500] * 50
        client.v1.webhook_endpoints.create({"url": other.url, "enabled_events": ["*"]})
        for _ in range(3):
            create(client)
        receiver.wait_for(3)
        assert all(event.pending_webhooks >= 1 for event in client.v1.events.list().data)


def test_endpoints_by_the_api(double: StripeDouble, client: stripe.StripeClient) -> None:
    with WebhookReceiver() as other:
        wish = {"url": other.url, "enabled_events": ["payment_intent.canceled", "refund.*"]}
        options = {"idempotency_key": "k1"}
        made = client.v1.webhook_endpoints.create(wish, options)  # type: ignore[arg-type]
        assert made.secret is not None
        assert client.v1.webhook_endpoints.create(wish, options).secret == made.secret  # type: ignore[arg-type]
        assert "secret" not in client.v1.webhook_endpoints.retrieve(made.id)
        client.v1.payment_intents.cancel(create(client))
        received = other.wait_for(1)[0]
        assert stripe.Webhook.construct_event(received.body, received.signature, made.secret).type == (
            "payment_intent.canceled"
        )
        client.v1.webhook_endpoints.update(made.id, {"disabled": True})
        client.v1.payment_intents.cancel(create(client))
        double.control.deliver_now()
        assert other.types == ["payment_intent.canceled"]
        client.v1.webhook_endpoints.delete(made.id)
        assert made.id not in [endpoint.id for endpoint in client.v1.webhook_endpoints.list().data]


def test_events_by_type_by_time_and_in_pages(double: StripeDouble, client: stripe.StripeClient) -> None:
    for _ in range(3):
        client.v1.payment_intents.cancel(create(client))
    events = client.v1.events.list
    assert [event.type for event in events({"type": "payment_intent.canceled"}).data] == ["payment_intent.canceled"] * 3
    assert len(events({"type": "payment_intent.*"}).data) == 6
    assert len(events({"types": ["payment_intent.created", "refund.created"]}).data) == 3
    with pytest.raises(stripe.InvalidRequestError):
        events({"type": "a", "types": ["b"]})
    everything = [event.id for event in events().data]
    assert [event.id for event in events({"limit": 2}).auto_paging_iter()] == everything
    backwards = events({"limit": 2, "ending_before": everything[-1]}).data
    assert [event.id for event in backwards] == everything[3:5]
    assert client.v1.events.retrieve(everything[0]).id == everything[0]
    now = double.control.advance_clock(31 * 24 * 3600)
    newest = create(client)
    assert [event.data.object["id"] for event in events({"created": {"gte": now}}).data] == [newest]
    assert len(events().data) == 1


def test_an_empty_secret_refuses_to_start(receiver: WebhookReceiver) -> None:
    with pytest.raises(ValueError, match="empty"):
        StripeDouble.start(webhook_url=receiver.url, webhook_secret=" ")
