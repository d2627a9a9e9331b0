"""A double of Safe's transaction service: the few requests that ape-safe makes, in the service's words."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_keys.datatypes import Signature

_NO_ONE = "0x" + "00" * 20


class SafeService:
    """Keeps what was posted. `owners` and `threshold` are the Safe's."""

    def __init__(self, safe: str, owners: list[str], threshold: int) -> None:
        self.safe, self.owners, self.threshold = safe, owners, threshold
        self.proposals: dict[str, dict[str, Any]] = {}
        self.posted = 0

    def get(self, path: str) -> dict[str, Any] | None:
        match path.split("?")[0].strip("/").split("/"):
            case ["v1", "safes", _]:
                return {
                    "address": self.safe,
                    "nonce": 0,
                    "threshold": self.threshold,
                    "owners": self.owners,
                    "masterCopy": _NO_ONE,
                    "fallbackHandler": _NO_ONE,
                    "guard": _NO_ONE,
                    "version": "1.4.1",
                }
            case ["v1", "safes", _, "multisig-transactions"]:
                newest_first = sorted(self.proposals.values(), key=lambda proposal: -proposal["nonce"])
                return {"results": newest_first, "next": None}
            case ["v2", "multisig-transactions", safe_tx_hash]:
                return self.proposals.get(safe_tx_hash)
        return None

    def post(self, path: str, body: dict[str, Any]) -> None:
        self.posted += 1
        match path.strip("/").split("/"):
            case ["v2", "safes", _, "multisig-transactions"]:
                proposal = body | {"isExecuted": False, "confirmations": []}
                self.proposals[body["contractTransactionHash"]] = proposal
                self._confirm(body["contractTransactionHash"], body["signature"])
            case ["v1", "multisig-transactions", safe_tx_hash, "confirmations"]:
                self._confirm(safe_tx_hash, body["signature"])

    def _confirm(self, safe_tx_hash: str, signatures: str) -> None:
        raw = bytes.fromhex(signatures.removeprefix("0x"))
        for one in (raw[at : at + 65] for at in range(0, len(raw), 65)):
            key = Signature(one[:64] + bytes([one[64] - 27])).recover_public_key_from_msg_hash(
                bytes.fromhex(safe_tx_hash[2:])
            )
            self.proposals[safe_tx_hash]["confirmations"].append(
                {
                    "owner": key.to_checksum_address(),
                    "submissionDate": "2026-01-01T00:00:00Z",
                    "signature": "0x" + one.hex(),
                    "signatureType": "EOA",
                }
            )


@contextmanager
def serving(service: SafeService) -> Iterator[str]:
    """The URL at which the double answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = service.get(self.path)
            self._answer(404 if found is None else 200, found or {"detail": "Not found."})

        def do_POST(self) -> None:
            service.post(self.path, json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._answer(201, {})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
