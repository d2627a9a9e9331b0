"""JSON-RPC over HTTP: questions in one request, answers within bounds of size and time.

An answer is read as a stream: it is given up as soon as it is larger, or takes longer, than it may.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from cascade.errors import NodeUnavailable

Request = tuple[str, list[Any]]
"""A method and its parameters."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_LONGEST_ANSWER = 3
"""How many times the timeout a whole answer may take."""


class Endpoint:
    """A JSON-RPC endpoint.

    Args:
        url: http or https; may hold a key, so no message and no log names it.
        timeout_seconds: for each step of a request; a whole answer may take three times as long.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        # A compressed answer can grow a thousandfold behind any bound on what is received.
        self._client = httpx.Client(timeout=timeout_seconds, headers={"accept-encoding": "identity"})
        self._url = url
        self._longest_seconds = _LONGEST_ANSWER * timeout_seconds

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def batch(self, calls: Sequence[Request]) -> list[Any]:
        """Return results of several calls sent as one request; any missing or failed one fails all."""
        return [result_of(answer, method) for (method, _), answer in zip(calls, self.answers(calls), strict=True)]

    def answers(self, calls: Sequence[Request], *, max_bytes: int = MAX_ANSWER_BYTES) -> list[dict[str, Any] | None]:
        """Return answers to several calls sent as one request, each as it came; None for a missing one.

        Raises:
            NodeUnavailable: there is no usable answer, or it has more than ``max_bytes``.
        """
        body = [
            {"jsonrpc": "2.0", "id": i, "method": method, "params": params} for i, (method, params) in enumerate(calls)
        ]
        answers = self._post(orjson.dumps(body), max_bytes)
        if not isinstance(answers, list):
            raise NodeUnavailable(f"the node answered a batch with {error_text(answers)}")
        by_id = {
            answer["id"]: answer for answer in answers if isinstance(answer, dict) and type(answer.get("id")) is int
        }
        return [by_id.get(i) for i in range(len(calls))]

    def _post(self, body: bytes, max_bytes: int) -> Any:
        headers = {"content-type": "application/json"}
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                content = self._read(response, max_bytes)
        except (httpx.HTTPError, ValueError) as exc:  # its text may hold the URL, and the URL a key
            raise NodeUnavailable(f"the node did not answer: {type(exc).__name__}") from None
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            raise NodeUnavailable("the node's answer is not JSON") from None

    def _read(self, response: httpx.Response, max_bytes: int) -> bytes:
        if response.status_code != httpx.codes.OK:
            raise NodeUnavailable(f"the node answered with HTTP {response.status_code}")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise NodeUnavailable(f"the node's answer is encoded as {encoding[:20]!r}, but identity was asked for")
        until = time.monotonic() + self._longest_seconds
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > max_bytes:
                raise NodeUnavailable(f"the node's answer has more than {max_bytes} bytes")
            if time.monotonic() > until:
                raise NodeUnavailable(f"the node's answer takes longer than {self._longest_seconds:.0f} s")
        return bytes(content)


def result_of(answer: dict[str, Any] | None, asked: str) -> Any:
    """Return the result in an answer; ``asked`` names the question in the error."""
    if answer is None or "result" not in answer:
        raise NodeUnavailable(f"{asked}: {error_text(answer)}")
    return answer["result"]


def quantity(result: Any, asked: str) -> int:
    """Return a number as nodes write it; ``asked`` names the question in the error."""
    try:
        return int(result, 16)
    except (TypeError, ValueError):
        raise NodeUnavailable(f"{asked}: the node gave no number") from None


def hexadecimal(result: Any, asked: str) -> bytes:
    """Return bytes as nodes write them."""
    try:
        return bytes.fromhex(result.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise NodeUnavailable(f"{asked}: the node gave no hexadecimal data") from None


def error_text(answer: Any) -> str:
    """Return what a node objected, bounded. A node repeats there what a contract said, so it can hold any
    characters."""
    error = answer.get("error") if isinstance(answer, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    return f"error {str(message)[:200]!r}" if message else "no answer"
