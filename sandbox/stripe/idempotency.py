"""Idempotency keys as documented: the first result is kept for 24 hours and given again, a 500 included.

A request that was refused before it began (a parameter that is missing, a key in use, a rate limit) leaves no trace, so
that its key is free. The parameters are kept as a fingerprint only, and never the number of a card.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sandbox.stripe.account import Account
from sandbox.stripe.errors import InvalidRequest, Json, KeyInUse, KeyReused

KEPT_SECONDS: Final = 24 * 3600
_LONGEST_KEY: Final = 255
_SECRETS: Final = ("number", "cvc", "exp_month", "exp_year")


@dataclass(frozen=True)
class Kept:
    """The first result of a key."""

    status: int
    body: Json
    request_id: str


class IdempotencyKeys:
    """The keys of one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._in_use: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def using(self, key: str, path: str, parameters: Json) -> Iterator[Kept | None]:
        """The first result if the key was used before; None the first time.

        Raises `KeyReused` if it was used for something else, `KeyInUse` while its first request is under way,
        `InvalidRequest` for a key of more than 255 characters.
        """
        if len(key) > _LONGEST_KEY:
            raise InvalidRequest(f"Idempotency keys have up to {_LONGEST_KEY} characters.")
        with self._lock:
            if key in self._in_use:
                raise KeyInUse(
                    "There is currently another in-progress request using this Idempotent Key (that probably means you"
                    f" submitted twice, and the other request is still going through): {key}. Please try again later.",
                    code="idempotency_key_in_use",
                )
            self._in_use.add(key)
        try:
            yield self._first_result(key, path, parameters)
        finally:
            with self._lock:
                self._in_use.discard(key)

    def keep(self, key: str, path: str, parameters: Json, kept: Kept) -> None:
        """Remembers the first result, in the transaction that brought it about."""
        self._account.store.execute(
            "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)",
            key, _fingerprint(path, parameters), kept.status, json.dumps(kept.body), kept.request_id,
            self._account.now(),
        )  # fmt: skip

    def _first_result(self, key: str, path: str, parameters: Json) -> Kept | None:
        with self._account.store.transaction():
            self._account.store.execute(
                "DELETE FROM idempotency_keys WHERE used_at <= ?", self._account.now() - KEPT_SECONDS
            )  # fmt: skip
            rows = self._account.store.execute("SELECT * FROM idempotency_keys WHERE key = ?", key)
        if not rows:
            return None
        if rows[0]["fingerprint"] != _fingerprint(path, parameters):
            raise KeyReused("Keys for idempotent requests can only be used with the same parameters they were first"
                            f" used with. Try using a key other than '{key}' if you meant to execute a different"
                            " request.")  # fmt: skip
        return Kept(rows[0]["status"], json.loads(rows[0]["body"]), rows[0]["request_id"])


def _fingerprint(path: str, parameters: Json) -> str:
    text = json.dumps([path, _without_secrets(parameters)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_secrets(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: str(member)[-4:] if name == "number" else None if name in _SECRETS else _without_secrets(member)
        for name, member in value.items()
    }
