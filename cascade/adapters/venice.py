"""VeniceConnector: ducats and messages to citizens of Venice, over its HTTP API.

Venice credits a citizen when it executes a ``transfer_ducats`` stratagem of ``CASCADE_PAYMENT_PROCESSOR``. It makes one
of every request, whether or not it has seen the like before. Some of its answers look fine and mean nothing: lists that
stand in for a database that did not answer carry ``_fallback`` or ``_fallbackError``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx
import simplejson

from cascade.domain.credits import VeniceTransfer, problem_of
from cascade.domain.money import Money
from cascade.errors import DeliveryRefused, NotDelivered

PROCESSOR = "CASCADE_PAYMENT_PROCESSOR"
LOOK_SECONDS = 2.0
"""How long a buyer waits for Venice's word on a citizen's name."""
_MOST_TRANSFERS = 100
"""Venice gives no more in one answer, the newest first. Ours is among the newest: order is kept for each citizen."""
_MOST_BYTES = 4 * 1024 * 1024
_NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL, ValueError)
"""The last two: httpx reads where a redirect leads, though it does not go there."""


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """Ducats for a citizen, as one try asks Venice for them.

    Attributes:
        citizen_id: Venice's username.
        ducats: how many.
        reference: ours; the same at every try.
        number: of this try; a transfer shows which try asked for it.
        order_id: for people to look up.
    """

    citizen_id: str
    ducats: Money
    reference: str
    number: int
    order_id: str

    @property
    def mark(self) -> str:
        """Return what stands in a transfer's notes; closed on both sides, since one reference may begin like
        another."""
        return f"[cascade:{self.reference}#{self.number}]"

    def number_in(self, notes: str) -> int | None:
        """Return which of our tries a transfer's notes name; None when it is not a transfer of this credit."""
        found = re.search(rf"\[cascade:{re.escape(self.reference)}#(\d{{1,9}})\]", notes, re.ASCII)
        return int(found[1]) if found else None


class VeniceConnector:
    """Venice's API, for the workers. One client, many requests at a time.

    Args:
        url: where the API is, without ``/api``.
        timeout_seconds: the longest wait for an answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout_seconds, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def transfers(self, credit: CreditRequest) -> list[VeniceTransfer]:
        """Return all transfers that carry a credit's reference.

        Raises:
            NotDelivered: Venice gave no answer that could be believed; it says nothing about the credit.
        """
        query = {
            "executedBy": PROCESSOR,
            "type": "transfer_ducats",
            "TargetCitizen": credit.citizen_id,
            "limit": str(_MOST_TRANSFERS),
        }
        found: dict[str, VeniceTransfer] = {}
        # What waits to be executed first: it may be executed between the two questions, and is then in the second.
        for status in ({"status": "active"}, {}):
            try:
                answer = await self._ask("GET", "/api/stratagems", params=query | status)
            except DeliveryRefused as exc:  # of a look: it says nothing about the credit
                raise NotDelivered(str(exc)) from None
            for entry in _list(answer, "stratagems", "_fallbackError"):
                number = credit.number_in(str(entry.get("notes", "")))
                if number is not None:
                    found[str(entry.get("stratagemId"))] = _transfer(number, entry)
        return list(found.values())

    async def send(self, credit: CreditRequest) -> None:
        """Ask Venice to credit a citizen. That it answers says nothing: look for the transfer afterwards.

        Raises:
            NotDelivered: it may have happened all the same.
            DeliveryRefused: Venice said that it would not, and why.
        """
        details = {
            "targetCitizenUsername": credit.citizen_id,
            "amount": Decimal(credit.ducats.plain),
            "reason": "Ducats bought from Cascade",
            "name": f"Ducats for {credit.citizen_id}",
            "description": f"{credit.ducats.display()} ducats for order {credit.order_id}",
            "notes": credit.mark,
        }
        body = {"citizenUsername": PROCESSOR, "stratagemType": "transfer_ducats", "stratagemDetails": details}
        await self._ask("POST", "/api/stratagems/try-create", body=body)

    async def message(self, citizen_id: str, content: str) -> None:
        """Send a citizen a message in Venice.

        Raises:
            NotDelivered, DeliveryRefused: as above.
        """
        body = {"sender": PROCESSOR, "receiver": citizen_id, "content": content, "type": "payment"}
        await self._ask("POST", "/api/messages/send", body=body)

    async def _ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None
    ) -> Mapping[str, Any]:
        content = None if body is None else _encode(body)
        headers = {"content-type": "application/json"}
        try:
            async with self._client.stream(method, path, params=params, content=content, headers=headers) as response:
                text = b""
                async for chunk in response.aiter_bytes():
                    text += chunk
                    if len(text) > _MOST_BYTES:
                        raise NotDelivered(f"Venice's answer to {path} has more than {_MOST_BYTES:,} bytes")
        except _NO_ANSWER as exc:
            raise NotDelivered(f"Venice did not answer {path}: {type(exc).__name__}") from None
        return _read(path, response.status_code, text)


class CitizenDirectory:
    """The directory of Venice's citizens, for those who open orders.

    Args:
        url: where the API is, without ``/api``.
    """

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=8)  # a slow Venice must not take all threads of the API
        self._client = httpx.Client(base_url=url, timeout=LOOK_SECONDS, trust_env=False, limits=limits)

    def knows(self, citizen_id: str) -> bool | None:
        """Return whether there is such a citizen; None when Venice gives no answer that can be believed."""
        try:
            response = self._client.get("/api/citizens", params={"Username": citizen_id})
            answer = _read("/api/citizens", response.status_code, response.content)
            citizens = _list(answer, "citizens", "_fallback")
        except (*_NO_ANSWER, NotDelivered, DeliveryRefused):
            return None
        return any(citizen.get("username") == citizen_id for citizen in citizens)


def _encode(body: Any) -> str:
    """Return JSON in which an amount is a number with exactly its digits: no float on our side."""
    return simplejson.dumps(body, use_decimal=True)


def _read(path: str, status: int, text: bytes) -> Mapping[str, Any]:
    """Return an answer of Venice's that can be believed.

    Raises:
        NotDelivered: no such answer: an error of the server, or not what was expected.
        DeliveryRefused: Venice refused, with the problem that it named.
    """
    try:
        answer = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("success"), bool):
        raise NotDelivered(f"Venice answered {path} with {status} and no JSON that says whether it succeeded")
    if status < 300 and answer["success"]:
        return answer
    error = str(answer.get("error", "no reason given"))[:300]
    if status >= 500 or status in (408, 425, 429) or status < 400:
        raise NotDelivered(f"Venice answered {path} with {status}: {error}")
    raise DeliveryRefused(f"Venice refused {path} with {status}: {error}", problem_of(error))


def _list(answer: Mapping[str, Any], name: str, fallback: str) -> list[Mapping[str, Any]]:
    entries = answer.get(name)
    if answer.get(fallback) or not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise NotDelivered(f"Venice's list of {name} stands in for one that it could not read: it says nothing")
    return entries


def _transfer(number: int, entry: Mapping[str, Any]) -> VeniceTransfer:
    """Return a transfer; its notes are JSON with lines of text behind it."""
    notes = str(entry.get("notes", ""))
    amount, end = None, 0
    try:
        details, end = json.JSONDecoder(parse_float=Decimal).raw_decode(notes)
        amount = Decimal(str(details["amount"]))
    except (ValueError, KeyError, TypeError, InvalidOperation):
        pass  # an amount that cannot be read is never the right one
    lines = notes[end:]
    _, failed, error = lines.rpartition("[ERROR]")
    times = lines.count("Successfully transferred")
    return VeniceTransfer(number, str(entry.get("status")), amount, times, error.strip()[:300] if failed else "")
