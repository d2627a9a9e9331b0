"""Checks of Stripe, Venice and the mail server. Nothing is bought, credited or sent."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from cascade import bootstrap
from cascade.adapters.venice import PROCESSOR, CitizenDirectory
from cascade.app import App
from cascade.domain.card_payments import EVENT_TYPES
from cascade.errors import DeliveryError, SettingsError
from cascade.readiness.findings import Finding, clock, error, ok, warning

_SECONDS: Final = 5.0
_STRIPE: Final = "https://api.stripe.com"
_WEBHOOK_PATH: Final = "/api/payments/webhook"
_DASHBOARD: Final = "in Stripe's Dashboard, as docs/operations.md says"


def stripe(app: App) -> list[Finding]:
    """Look whether Stripe takes the key, tells events, and knows our webhook."""
    settings = app.settings
    if settings.stripe_secret_key is None:
        return [ok("Stripe", "none: cards are not taken")]
    key = settings.stripe_secret_key.get_secret_value()
    try:
        with httpx.Client(
            base_url=settings.stripe_api_base or _STRIPE,
            headers={"authorization": f"Bearer {key}"},
            timeout=_SECONDS,
            trust_env=False,
        ) as client:
            begun = time.time()
            events = client.get("/v1/events", params={"limit": "1"})
            found = [_key(events, test_mode="_live_" not in key)]
            if events.status_code != 401:
                found += [*_stripe_clock(events, begun), _webhook(app, client)]
            return found
    except httpx.HTTPError as cause:
        text = f"api.stripe.com gives no answer: {type(cause).__name__}"
        return [error("Stripe", text, "look at the network, the firewall and status.stripe.com")]


def venice(app: App) -> list[Finding]:
    """Look whether Venice answers, and knows who credits ducats."""
    url = app.settings.venice_url
    if url is None:
        return [ok("Venice", "none: our own ledger keeps the purses")]
    known = CitizenDirectory(url).knows(PROCESSOR)
    if known is None:
        return [error("Venice", f"{url} gives no answer that can be believed", "correct CASCADE_VENICE_URL, or wait")]
    if not known:
        return [error("Venice", f"it knows no citizen {PROCESSOR}", "let Venice make that citizen, with enough ducats")]
    return [ok("Venice", f"knows {PROCESSOR}, who credits ducats")]


def mail(app: App) -> list[Finding]:
    """Look whether the mail server lets us in; no letter is sent."""
    try:
        mailer = bootstrap.mailer(app.settings, timeout_seconds=_SECONDS)
        if mailer is None:
            return [ok("mail", "none: no receipts by e-mail")]
        asyncio.run(mailer.try_login())
    except (SettingsError, DeliveryError) as cause:
        return [error("mail", str(cause), "correct CASCADE_SMTP_URL, or look at the mail server")]
    return [ok("mail", "the server lets us in")]


def _key(events: httpx.Response, *, test_mode: bool) -> Finding:
    if events.status_code == 401:
        return error("Stripe", "it does not know the key", f"set STRIPE_SECRET_KEY to a key that you make {_DASHBOARD}")
    if events.status_code == 403:
        return error("Stripe", "the restricted key may not read events", f"let it, {_DASHBOARD}")
    if events.status_code != 200:
        return error("Stripe", f"it answers {events.status_code}", "look at status.stripe.com and try again")
    if test_mode:
        remedy = "before the first sale set a live key: ducats are credited for test cards"
        return warning("Stripe", "the key is valid, in test mode", remedy)
    return ok("Stripe", "the key is valid, in live mode")


def _stripe_clock(answer: httpx.Response, begun: float) -> list[Finding]:
    try:
        theirs: datetime = parsedate_to_datetime(answer.headers.get("date", ""))
    except (TypeError, ValueError):
        return []
    return [clock("Stripe", theirs.timestamp() - begun)]


def _webhook(app: App, client: httpx.Client) -> Finding:
    url = f"{app.settings.base_url}{_WEBHOOK_PATH}"
    answer = client.get("/v1/webhook_endpoints", params={"limit": "100"})
    remedy = f"add an endpoint for {url} {_DASHBOARD}; until then payments are found once a minute"
    if answer.status_code in (401, 403):
        return warning("Stripe's webhook", "the restricted key may not see endpoints", f"look yourself; {remedy}")
    if answer.status_code != 200:
        return warning("Stripe's webhook", f"the list of endpoints answers {answer.status_code}", remedy)
    listed: list[dict[str, Any]] = [one for one in answer.json().get("data", []) if one.get("url") == url]
    if not listed:
        return warning("Stripe's webhook", f"no endpoint is registered for {url}", remedy)
    if all(one.get("status") != "enabled" for one in listed):
        return warning("Stripe's webhook", f"the endpoint for {url} is disabled", f"enable it {_DASHBOARD}")
    heard = {event for one in listed if one.get("status") == "enabled" for event in one.get("enabled_events", [])}
    missing = [] if "*" in heard else sorted(set(EVENT_TYPES) - heard)
    if missing:
        text = f"the endpoint for {url} lacks {len(missing)} events, such as {missing[0]}"
        return warning("Stripe's webhook", text, f"add {', '.join(missing)} {_DASHBOARD}")
    return ok("Stripe's webhook", f"registered for {url}, with every event that is needed")
