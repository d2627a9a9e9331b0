"""Give the routes what they depend on."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from api.request_limits import StreamLimiter
from api.streams.hub import Hub
from cascade.app import App
from cascade.db import api_keys
from cascade.db.api_keys import Scope
from cascade.errors import NotPayable
from cascade.services.card_checkout import CardCheckout
from cascade.services.signed_payments import SignedPayments
from cascade.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="CASCADE_API_KEY")


def _cascade(request: Request) -> App:
    app: App = request.app.state.app
    return app


System = Annotated[App, Depends(_cascade)]


def _cards(app: System) -> CardCheckout:
    if app.card is None:
        raise NotPayable("Cards are not taken here. The operator takes them by setting STRIPE_SECRET_KEY.")
    return app.card


Cards = Annotated[CardCheckout, Depends(_cards)]


def _gasless(app: System) -> SignedPayments:
    if app.signed_payments is None:
        raise NotPayable(
            "Payments are not sent for their payers here. The operator does it by setting CASCADE_RELAYER_KEYSTORE or"
            " CASCADE_RELAYER_KEY."
        )
    return app.signed_payments


Relayed = Annotated[SignedPayments, Depends(_gasless)]


def _room(request: Request) -> StreamLimiter:
    room: StreamLimiter = request.app.state.room
    return room


def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


StreamRoom = Annotated[StreamLimiter, Depends(_room)]
StreamHub = Annotated[Hub, Depends(_hub)]


def _is_platform(settings: Settings, given: str) -> bool:
    """Return whether this is the platform's own key; never, where the operator has set none."""
    key = settings.api_key
    return key is not None and hmac.compare_digest(given.encode(), key.get_secret_value().encode())


def may_ask_for_citizens(
    app: System, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let only the platform's server see what is a citizen's own, unless the operator opened it to all.

    Raises:
        HTTPException: 401 without the right key, 403 when the operator has set none.
    """
    settings = app.settings
    if settings.public_balances:
        return
    if settings.api_key is None:
        raise HTTPException(403, "What is a citizen's own is closed. The operator opens it by setting CASCADE_API_KEY.")
    given = credentials.credentials if credentials else ""
    if not _is_platform(settings, given):
        raise HTTPException(
            401, "This needs the platform's key: Authorization: Bearer ...", {"www-authenticate": "Bearer"}
        )


_key = HTTPBearer(auto_error=False, scheme_name="key", description="A key made by `cascade keys add`, by its scope")


def _holder(app: App, credentials: HTTPAuthorizationCredentials | None, scope: Scope) -> str | None:
    """Return the name of the key that was given, if it may do what the scope says."""
    if credentials is None:
        return None
    with app.database.transaction() as connection:
        return api_keys.holder(connection, credentials.credentials, scope)


def _signal_source(app: System, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_key)]) -> str:
    """Return the name of the key that reports signals.

    Raises:
        HTTPException: 401 without a key of that scope.
    """
    name = _holder(app, credentials, Scope.SIGNALS)
    if name is not None:
        return name
    raise HTTPException(
        401, "This needs a key with the scope signals: Authorization: Bearer ...", {"www-authenticate": "Bearer"}
    )


SignalSource = Annotated[str, Depends(_signal_source)]


def may_make_links(app: System, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_key)]) -> None:
    """Let only the platform's server, and keys that were made for it, see and make payment links.

    Raises:
        HTTPException: 401 without such a key.
    """
    if credentials is not None and _is_platform(app.settings, credentials.credentials):
        return
    if _holder(app, credentials, Scope.LINKS) is None:
        raise HTTPException(
            401,
            "This needs a key with the scope links, or the platform's: Authorization: Bearer ...",
            {"www-authenticate": "Bearer"},
        )
