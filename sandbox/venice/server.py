"""The HTTP server: the standard library's, a thread for each connection, on 127.0.0.1 only."""

from __future__ import annotations

import contextlib
import inspect
import json
import socket
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from sandbox.venice.chaos import Chaos
from sandbox.venice.metrics import PATHS, CityMetrics, told
from sandbox.venice.page import page
from sandbox.venice.state import MOST_LISTED, Refusal, Transfer, VeniceState

_HOSTS: Final = ("127.0.0.1", "localhost")
_MOST_BYTES: Final = 1_000_000
_SAMPLES: Final = ("compagno", "marco_polo", "doge_venice")
_TEXTS: Final = ("reason", "name", "description", "notes")
_DETAILS: Final = ("targetCitizenUsername", "amount", *_TEXTS)
_FIELDS: Final = {"executedBy": "ExecutedBy", "type": "Type", "status": "Status"}
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Answer:
    """What is sent back; without a body the connection ends without a word, if it `hangs` once the client gave up."""

    status: int
    body: dict[str, Any] | str | None
    hangs: bool = False


class Doors:
    """What is answered where."""

    def __init__(
        self, city: VeniceState, chaos: Chaos, mood: CityMetrics, control: object, verbs: Sequence[str]
    ) -> None:
        self._city = city
        self._chaos = chaos
        self._mood = mood
        self._control = control
        self._verbs = verbs
        self.over = threading.Event()

    def answer(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        """One request."""
        url = urlsplit(target)
        if url.path.startswith("/_double/"):
            return self._controlled(method, url.path.removeprefix("/_double/"), body, headers)
        if (method, url.path) == ("GET", "/"):
            return Answer(200, page(self._city))
        self.over.wait(self._chaos.slow_seconds)
        if self._chaos.strikes(self._chaos.error_rate):
            return _refused(500, "Internal server error")
        query = dict(parse_qsl(url.query))
        match method, url.path:
            case "GET", "/api/health":
                return Answer(200, {"status": "healthy"})
            case "GET", "/api/citizens":
                return self._citizens(query)
            case "GET", "/api/stratagems":
                return self._stratagems(query)
            case "GET", path if path in PATHS:
                return Answer(200, told(path, self._mood, len(self._city.purses()), self._chaos))
            case "POST", "/api/stratagems/try-create":
                return self._try_create(body)
            case "POST", "/api/messages/send":
                return self._send_message(body)
        return _refused(404, "Not found")

    def _citizens(self, query: dict[str, str]) -> Answer:
        if self._chaos.strikes(self._chaos.fallback_rate):
            samples = [{"username": name, "ducats": 1000.0, "inVenice": True} for name in _SAMPLES]
            return Answer(200, {"success": True, "citizens": samples, "_fallback": True})
        username = query.get("Username", "")
        ducats = self._city.purse(username)
        found = [] if ducats is None else [{"username": username, "ducats": float(ducats), "inVenice": True}]
        return Answer(200, {"success": True, "citizens": found})

    def _stratagems(self, query: dict[str, str]) -> Answer:
        if self._chaos.strikes(self._chaos.fallback_rate):
            return _replaced("Airtable could not process the request formula.")
        limit = query.pop("limit", str(MOST_LISTED))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            return _refused(400, "limit must be a number")
        wanted = {_FIELDS.get(name, name): value for name, value in query.items()}
        try:
            return Answer(200, {"success": True, "stratagems": self._city.stratagems(wanted, int(limit))})
        except Refusal as refusal:  # a field that its table lacks is to Venice as if the database were down
            return _replaced(str(refusal))

    def _try_create(self, body: bytes) -> Answer:
        wish = _json(body)
        details = wish.get("stratagemDetails", {}) if wish else None
        if wish is None or not isinstance(wish.get("citizenUsername"), str) or not isinstance(details, dict):
            return _refused(400, "Invalid request payload")
        if wish.get("stratagemType") != "transfer_ducats":
            return _refused(400, f"Unknown stratagem type: {wish.get('stratagemType')}")
        for name in details:
            if name not in _DETAILS:
                return _refused(400, f'Unknown field name: "{name}"')
        if not all(isinstance(details.get(name), str | None) for name in _TEXTS):
            return _refused(400, "Invalid request payload")
        return self._create(wish["citizenUsername"], details)

    def _create(self, sender: str, details: dict[str, Any]) -> Answer:
        chaos = self._chaos
        if chaos.strikes(chaos.unknown_field_rate):
            return _refused(422, 'Unknown field name: "InfluenceCost"')
        if chaos.strikes(chaos.hang_before_rate):
            return Answer(0, None, hangs=True)
        if chaos.strikes(chaos.forget_rate):
            return _made("transfer_ducats_forgotten")
        if chaos.strikes(chaos.late_effect_rate):
            threading.Thread(target=self._create_late, args=(sender, details), daemon=True).start()
            return _refused(504, "Python engine request timed out for transfer_ducats.")
        try:
            times = 2 if chaos.strikes(chaos.duplicate_request_rate) else 1
            made = self._city.create(sender, details, times)
        except Refusal as refusal:
            return _refused(400, str(refusal))
        return self._answer_made(made)

    def _answer_made(self, made: str) -> Answer:
        chaos = self._chaos
        if chaos.strikes(chaos.hang_rate):
            return Answer(0, None, hangs=True)
        if chaos.strikes(chaos.lost_answer_rate):
            return Answer(0, None)
        if chaos.strikes(chaos.error_after_effect_rate):
            return _refused(500, "Internal server error")
        if chaos.strikes(chaos.malformed_rate):
            return Answer(200, "<!doctype html><title>Venice</title><p>Welcome to Venice.")
        return _made(made)

    def _create_late(self, sender: str, details: dict[str, Any]) -> None:
        if self.over.wait(self._chaos.late_effect_seconds):
            return
        with contextlib.suppress(Refusal, sqlite3.ProgrammingError):  # nobody hears it; the books may be closed by now
            self._city.create(sender, details)

    def _send_message(self, body: bytes) -> Answer:
        wish = _json(body) or {}
        sender, receiver, content = (str(wish.get(name) or "") for name in ("sender", "receiver", "content"))
        if not (sender and receiver and content):
            return _refused(400, "Sender, receiver, and content are required")
        message = self._city.send_message(sender, receiver, content, str(wish.get("type", "message")))
        return Answer(200, {"success": True, "message": message})

    def _controlled(self, method: str, verb: str, body: bytes, headers: dict[str, str]) -> Answer:
        if (method, verb) == ("GET", "state"):
            city = self._city
            state = {"balances": city.purses(), "transfers": city.transfers(), "messages": city.messages(),
                     "notifications": city.notifications()}  # fmt: skip
            return Answer(200, _exact(state))
        if method != "POST" or verb not in self._verbs:
            return Answer(404, {"error": f"no such verb; there are {', '.join(self._verbs)}"})
        if headers.get("content-type", "").split(";")[0] != "application/json":
            # No page of a stranger can send this type here without asking first.
            return Answer(415, {"error": "send application/json"})
        act = getattr(self._control, verb)
        try:
            arguments = json.loads(body or b"{}", parse_float=Decimal)
            inspect.signature(act).bind(**arguments)
            return Answer(200, _exact({"result": act(**arguments)}))
        except (TypeError, ValueError, ArithmeticError, sqlite3.Error) as error:
            return Answer(400, {"error": str(error)})


class Server:
    """Serves until it is stopped."""

    def __init__(
        self, port: int, city: VeniceState, chaos: Chaos, mood: CityMetrics, control: object, verbs: Sequence[str]
    ) -> None:
        self._doors = Doors(city, chaos, mood, control, verbs)
        self._server = _Listener(("127.0.0.1", port), _handler(self._doors))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="venice double", daemon=True
        )

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; may be called twice."""
        self._doors.over.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _handler(doors: Doors) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or an answer on a kept connection waits 40 ms between its head and its body

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(min(int(headers.get("content-length", "0")), _MOST_BYTES))
            if headers.get("host", "").partition(":")[0] not in _HOSTS:  # a foreign page that resolves its name to us
                answer = _refused(421, "This is a double, for this machine only")
            else:
                answer = doors.answer(self.command, self.path, body, headers)
            if answer.body is None:
                while answer.hangs and not doors.over.wait(_LOOK_SECONDS) and not _is_gone(self.connection):
                    pass
                self.close_connection = True
                return
            is_page = isinstance(answer.body, str)
            text = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
            self.send_response(answer.status)
            self.send_header("content-type", "text/html; charset=utf-8" if is_page else "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _is_gone(client: socket.socket) -> bool:
    try:
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _exact(result: dict[str, Any]) -> dict[str, Any]:
    """What the hand of the test sees, amounts as strings so that nothing is rounded."""

    def plain(value: object) -> object:
        return vars(value) if isinstance(value, Transfer) else str(value)

    exact: dict[str, Any] = json.loads(json.dumps(result, default=plain))
    return exact


def _replaced(error: str) -> Answer:
    return Answer(200, {"success": True, "stratagems": [], "_fallbackError": True, "error": error})


def _made(name: str) -> Answer:
    return Answer(200, {"success": True, "message": "Stratagem created", "stratagemId": name})


def _refused(status: int, error: str) -> Answer:
    return Answer(status, {"success": False, "error": error})


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        wish = json.loads(body, parse_float=Decimal)
    except ValueError:
        return None
    return wish if isinstance(wish, dict) else None
