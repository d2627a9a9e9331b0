"""The faults of the backend that did this job before, each of which must never happen again."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import stripe

from cascade import settings
from cascade.adapters.stripe import Stripe
from cascade.errors import SettingsError
from sandbox.stripe import StripeDouble
from tests.conftest import ROOT, RunningCascade
from tests.support.card_shop import CardShop

WEBHOOK = "/api/payments/webhook"


def test_webhook_signature_not_checked(card_shop: CardShop) -> None:
    subject = {"id": "pi_1", "object": "payment_intent", "amount_received": 10**9, "metadata": {"order_id": "x"}}
    event = {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1, "data": {"object": subject}}
    answer = card_shop.client.post(WEBHOOK, content=json.dumps(event), headers={"stripe-signature": "t=1,v1=x"})
    assert answer.status_code == 400
    assert card_shop.events() == []


def test_an_empty_webhook_secret_verified_anything(card_shop: CardShop, monkeypatch: pytest.MonkeyPatch) -> None:
    for empty in ("", " "):
        with pytest.raises(ValueError, match="empty webhook secret"):
            Stripe(card_shop.double.secret_key, empty)
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", empty)
        with pytest.raises(SettingsError, match="STRIPE_WEBHOOK_SECRET"):
            settings.load()


def test_errors_were_swallowed_with_a_200_so_stripe_never_repeated(card_shop: CardShop) -> None:
    card_shop.double.control.set_chaos(drop_webhooks=1.0)
    card_shop.paid()
    (event,) = card_shop.stripe.v1.events.list({"type": "payment_intent.succeeded"}).data
    card_shop.double.control.reset_chaos()
    with card_shop.database.transaction() as connection:
        connection.execute("ALTER TABLE stripe_events ADD CONSTRAINT broken CHECK (type = '') NOT VALID")
    card_shop.double.control.resend_event(event.id)
    assert card_shop.double.control.deliver_now() > 0
    assert all(delivery["last_status"] != 200 for delivery in card_shop.double.control.deliveries())
    with card_shop.database.transaction() as connection:
        connection.execute("ALTER TABLE stripe_events DROP CONSTRAINT broken")
    card_shop.work()
    assert card_shop.ducats() == 525_000_000


@pytest.mark.parametrize(
    ("usd", "cents", "bonus"), [("19.99", 1999, 0), ("1000.10", 100010, 15), ("4096.07", 409607, 15)]
)
def test_cents_were_lost_to_floats(card_shop: CardShop, usd: str, cents: int, bonus: int) -> None:
    assert int(19.99 * 100) == 1998  # what it did
    for amount in (usd, float(usd)):
        session = card_shop.session(usd_amount=amount)
        assert card_shop.stripe.v1.checkout.sessions.retrieve(session["session_id"]).amount_total == cents
    card_shop.double.control.pay_session(session["session_id"])
    card_shop.work()
    assert card_shop.dollars() == cents
    assert card_shop.ducats() == cents * 1_000 * (100 + bonus)  # ten ducats a dollar, and the bonus in percent


def test_a_repeated_webhook_credited_twice(card_shop: CardShop) -> None:
    card_shop.double.control.set_chaos(duplicate_webhooks=1.0)
    card_shop.paid()
    for _ in range(3):
        card_shop.work()
        for event in card_shop.stripe.v1.events.list({"limit": 100}).data:
            card_shop.double.control.resend_event(event.id)
    card_shop.work()
    assert card_shop.ducats() == 525_000_000


def test_no_package_id_so_a_bonus_was_never_granted(card_shop: CardShop) -> None:
    for package, ducats in (("starter", 100), ("explorer", 525), ("trader", 1075), ("merchant", 2750), ("noble", 5750)):
        session = card_shop.paid(citizen_id=package, package=package)
        card_shop.work()
        assert card_shop.order(session)["package"] == package
        assert card_shop.ducats(package) == ducats * 10**6


@pytest.mark.parametrize("usd", ["9.99", "10000.01", "0", "1000000"])
@pytest.mark.parametrize("way", ["checkout-session", "payment-intent"])
def test_limits_were_shown_but_not_enforced(card_shop: CardShop, way: str, usd: str) -> None:
    wish = {"citizen_id": "Marco_Polo", "usd_amount": usd}
    answer = card_shop.client.post(f"/api/payments/{way}", json=wish)
    assert (answer.status_code, "from 10 to 10,000 USD" in answer.json()["detail"]) == (422, True)


def test_refunds_and_disputes_were_ignored(card_shop: CardShop) -> None:
    refunded, disputed = (card_shop.paid(citizen_id=name) for name in ("refunded", "disputed"))
    card_shop.work()
    card_shop.stripe.v1.refunds.create({"payment_intent": card_shop.intent_of(refunded)})
    card_shop.double.control.open_dispute(card_shop.intent_of(disputed))
    card_shop.work()
    assert (card_shop.ducats("refunded"), card_shop.ducats("disputed")) == (0, 0)
    assert {card_shop.order(sale)["status"] for sale in (refunded, disputed)} == {"reversed"}


def test_an_amount_in_metadata_was_trusted(card_shop: CardShop) -> None:
    session = card_shop.session(package="starter")
    forged = {"order_id": session["order_id"], "ducats": "999999", "amount": "999999", "citizen_id": "Thief"}
    card_shop.stripe.v1.payment_intents.create(
        {"amount": 1000, "currency": "usd", "metadata": forged, "payment_method": "pm_card_visa", "confirm": True,
         "return_url": "https://x.example"}
    )  # fmt: skip
    card_shop.work()
    assert (card_shop.ducats(), card_shop.ducats("Thief")) == (100_000_000, 0)


def test_secrets_and_card_data_in_logs(
    card_shop: CardShop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Everything that our own code logs, at any level, while money comes, is refused, and goes back."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("stripe").setLevel(logging.WARNING)  # as `cascade` sets it
    secrets = _let_money_move(card_shop)
    said = caplog.text + "".join(capfd.readouterr())
    assert "booked" in said or "fulfilled" in said
    for secret in secrets:
        assert secret not in said


def test_secrets_and_card_data_in_the_running_systems_log(
    start_cascade: Callable[..., RunningCascade], tmp_path: Path
) -> None:
    """`cascade up` as an operator runs it, with its own settings of what is logged."""
    with StripeDouble.start() as double:
        secret = "whsec_" + "s" * 32
        keys = {"STRIPE_SECRET_KEY": double.secret_key, "STRIPE_WEBHOOK_SECRET": secret}
        with open(tmp_path / "log", "wb") as log:
            cascade = start_cascade(output=log, stripe=keys, stripe_api_base=double.url, stripe_catch_up_seconds="0.2")
        wish = {"citizen_id": "Marco_Polo", "package": "explorer"}
        session = httpx.post(f"{cascade.api}/api/payments/checkout-session", json=wish).json()
        with pytest.raises(Exception, match="declined"):
            double.control.pay_session(session["session_id"], card="4000000000000002")
        double.control.pay_session(session["session_id"])
        httpx.post(cascade.api + WEBHOOK, content=b"{}", headers={"stripe-signature": "t=1,v1=x"})
        deadline = time.monotonic() + 20
        status = ""
        while status != "fulfilled" and time.monotonic() < deadline:
            status = httpx.get(f"{cascade.api}/api/payments/orders/{session['order_id']}").json()["status"]
            time.sleep(0.1)
        assert status == "fulfilled"  # without a single webhook
        link = session["payment_link"].rsplit("/", 1)[1]
        said = (tmp_path / "log").read_text()
        assert "stripe:pi_" in said
        for hidden in (double.secret_key, secret, "_secret_", "4242424242424242", "Marco Polo", link):
            assert hidden not in said, said
        shown = subprocess.run(
            [sys.executable, "-m", "cascade", "status"], cwd=ROOT, env=dict(cascade.environment),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "Stripe: 0 events wait" in shown.stdout
        cascade.process.send_signal(signal.SIGTERM)
        assert cascade.process.wait(15) == 0


def _let_money_move(card_shop: CardShop) -> list[str]:
    """Returns what must be in no log."""
    intent = card_shop.intent()
    with pytest.raises(stripe.CardError):
        card_shop.confirm(intent, "pm_card_chargeDeclined")
    card_shop.confirm(intent)
    session = card_shop.paid()
    card_shop.work()
    card_shop.stripe.v1.refunds.create({"payment_intent": intent["payment_intent_id"]})
    card_shop.client.post(WEBHOOK, content=b"{}", headers={"stripe-signature": "t=1,v1=x"})
    card_shop.double.control.set_chaos(fail_before_effect=1.0, only_posts=False)
    card_shop.client.post("/api/payments/checkout-session", json={"citizen_id": "Marco", "package": "noble"})
    card_shop.work()
    return [
        card_shop.double.secret_key,
        card_shop.double.webhook_secret,
        intent["client_secret"],
        session["payment_link"].rsplit("/", 1)[1],
        "4242424242424242",
        "Marco Polo",
    ]
