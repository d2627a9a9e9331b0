"""Outgoing deliveries on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from standardwebhooks import Webhook

from api.main import create_app
from cascade.db.database import Database
from cascade.errors import InvalidInput, NotFound
from cascade.services.booking import book_payment
from sandbox.venice import VeniceDouble
from tests.integration.test_card_operations import run
from tests.support.delivery import DispatcherConfig, WebhookEndpoint, deliver_all, rows, told
from tests.support.purchases import confirmed, open_order


@pytest.fixture
def venice(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VeniceDouble]:
    monkeypatch.setenv("CASCADE_WEBHOOKS_ALLOW_PRIVATE", "true")
    with VeniceDouble.start() as venice:
        monkeypatch.setenv("CASCADE_VENICE_URL", venice.url)
        yield venice


def buy(database: Database, citizen: str) -> None:
    view = open_order(database, citizen=citizen)
    with database.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))


def test_a_parked_credit_is_shown_with_its_next_step_its_tries_and_is_replayed(
    venice: VeniceDouble, database: Database
) -> None:
    assert "Nothing is parked." in run("credits")
    wishes = DispatcherConfig(venice_url=venice.url)
    buy(database, "stranger")
    assert "venice" in run("credits", "--waiting")
    deliver_all(database, wishes, destination="venice")
    assert "Nothing is parked." in run("outbox")
    shown = run("credits")
    for words in ("unknown_citizen", "stranger", "Let Venice know the citizen and replay it, or refund the payment."):
        assert words in shown
    (parked,) = rows(database, "parked")
    assert "Target citizen 'stranger' not found" in run("credits", "log", str(parked["id"]))
    status = run("status")
    assert "To venice: 0 deliveries wait" in status
    assert "1 are parked, see `cascade credits`" in status
    with pytest.raises(NotFound, match="surely did not reach Venice: replay it instead"):
        run("credits", "settle", str(parked["id"]))
    assert [row["state"] for row in rows(database, destination="venice")] == ["parked"]
    assert "0 credits are tried once more" in run("credits", "--citizen", "somebody else", "--replay")
    venice.control.add_citizen("stranger")
    assert "1 credits are tried once more" in run("credits", "--problem", "unknown_citizen", "--replay")
    deliver_all(database, wishes)
    assert venice.control.balance("stranger") == 2750
    assert "Nothing waits." in run("credits", "--waiting")


def test_health_and_status_show_credits_beside_the_outbox(venice: VeniceDouble, database: Database) -> None:
    buy(database, "stranger")
    deliver_all(database, DispatcherConfig(venice_url=venice.url), destination="venice")
    buy(database, "Marco_Polo")
    with database.transaction() as connection:
        connection.execute("UPDATE credits SET due_at = now() - interval '1 hour' WHERE state = 'pending'")
        connection.execute("UPDATE outbox SET state = 'pending', settled_at = NULL, due_at = now()")
    with TestClient(create_app()) as client:
        message, credit = client.get("/health").json()["outbox"]
    assert (message["destination"], message["waiting"], message["standing_still"]) == ("message", 1, False)
    oldest = credit.pop("oldest_seconds")
    assert 0 <= oldest < 60
    assert credit == {"destination": "venice", "waiting": 1, "parked": 1, "standing_still": True}
    shown = json.loads(run("status", "--json"))["destinations"]
    assert [one["destination"] for one in shown] == ["message", "venice"]
    assert shown[1]["error"].endswith("Target citizen 'stranger' not found")


def test_an_unclear_credit_is_settled_by_an_operators_word_and_only_then_told(
    venice: VeniceDouble, database: Database
) -> None:
    venice.control.set_chaos(half_done_rate=1.0)
    buy(database, "Marco_Polo")
    deliver_all(database, DispatcherConfig(venice_url=venice.url), destination="venice")
    (parked,) = rows(database, "parked")
    assert [notice["type"] for notice in told(database)] == ["credit.in_review"]
    assert "is settled" in run("credits", "settle", str(parked["id"]))
    assert told(database)[-1]["type"] == "order.fulfilled"
    with pytest.raises(NotFound, match="is parked"):
        run("credits", "settle", str(parked["id"]))
    assert "all postings sum to 0" in run("audit")


def test_an_endpoint_is_added_rotated_disabled_enabled_and_deleted(venice: VeniceDouble, database: Database) -> None:
    assert "There are no endpoints." in run("webhooks", "list")
    with WebhookEndpoint.open() as hearer:
        added = run("webhooks", "add", hearer.url, "--event", "order.opened")
        endpoint, secret = re.findall(r"(ep_\w+|whsec_\S+)", added)
        assert secret not in run("webhooks", "list")
        open_order(database)
        deliver_all(database, DispatcherConfig())
        Webhook(secret).verify(hearer.heard[0][1], hearer.heard[0][0])
        (_, newer) = re.findall(r"(ep_\w+|whsec_\S+)", run("webhooks", "rotate", endpoint, "--overlap-hours", "1"))
        run("webhooks", "disable", endpoint)
        assert "disabled: by an operator" in run("webhooks", "list")
        open_order(database)
        deliver_all(database, DispatcherConfig())
        assert len(hearer.heard) == 1
        run("webhooks", "enable", endpoint)
        run("outbox", "--destination", f"webhook:{endpoint}", "--replay")
        deliver_all(database, DispatcherConfig())
        for one in (secret, newer):
            Webhook(one).verify(hearer.heard[1][1], hearer.heard[1][0])
        delivered = rows(database, "delivered", f"webhook:{endpoint}")[0]
        run("outbox", "redeliver", str(delivered["id"]))
        deliver_all(database, DispatcherConfig())
        assert hearer.heard[2][0]["webhook-id"] == hearer.heard[0][0]["webhook-id"]
        run("webhooks", "delete", endpoint)
        open_order(database)
        deliver_all(database, DispatcherConfig())
        assert len(hearer.heard) == 3
    with pytest.raises(NotFound, match="there is no endpoint"):
        run("webhooks", "rotate", endpoint)


def test_the_outbox_says_where_credits_are(venice: VeniceDouble, database: Database) -> None:
    with pytest.raises(InvalidInput, match="`cascade credits` lists and replays them"):
        run("outbox", "--destination", "venice", "--replay")


def test_what_was_never_delivered_cannot_be_delivered_again(venice: VeniceDouble, database: Database) -> None:
    buy(database, "Marco_Polo")
    deliver_all(database, replace(DispatcherConfig(), venice_url=venice.url))
    for row in rows(database):  # the credit, which is never sent again this way, and the message about it
        with pytest.raises(NotFound, match="no delivered webhook"):
            run("outbox", "redeliver", str(row["id"]))
    assert len(venice.control.transfers()) == 1


def test_an_endpoint_in_the_private_network_is_refused(environment: Path, database: Database) -> None:
    for url in ("http://127.0.0.1:9/hooks", "https://10.0.0.1/hooks", "https://localhost/hooks"):
        with pytest.raises(InvalidInput):
            run("webhooks", "add", url)
    assert "There are no endpoints." in run("webhooks", "list")
