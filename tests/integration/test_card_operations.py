"""What an operator of the card rail sees and does on the command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from cascade.cli import cli
from cascade.db import ledger
from cascade.domain.money import DUCAT, Money
from cascade.domain.postings import Kind, Posting, Transaction
from cascade.errors import NotFound, SettingsError
from tests.support.card_shop import CardShop


def run(*words: str) -> str:
    result: Result = CliRunner(env={"COLUMNS": "400"}).invoke(cli, words)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_disputes_lists_what_can_be_answered(card_shop: CardShop) -> None:
    assert "Nothing waits for an answer." in run("disputes")
    session = card_shop.paid()
    dispute = card_shop.double.control.open_dispute(card_shop.intent_of(session))["id"]
    card_shop.double.control.warn_of_fraud(card_shop.intent_of(card_shop.paid(citizen_id="Other")))
    card_shop.work()
    shown = run("disputes")
    assert dispute in shown
    assert "50.00 USD" in shown
    assert "Answer with evidence in Stripe's Dashboard" in shown
    assert "early_fraud_warning" in shown


def test_receivables_lists_what_was_spent(card_shop: CardShop) -> None:
    assert "Nobody owes any ducats." in run("receivables")
    session = card_shop.paid()
    card_shop.work()
    spent = Posting("citizen:Marco_Polo", "venice", Money(DUCAT, 500_000_000))
    with card_shop.database.transaction() as connection:
        ledger.post(connection, Transaction("spent", Kind.SALE, (spent,)))
    card_shop.stripe.v1.refunds.create({"payment_intent": card_shop.intent_of(session)})
    card_shop.work()
    shown = run("receivables")
    assert session["order_id"] in shown
    assert "500" in shown
    assert "USD: all postings sum to 0" in run("audit")


def test_suspense_says_how_to_refund_a_card(card_shop: CardShop) -> None:
    session = card_shop.session()
    intent = card_shop.stray_intent(session["order_id"])
    card_shop.double.control.pay_session(session["session_id"])
    card_shop.confirm(intent)
    card_shop.work()
    shown = run("suspense")
    assert "50.00 USD" in shown
    assert "The order was already paid. Refund it in Stripe's Dashboard" in shown


def test_inbox_shows_why_an_event_waits_tries_again_and_gives_up(card_shop: CardShop) -> None:
    assert "Nothing waits." in run("inbox")
    session = card_shop.paid()
    card_shop.double.control.set_chaos(rate_limit=1.0, only_posts=False)
    card_shop.work()
    shown = run("inbox")
    assert "payment_intent.succeeded" in shown
    assert "StripeUnavailable: Stripe did not answer" in shown
    assert "an event cannot be booked, see `cascade inbox`" in run("status")
    card_shop.double.control.reset_chaos()
    run("inbox", "--retry")
    card_shop.work_through_inbox()
    assert card_shop.order(session)["status"] == "fulfilled"
    with pytest.raises(NotFound, match="no event evt_gone waits"):
        run("inbox", "--ignore", "evt_gone")


def test_a_worker_alone_needs_the_key(card_shop: CardShop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "CASCADE_STRIPE_API_BASE"):
        monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match="STRIPE_SECRET_KEY: is required"):
        run("card")
