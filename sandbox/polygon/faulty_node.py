"""A JSON-RPC proxy that stands before an honest node and misbehaves on demand.

Every switch is a fault that a public Polygon endpoint has shown, or that one could show. They are set while the
proxy runs, one by one or together:

    with FaultyNode(chain.rpc_url) as node:
        client = connect(node.url)
        node.faults.backends_behind = 5
        ...
        node.faults = Faults()      # well again

What is random takes the proxy's seed; what can be counted is counted, so that a test behaves the same every time.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

import httpx

from sandbox.polygon.faults import POA_EXTRA_DATA, Backend, Faults, Json, Sending, alter_result, refusal, rewritten

__all__ = ["POA_EXTRA_DATA", "Faults", "FaultyNode"]

_NO_HASH = "0x" + "00" * 32
_SLOW_STEP_SECONDS = 0.01


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes


class FaultyNode:
    """The proxy, on a free port of 127.0.0.1. `faults` holds its switches, `calls` counts requests by method."""

    def __init__(self, upstream_url: str, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        self._upstream: Final = httpx.Client(base_url=upstream_url, timeout=60, trust_env=False)
        self._random = random.Random(seed)
        self._requests = 0
        self._clock = clock
        self._second = (0, 0)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stops the proxy; the node behind it goes on. May be called twice."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._upstream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self, body: bytes) -> _Answer | None:
        """The answer to one HTTP request; None to hang up without one."""
        faults = self.faults
        document = json.loads(body)
        requests: list[Json] = document if isinstance(document, list) else [document]
        with self._lock:
            self._requests += 1
            turn = self._requests
            self.calls.update(request["method"] for request in requests)
            struck = self._random.random() < faults.http_error_rate
            over_limit = self._is_over_limit(faults)
        if faults.answers_after_seconds:
            self._dawdle(faults.answers_after_seconds)
        if faults.hangs_up:
            return None
        if struck:
            return _Answer(faults.http_error_status, b"the endpoint is having a bad day")
        if over_limit:
            return _Answer(429, b"too many requests in this second")
        behind = faults.backends_behind if turn % 2 == 0 else 0
        answers = self._answer_all(requests, faults, behind)
        if isinstance(document, list):
            return _Answer(200, json.dumps(self._disturb_batch(answers, faults)).encode())
        return _Answer(200, json.dumps(answers[0]).encode())

    def _is_over_limit(self, faults: Faults) -> bool:
        """Count one request in the second of the clock that it came in."""
        second, count = int(self._clock()), 0
        if self._second[0] == second:
            count = self._second[1]
        self._second = (second, count + 1)
        return faults.requests_per_second is not None and count >= faults.requests_per_second

    def _answer_all(self, requests: list[Json], faults: Faults, behind: int) -> list[Json]:
        backend = Backend(self._ask, behind)
        answers = []
        for request in requests:
            with self._lock:
                struck = self._random.random() < faults.rpc_error_rate
            error = faults.rpc_error if struck else refusal(request, faults, backend)
            answer: Json = {"jsonrpc": "2.0", "id": request.get("id")}
            if error is not None:
                answers.append(answer | {"error": error})
                continue
            if request["method"] == "eth_sendRawTransaction" and faults.sending is not None:
                answers.append(answer | self._send(request, faults.sending))
                continue
            reply = backend.ask(rewritten(request, faults, backend))
            if "result" in reply:
                reply["result"] = alter_result(request, reply["result"], faults)
            answers.append(answer | {key: reply[key] for key in ("result", "error") if key in reply})
        return answers

    def _send(self, request: Json, sending: Sending) -> Json:
        if sending is Sending.TAKEN_WITHOUT_ANSWER:
            self._ask(request["method"], request["params"])
            return {"error": {"code": -32000, "message": "request timed out"}}
        if sending is Sending.DROPPED:
            return {"result": _NO_HASH}
        return {"error": {"code": -32000, "message": "transaction underpriced"}}

    def _disturb_batch(self, answers: list[Json], faults: Faults) -> list[Json]:
        if faults.drops_batch_member and len(answers) > 1:
            with self._lock:
                del answers[self._random.randrange(len(answers))]
        if faults.shuffles_batches:
            # Reversed and not drawn by lot: a draw may leave everything in its place.
            answers.reverse()
        return answers

    def _ask(self, method: str, params: list[Any]) -> Json:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer: Json = self._upstream.post("", json=request).json()
        return answer

    def _dawdle(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopping.wait(_SLOW_STEP_SECONDS):
            pass


def _handler_for(node: FaultyNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # clients keep their connections, as with a real endpoint
        disable_nagle_algorithm = True

        def do_POST(self) -> None:  # the name is http.server's
            answer = node._answer(self.rfile.read(int(self.headers["Content-Length"])))
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.body)))
            if answer.status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None:
            """Says nothing: a test's output is its own."""

    return Handler
