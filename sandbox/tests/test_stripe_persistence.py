"""What the double keeps across a restart and a kill, and what it must never keep or say."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from sandbox.ports import free_port
from sandbox.stripe import StripeDouble, WebhookReceiver

ROOT = Path(__file__).parent.parent.parent


def client_of(key: str, url: str) -> stripe.StripeClient:
    """Stripe's SDK, pointed at a double."""
    return stripe.StripeClient(key, base_addresses={"api": url}, max_network_retries=0)


def session_of(client: stripe.StripeClient) -> stripe.checkout.Session:
    """A new Checkout Session."""
    price: Any = {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Explorer"}}
    wish: Any = {
        "mode": "payment",
        "success_url": "https://shop.example/",
        "line_items": [{"price_data": price, "quantity": 1}],
        "payment_intent_data": {"metadata": {"a": "1"}},
    }
    return client.v1.checkout.sessions.create(wish)


def test_goes_on_where_it_was(tmp_path: Path) -> None:
    with WebhookReceiver() as receiver:
        receiver.answers = [500]
        with StripeDouble.start(tmp_path, webhook_url=receiver.url, webhook_time_factor=1.0) as double:
            client = client_of(double.secret_key, double.url)
            wish: Any = {"amount": 2500, "currency": "usd"}
            first = client.v1.payment_intents.create(wish, {"idempotency_key": "k1"})
            receiver.wait_for(1)
            now = double.control.advance_clock(1000)
            session = session_of(client)
            key, secret = double.secret_key, double.webhook_secret
        with StripeDouble.start(tmp_path, webhook_url=receiver.url) as double:
            assert (double.secret_key, double.webhook_secret) == (key, secret)
            client = client_of(key, double.url)
            again = client.v1.payment_intents.create(wish, {"idempotency_key": "k1"})
            assert again.id == first.id
            assert len(client.v1.webhook_endpoints.list().data) == 1
            assert double.control.advance_clock(0) >= now
            double.control.deliver_now()
            assert receiver.types == ["payment_intent.created"] * 2
            double.control.pay_session(session.id)
            paid = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
            assert isinstance(paid.payment_intent, stripe.PaymentIntent)
            assert paid.payment_intent.metadata["a"] == "1"


def test_two_runs_with_one_seed_never_give_the_same_name_twice() -> None:
    ids = set()
    for _ in range(2):
        with StripeDouble.start(seed=7) as double:
            wish: Any = {"amount": 2500, "currency": "usd"}
            ids.add(client_of(double.secret_key, double.url).v1.payment_intents.create(wish).id)
    assert len(ids) == 2


def test_survives_kill_9(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "sandbox.stripe", "--port", str(port), "--directory", str(tmp_path)]
    with StripeDouble.start() as double:
        key = double.secret_key
    known: list[str] = []
    for _ in range(2):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            await_answer(url)
            client = client_of(key, url)
            assert [intent.id for intent in client.v1.payment_intents.list({"limit": 100}).data] == known[::-1]
            wish: Any = {"amount": 500, "currency": "usd", "allowed_payment_method_types": ["card"]}
            for _ in range(5):
                known.append(client.v1.payment_intents.create(wish | {"confirm": True, "payment_method": VISA}).id)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
    with StripeDouble.start(tmp_path) as double:
        client = client_of(key, double.url)
        assert len(client.v1.charges.list({"limit": 100}).data) == len(known) == 10
        assert len(client.v1.events.list({"limit": 100}).data) == 40


VISA = "pm_card_visa"


def await_answer(url: str) -> None:
    """Waits until somebody answers there."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            httpx.get(f"{url}/v1/balance", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


def test_never_keeps_or_says_a_card_or_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    cards = ("4242424242424242", "4000000000000002", "4000002500003155", "4111111111111111", "4242424242424241")
    secret = "whsec_of_the_test"
    with (
        WebhookReceiver() as receiver,
        StripeDouble.start(tmp_path, webhook_url=receiver.url, webhook_secret=secret) as double,
    ):
        client = client_of(double.secret_key, double.url)
        made = client.v1.webhook_endpoints.create(
            {"url": receiver.url, "enabled_events": ["*"]}, {"idempotency_key": "k0"}
        )
        session = session_of(client)
        for index, card in enumerate(cards):
            try:
                fields = {"number": card, "expiry": "12/34", "cvc": "737", "name": "Marco Polo"}
                httpx.post(str(session.url), data=fields, trust_env=False)
                number: Any = {"number": card, "exp_month": 12, "exp_year": 2034, "cvc": "737"}
                client.v1.payment_methods.create({"type": "card", "card": number}, {"idempotency_key": f"k{index + 1}"})
            except stripe.CardError:
                assert card == cards[-1]
        double.control.deliver_now()
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        wire = b"".join(received.body for received in receiver.received)
        hidden = [*cards, secret, double.secret_key, double.publishable_key, str(made.secret)]
    out, err = capfd.readouterr()
    # The SDK's own logger, on the client's side, writes what it sends at this level; that is not ours to judge.
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "stripe")
    assert b"4242" in kept
    for word in hidden:
        assert word.encode() not in kept + wire, word
        assert word not in ours + out + err, word
    assert b'"737"' not in kept + wire
