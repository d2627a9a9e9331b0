"""Webhook endpoints, and the queue of what each of them is still to be told."""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sandbox.stripe.account import API_VERSION, Account
from sandbox.stripe.errors import InvalidRequest, Json
from sandbox.stripe.form import Parameters

RETRY_AFTER_SECONDS: Final = (60, 300, 1800, 7200, 18000, 36000, 36000, 36000, 36000, 36000, 36000)
"""How long each retry waits after the attempt before, at time factor 1: three days in all, as in live mode."""
EVENT_KEPT_SECONDS: Final = 30 * 24 * 3600


def signature_header(body: bytes, secret: str, timestamp: int) -> str:
    """The `Stripe-Signature` of a body: HMAC-SHA256 over the time in seconds, a dot and the body."""
    signed = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={signed}"


@dataclass(frozen=True)
class Delivery:
    """An event that an endpoint is to be told. `state`: pending, succeeded, failed (given up) or dropped (chaos)."""

    id: int
    event: str
    endpoint: str
    state: str
    due_at: float
    attempts: int
    last_status: int | None


class Webhooks:
    """The `webhook_endpoints` endpoints and the queue."""

    def __init__(self, account: Account, time_factor: float) -> None:
        self._account = account
        self._time_factor = time_factor
        self._given_secrets: dict[str, str] = {}
        account.on_event(self._enqueue)

    def register(self, url: str, secret: str | None) -> Json:
        """An endpoint for all events; the one that has this URL already, if there is one. The secret is not stored."""
        with self._account.doing():
            endpoint = next(self._account.newest("webhook_endpoint", url=url), None)
            if endpoint is None:
                endpoint = self._endpoint(url, ["*"])
                self._account.store.put(endpoint)
        if secret is not None:
            self._given_secrets[endpoint["id"]] = secret
        return endpoint

    def secret_of(self, endpoint_id: str) -> str:
        """What this endpoint's webhooks are signed with."""
        return self._given_secrets.get(endpoint_id) or f"whsec_{self._account.derived(endpoint_id, 32)}"

    def create(self, parameters: Parameters) -> Json:
        """`POST /v1/webhook_endpoints`. The answer shows the secret, which only the caller adds."""
        url, events = self._url(parameters.text("url")), parameters.texts("enabled_events")
        if not events:
            raise InvalidRequest("Missing required param: enabled_events.", code="parameter_missing",
                                 param="enabled_events")  # fmt: skip
        endpoint = self._endpoint(url, events)
        endpoint |= {"description": parameters.optional_text("description"), "metadata": parameters.metadata()}
        parameters.ignore("api_version")
        parameters.finish()
        self._account.store.put(endpoint)
        return endpoint

    def update(self, parameters: Parameters, endpoint_id: str) -> Json:
        """`POST /v1/webhook_endpoints/{id}`: url, enabled_events, disabled, description, metadata."""
        endpoint = self._account.get("webhook_endpoint", endpoint_id)
        if "url" in parameters:
            endpoint["url"] = self._url(parameters.text("url"))
        endpoint["enabled_events"] = parameters.texts("enabled_events") or endpoint["enabled_events"]
        if "disabled" in parameters:
            endpoint["status"] = "disabled" if parameters.flag("disabled") else "enabled"
        if "description" in parameters:
            endpoint["description"] = parameters.optional_text("description")
        endpoint["metadata"] = parameters.metadata(endpoint["metadata"])
        parameters.finish()
        self._account.store.put(endpoint)
        return endpoint

    def delete(self, parameters: Parameters, endpoint_id: str) -> Json:
        """`DELETE /v1/webhook_endpoints/{id}`; what was still to be told it is given up."""
        parameters.finish()
        self._account.get("webhook_endpoint", endpoint_id)
        self._account.store.delete("webhook_endpoint", endpoint_id)
        self._account.store.execute("DELETE FROM deliveries WHERE endpoint = ?", endpoint_id)
        return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}

    def pending(self, event_id: str) -> int:
        """How many endpoints have not yet answered an event with 2xx."""
        rows = self._account.store.execute(
            "SELECT count(DISTINCT endpoint) AS n FROM deliveries WHERE event = ? AND endpoint NOT IN"
            " (SELECT endpoint FROM deliveries WHERE event = ? AND state = 'succeeded')", event_id, event_id,
        )  # fmt: skip
        return int(rows[0]["n"])

    def presented(self, event: Json) -> Json:
        """An event with its `pending_webhooks` of now."""
        return event | {"pending_webhooks": self.pending(event["id"])}

    def deliveries(self, where: str = "1", *values: object, limit: int = -1) -> list[Delivery]:
        """The queue and its history, in the order of their time; at most `limit` of it unless that is negative."""
        sql = f"SELECT * FROM deliveries WHERE {where} ORDER BY due_at, id LIMIT ?"  # noqa: S608  words of ours
        rows = self._account.store.execute(sql, *values, limit)
        return [Delivery(**row) for row in rows]

    def record(self, delivery: Delivery, status: int | None) -> None:
        """Notes the answer to an attempt (None: there was none) and when the next one is due."""
        if status is not None and 200 <= status < 300:
            state, due_at = "succeeded", time.time()
        elif delivery.attempts >= len(RETRY_AFTER_SECONDS):
            state, due_at = "failed", time.time()
        else:
            state, due_at = "pending", time.time() + RETRY_AFTER_SECONDS[delivery.attempts] * self._time_factor
        self._account.store.execute(
            "UPDATE deliveries SET state = ?, due_at = ?, attempts = attempts + 1, last_status = ? WHERE id = ?",
            state, due_at, status, delivery.id,
        )  # fmt: skip

    def make_due(self) -> None:
        """Lets nothing wait any longer."""
        self._account.store.execute("UPDATE deliveries SET due_at = 0 WHERE state = 'pending'")

    def resend(self, event_id: str) -> None:
        """Tells every endpoint of an event once more, whatever it answered before, as a click in the Dashboard does."""
        event = self._account.get("event", event_id)
        for endpoint in self._listeners(event):
            self._insert(event, endpoint, "pending", time.time())

    def _enqueue(self, event: Json) -> None:
        chaos = self._account.chaos
        for endpoint in self._listeners(event):
            event["pending_webhooks"] += 1
            due_at = time.time() + chaos.delay_webhooks_seconds
            if chaos.reorder_webhooks:
                due_at += chaos.between(chaos.reorder_seconds)
            dropped = chaos.draws(chaos.drop_webhooks)
            self._insert(event, endpoint, "dropped" if dropped else "pending", due_at)
            if not dropped and chaos.draws(chaos.duplicate_webhooks):
                self._insert(event, endpoint, "pending", due_at)

    def _listeners(self, event: Json) -> list[Json]:
        return [
            endpoint for endpoint in self._account.newest("webhook_endpoint", status="enabled")
            if any(fnmatch.fnmatchcase(event["type"], pattern) for pattern in endpoint["enabled_events"])
        ]  # fmt: skip

    def _insert(self, event: Json, endpoint: Json, state: str, due_at: float) -> None:
        self._account.store.execute(
            "INSERT INTO deliveries (event, endpoint, state, due_at) VALUES (?, ?, ?, ?)",
            event["id"], endpoint["id"], state, due_at,
        )  # fmt: skip

    def _url(self, url: str) -> str:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise InvalidRequest("Not a valid URL", code="url_invalid", param="url")
        return url

    def _endpoint(self, url: str, events: list[str]) -> Json:
        return {
            "id": self._account.new_id("we"),
            "object": "webhook_endpoint",
            "api_version": API_VERSION,
            "application": None,
            "created": self._account.now(),
            "description": None,
            "enabled_events": events,
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
        }
