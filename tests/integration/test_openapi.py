"""Schemathesis throws at the API what its OpenAPI document allows, and much that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from schemathesis import BaseSchema, Case
from schemathesis.specs.openapi import checks

from api.main import create_app
from cascade.db import api_keys, checkpoints, orders, stripe_inbox
from cascade.db.database import Database
from sandbox.stripe import StripeDouble
from tests.support.purchases import NOWHERE
from tests.support.soak import histories

KEY = "k" * 32
SIGNALS = "/api/economics/signals"


@pytest.fixture
def api_schema(environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseSchema]:
    for variable in ("CASCADE_ORDERS_PER_MINUTE", "CASCADE_READS_PER_MINUTE", "CASCADE_SIGNALS_PER_MINUTE"):
        monkeypatch.setenv(variable, "1000000")
    monkeypatch.setenv("CASCADE_API_KEY", KEY)
    monkeypatch.setenv("CASCADE_RELAYER_KEY", "0x" + "11" * 32)
    monkeypatch.setenv("CASCADE_AUTHORIZATIONS_PER_MINUTE", "1000000")
    monkeypatch.setenv("CASCADE_WEBHOOKS_PER_MINUTE", "1000000")
    with database.transaction() as connection:  # somebody books, so all is well
        stream = f"chain:{NOWHERE.chain.chain_id}:{NOWHERE.router}"
        checkpoints.start(connection, stream, 5, b"\1" * 32, int(orders.clock(connection).timestamp()))
        checkpoints.lease(connection, stream, "me", 600)
        stripe_inbox.set_read_until(connection, stripe_inbox.read_until(connection))
        signal_key = api_keys.add(connection, "fuzz", [api_keys.Scope.SIGNALS])
    with StripeDouble.start() as double:
        monkeypatch.setenv("STRIPE_SECRET_KEY", double.secret_key)
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_" + "s" * 32)
        monkeypatch.setenv("CASCADE_STRIPE_API_BASE", double.url)
        app = create_app()
        app.state.signal_key = signal_key
        with TestClient(app):  # keeps the application's lifespan open
            yield schemathesis.openapi.from_asgi("/openapi.json", app)


# Rules that a schema cannot say (a package or an amount) refuse what it allows; and the key, which this test always
# sends, has a test of its own.
NOT_ASKED = [checks.positive_data_acceptance, checks.ignored_auth]

schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@histories(10)
def test_every_answer_is_documented_and_none_is_a_500(case: Case[Any]) -> None:
    key = case.operation.app.state.signal_key if case.path == SIGNALS else KEY
    excluded = list(NOT_ASKED)
    if case.operation.definition.raw.get("security") and "Authorization" not in (case.headers or {}):
        excluded.append(checks.negative_data_rejection)  # what was to be wrong was the key, which we put in again
    case.call_and_validate(headers={"authorization": f"Bearer {key}"}, excluded_checks=excluded)
