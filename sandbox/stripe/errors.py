"""What the double refuses, in the words and shape of Stripe's error objects.

StripeRefusal                 any answer that is not 2xx
├── InvalidRequest   400      a parameter is missing, unknown or out of range: nothing was begun
├── Unauthorized     401      no key, or not ours
├── Forbidden        403      the key may not do this
├── CardDeclined     402      the bank or the double's card said no; the attempt is on record
├── NoSuchObject     404      an id that does not exist
├── WrongState       400      the object's state forbids it
├── KeyReused        400      an idempotency key with other parameters
├── KeyInUse         409      an idempotency key whose first request has not ended
├── TooManyRequests  429      chaos
└── Broken           500      chaos
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class StripeRefusal(Exception):
    """An answer that is not 2xx. `kept` says whether an idempotency key remembers it."""

    status = 400
    type = "invalid_request_error"
    kept = True

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None, **more: Any) -> None:
        super().__init__(message)
        self.message = message
        self._more = {
            name: value for name, value in {"code": code, "param": param, **more}.items() if value is not None
        }

    @property
    def body(self) -> Json:
        """The whole answer: `{"error": {...}}`."""
        return {"error": {"message": self.message, "type": self.type, **self._more}}


class InvalidRequest(StripeRefusal):
    """Refused before anything was begun, so that a corrected request may use the same idempotency key."""

    kept = False


class Unauthorized(StripeRefusal):
    """No key, or not ours."""

    status = 401
    kept = False


class Forbidden(StripeRefusal):
    """The key is known but may not do this."""

    status = 403
    kept = False


class CardDeclined(StripeRefusal):
    """The bank said no; the attempt is on record, and the idempotency key remembers the answer."""

    status = 402
    type = "card_error"


class NoSuchObject(StripeRefusal):
    """An id that does not exist."""

    status = 404

    def __init__(self, kind: str, object_id: str, param: str = "id") -> None:
        super().__init__(f"No such {kind}: '{object_id}'", code="resource_missing", param=param)


class WrongState(StripeRefusal):
    """The object's state, or what is left of its amount, forbids it."""


class KeyReused(StripeRefusal):
    """An idempotency key with other parameters, or for another endpoint."""

    type = "idempotency_error"
    kept = False


class KeyInUse(StripeRefusal):
    """An idempotency key whose first request has not ended."""

    status = 409
    type = "idempotency_error"
    kept = False


class TooManyRequests(StripeRefusal):
    """The rate limit."""

    status = 429
    kept = False


class Broken(StripeRefusal):
    """Something went wrong on Stripe's end."""

    status = 500
    type = "api_error"
