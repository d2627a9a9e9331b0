"""The HTTP face: who asks, whether it was asked before, what goes wrong, and then the world's answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final

from sandbox.stripe.account import API_VERSION, Account, Cause
from sandbox.stripe.chaos import Chaos
from sandbox.stripe.errors import Broken, Forbidden, Json, StripeRefusal, TooManyRequests, Unauthorized
from sandbox.stripe.form import Parameters, decode
from sandbox.stripe.idempotency import IdempotencyKeys, Kept
from sandbox.stripe.router import World

_CLIENTS_MAY: Final = ("v1/payment_intents/", "v1/payment_methods")
_STEP_SECONDS: Final = 0.02
_NO_KEY: Final = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth"
    " (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
)


@dataclass(frozen=True)
class Call:
    """One HTTP request. Header names are in lower case; `form` is the body, or the query of one without."""

    method: str
    path: str
    form: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """One HTTP answer; `hang_up` resets the connection instead."""

    status: int = 0
    body: Json = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False


class Api:
    """Answers the calls under `/v1`."""

    def __init__(self, world: World, keys: IdempotencyKeys, chaos: Chaos, is_stopping: Callable[[], bool]) -> None:
        self._world = world
        self._account: Account = world.account
        self._keys = keys
        self._chaos = chaos
        self._is_stopping = is_stopping

    def answer(self, call: Call) -> Reply:
        """The answer to a call; what Stripe refuses is an answer too."""
        request_id = self._account.new_id("req", 14)
        headers = {
            "date": formatdate(self._account.now(), usegmt=True),
            "request-id": request_id,
            "stripe-version": call.headers.get("stripe-version", API_VERSION),
        }
        if "idempotency-key" in call.headers:
            headers["idempotency-key"] = call.headers["idempotency-key"]
        try:
            parameters = decode(call.form)
            self._authenticate(call, parameters)
            if self._strikes(self._chaos.rate_limit, call):
                message = "Request rate limit exceeded. You can learn more about rate limits in Stripe's documentation."
                raise TooManyRequests(message, code="rate_limit")
            if self._strikes(self._chaos.reset_before_effect, call):
                return Reply(hang_up=True)
            reply = self._answer_once(call, parameters, request_id)
        except StripeRefusal as refusal:
            reply = Reply(refusal.status, refusal.body)
        return Reply(reply.status, reply.body, headers | reply.headers, reply.hang_up)

    def _answer_once(self, call: Call, parameters: Json, request_id: str) -> Reply:
        key = call.headers.get("idempotency-key") if call.method == "POST" else None
        using = self._keys.using(key, call.path, parameters) if key else nullcontext()
        with using as first:
            if first is not None:
                again = {"idempotent-replayed": "true", "original-request": first.request_id}
                return Reply(first.status, self._with_secret(call, first.body), again)
            if self._chaos.slow_seconds and (call.method == "POST" or not self._chaos.only_posts):
                self._dawdle(self._chaos.slow_seconds)
            with self._account.doing():
                self._world.sessions.expire_due()
            status, body = self._execute(call, parameters, Cause(request_id, key), key)
        if self._strikes(self._chaos.hang_after_effect, call):
            self._dawdle(self._chaos.hang_seconds)
            return Reply(hang_up=True)
        if self._strikes(self._chaos.reset_after_effect, call):
            return Reply(hang_up=True)
        return Reply(status, self._with_secret(call, body))

    def _execute(self, call: Call, parameters: Json, cause: Cause, key: str | None) -> tuple[int, Json]:
        """The effect and the memory of its answer, in one transaction. A refusal that is kept keeps its effect: the
        attempt of a declined card is on record."""
        broken = Broken("An unknown error occurred. (The double was told to fail.)", code=self._chaos.fail_code or None)
        broken.status, broken.type = self._chaos.fail_status, self._chaos.fail_type
        with self._account.doing(cause):
            fails = self._strikes(self._chaos.fail_before_effect, call)
            remembers = broken.status == Broken.status  # anything else is an answer of what stands before Stripe's API
            if fails and not remembers:
                return broken.status, broken.body
            status, body = (broken.status, broken.body) if fails else self._effect(call, parameters)
            fails_late = not fails and self._strikes(self._chaos.fail_after_effect, call)
            if fails_late and remembers:
                status, body = broken.status, broken.body
            if key is not None:
                self._keys.keep(key, call.path, parameters, Kept(status, body, cause.request_id or ""))
        return (broken.status, broken.body) if fails_late else (status, body)

    def _effect(self, call: Call, parameters: Json) -> tuple[int, Json]:
        endpoint, ids = self._world.find(call.method, call.path)
        read = Parameters(parameters)
        expand = read.texts("expand")
        try:
            body = endpoint(read, *ids)
        except StripeRefusal as refusal:
            if not refusal.kept:
                raise
            return refusal.status, refusal.body
        return 200, self._world.expansion.expand(body, expand)

    def _authenticate(self, call: Call, parameters: Json) -> None:
        key = _key_in(call.headers.get("authorization", ""))
        if key is None:
            raise Unauthorized(_NO_KEY)
        account = call.headers.get("stripe-account", self._account.id)
        if _same(key, self._account.secret_key):
            if account != self._account.id:
                raise Forbidden("The provided key does not have access to this account (or that account does not"
                                " exist).", code="account_invalid")  # fmt: skip
        elif _same(key, self._account.publishable_key):
            self._check_client(call, parameters)
        elif key.startswith(("sk_live_", "rk_live_", "pk_live_")):
            raise Unauthorized("This is a double of Stripe in TEST MODE. It takes no live key: keep that one secret.")
        else:
            raise Unauthorized(f"Invalid API Key provided: {key[:8]}{'*' * 12}")

    def _check_client(self, call: Call, parameters: Json) -> None:
        """A payer's own browser may look at and confirm the intent whose secret it holds."""
        path = call.path.strip("/")
        if not path.startswith(_CLIENTS_MAY) or path.endswith("/cancel"):
            raise Forbidden("This API call cannot be made with a publishable API key. Please use a secret API key.",
                            code="secret_key_required")  # fmt: skip
        if path == "v1/payment_methods" and call.method == "POST":
            return
        with self._account.store.transaction():
            intent = self._account.store.get("payment_intent", path.split("/")[2]) if path.count("/") >= 2 else None
        secret = str(parameters.get("client_secret", ""))
        if intent is None or not _same(secret, intent["client_secret"]):
            raise Forbidden("The client_secret provided does not match any associated PaymentIntent.",
                            param="client_secret")  # fmt: skip
        if call.method == "POST" and not path.endswith("/confirm"):
            raise Forbidden("This API call cannot be made with a publishable API key.", code="secret_key_required")

    def _with_secret(self, call: Call, body: Json) -> Json:
        """A webhook endpoint's secret is shown when it is made, and kept nowhere."""
        made = call.method == "POST" and call.path.strip("/") == "v1/webhook_endpoints" and "id" in body
        return body | {"secret": self._world.webhooks.secret_of(body["id"])} if made else body

    def _strikes(self, rate: float, call: Call) -> bool:
        if not rate:
            return False
        with self._account.store.transaction():  # one draw at a time
            return self._chaos.strikes(rate, call.method, call.path)

    def _dawdle(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._is_stopping():
            time.sleep(_STEP_SECONDS)


def _key_in(authorization: str) -> str | None:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer" and rest:
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[0] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _same(given: str, true: str) -> bool:
    return hmac.compare_digest(given.encode(), true.encode())
