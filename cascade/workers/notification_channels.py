"""Channels of the outbox: Venice's messages to citizens, e-mail, and the platform's webhook endpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cascade.adapters.email import Mailer
from cascade.adapters.texts import Text, Texts
from cascade.adapters.venice import VeniceConnector
from cascade.adapters.webhooks import Webhooks
from cascade.chains import Chain
from cascade.db import outbox, webhook_endpoints
from cascade.db.database import Conn
from cascade.domain.delivery_states import EMAIL, DeliveryState, OutboxMessage, Problem, endpoint_of
from cascade.domain.order_events import EventType
from cascade.errors import DeliveryError, DeliveryRefused, NotDelivered
from cascade.workers.channel_base import AsyncDatabase, Channel

log = logging.getLogger(__name__)


class OutboxChannel(Channel[OutboxMessage]):
    """The destination of deliveries of the outbox."""

    def on_delivered(self, connection: Conn, delivery: OutboxMessage) -> None:
        """Note that it arrived."""
        outbox.QUEUE.settle(connection, delivery, DeliveryState.DELIVERED)

    def on_failed(
        self, connection: Conn, delivery: OutboxMessage, error: DeliveryError, pause_seconds: float | None
    ) -> None:
        """Note that it did not, and when it is tried again; None when it waits for an operator."""
        problem = Problem(error.problem) if error.problem else None
        if pause_seconds is None:
            outbox.QUEUE.settle(connection, delivery, DeliveryState.PARKED, problem, str(error))
        else:
            outbox.QUEUE.postpone(connection, delivery, pause_seconds, problem, str(error))


class MessageChannel(OutboxChannel):
    """Venice's own messages to citizens; none where our ledger, and with it our inbox, stands for Venice.

    Args:
        venice: the connector; None in ledger mode.
        texts: the words.
        chain: where transactions can be looked up.
    """

    def __init__(self, venice: VeniceConnector | None, texts: Texts, chain: Chain) -> None:
        self._venice = venice
        self._texts = texts
        self._chain = chain

    async def deliver(self, delivery: OutboxMessage) -> None:
        """Send a message; Venice knows no idempotency key here, so that a lost answer may lead to a second one."""
        if self._venice is None:
            return
        text = write(self._texts, delivery.payload, self._chain, delivery.payload.get("language"))
        await self._venice.message(delivery.citizen_id, f"{text.title}\n\n{text.body}")

    async def close(self) -> None:
        """Close all connections to Venice."""
        if self._venice is not None:
            await self._venice.close()


class EmailChannel(OutboxChannel):
    """E-mail.

    Args:
        mailer: None when no mail server is set: then letters wait, visibly.
        texts: the words.
        chain: where transactions can be looked up.
    """

    def __init__(self, mailer: Mailer | None, texts: Texts, chain: Chain) -> None:
        self._mailer = mailer
        self._texts = texts
        self._chain = chain

    async def deliver(self, delivery: OutboxMessage) -> None:
        """Send a letter; its Message-ID is the same at every try."""
        if self._mailer is None:
            raise NotDelivered("CASCADE_SMTP_URL is not set: no mail can be sent")
        ready = delivery.payload.get("text")
        language = delivery.payload.get("language")
        text = Text(**ready) if ready else write(self._texts, delivery.payload, self._chain, language)
        await self._mailer.send(delivery.payload["to"], delivery.reference, text)

    async def close(self) -> None:
        """Do nothing: each letter has a connection of its own."""


class WebhookChannel(OutboxChannel):
    """The platform's endpoints.

    Args:
        webhooks: signs and posts.
        database: holds the endpoints and their secrets.
        disable_after_seconds: an endpoint that has accepted nothing for this long gets nothing any more.
        operator: the address that is told of it; None: it is only logged and shown.
    """

    def __init__(
        self, webhooks: Webhooks, database: AsyncDatabase, *, disable_after_seconds: float, operator: str | None
    ) -> None:
        self._webhooks = webhooks
        self._database = database
        self._disable_after_seconds = disable_after_seconds
        self._operator = operator

    async def deliver(self, delivery: OutboxMessage) -> None:
        """Post an event to an endpoint, signed with each of its secrets."""
        endpoint_id = _endpoint(delivery)
        endpoint = await self._database(lambda connection: webhook_endpoints.by_id(connection, endpoint_id))
        if endpoint is None or endpoint.disabled_at is not None:
            raise DeliveryRefused(f"{endpoint_id} is disabled", Problem.ENDPOINT_DISABLED)
        secrets = await self._database(lambda connection: webhook_endpoints.secrets_of(connection, endpoint_id))
        await self._webhooks.send(endpoint.url, secrets, delivery.reference, delivery.payload)

    def on_delivered(self, connection: Conn, delivery: OutboxMessage) -> None:
        """Note that the endpoint is well."""
        super().on_delivered(connection, delivery)
        webhook_endpoints.note_success(connection, _endpoint(delivery))

    def on_failed(
        self, connection: Conn, delivery: OutboxMessage, error: DeliveryError, pause_seconds: float | None
    ) -> None:
        """Note that the endpoint is not well; after a long time it is left alone, and the operator is told."""
        super().on_failed(connection, delivery, error, pause_seconds)
        endpoint_id = _endpoint(delivery)
        gone = error.problem == Problem.ENDPOINT_DISABLED
        if webhook_endpoints.note_failure(connection, endpoint_id, 0 if gone else self._disable_after_seconds):
            log.error("%s is disabled: %s; see `cascade webhooks list`", endpoint_id, error)
            if self._operator is not None:
                self._write_to_operator(connection, delivery, endpoint_id, self._operator)

    def _write_to_operator(self, connection: Conn, delivery: OutboxMessage, endpoint_id: str, operator: str) -> None:
        body = (
            f"The webhook endpoint {endpoint_id} has accepted nothing for a long time and gets nothing any more.\n"
            "Events are kept for it. When it works again:\n\n"
            f"    cascade webhooks enable {endpoint_id}\n"
            f"    cascade outbox --destination {delivery.destination} --replay\n"
        )
        text = {"title": f"Webhook endpoint {endpoint_id} is disabled", "body": body}
        reference = f"disabled_{endpoint_id}_{delivery.id}_{delivery.attempts}"
        outbox.enqueue(connection, EMAIL, "operator", delivery.order_id, reference, {"to": operator, "text": text})

    async def close(self) -> None:
        """Close all connections."""
        await self._webhooks.close()


def write(texts: Texts, message: Mapping[str, Any], chain: Chain, language: str | None = None) -> Text:
    """Return the words for an event, with a link to the transaction where there is one."""
    data = dict(message["data"])
    data["mailed_to"] = message.get("to")
    data["occurred_at"] = _whole_seconds(message.get("timestamp"))
    payment = data.get("payment")
    if payment:
        on_chain = payment["rail"] == "chain"
        data["payment"] = payment | {
            "transaction_url": chain.transaction_url(payment["transaction"]) if on_chain else None
        }
    return texts.write(EventType(message["type"]), data, language)


def _whole_seconds(timestamp: str | None) -> str | None:
    """Return a message's time as texts take it: without the fraction of its second."""
    return timestamp and f"{timestamp.rstrip('Z').partition('.')[0]}Z"


def _endpoint(delivery: OutboxMessage) -> str:
    endpoint_id = endpoint_of(delivery.destination)
    assert endpoint_id is not None  # noqa: S101 - only webhooks come here
    return endpoint_id
