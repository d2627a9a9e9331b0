"""A JSON-RPC client for a node in the box, and the few words of ABI that the box speaks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import httpx
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

_RECEIPT_POLL_SECONDS = 0.005
_PLENTY_OF_GAS = 15_000_000


class NodeError(Exception):
    """The node answered with a JSON-RPC error, or a transaction that must succeed did not."""


class Rpc:
    """Speaks JSON-RPC to one node. Safe to share between threads.

    `timeout_seconds` bounds one request; a state dump of a long-lived chain is the slowest of them.
    """

    def __init__(self, url: str, timeout_seconds: float = 60.0) -> None:
        self.url = url
        self._ids = itertools.count(1)
        # The box is on this machine: a proxy from the environment would only stand in between.
        self._http = httpx.Client(timeout=timeout_seconds, trust_env=False)

    def __call__(self, method: str, *params: Any) -> Any:
        """Returns the result of `method`.

        Raises NodeError when the node refuses, httpx.HTTPError when it does not answer.
        """
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        answer = self._http.post(self.url, json=request).json()
        if "error" in answer:
            raise NodeError(f"{method} was refused by the node at {self.url}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        self._http.close()

    def code(self, address: str) -> bytes:
        return bytes.fromhex(self("eth_getCode", address, "latest")[2:])

    def call(self, to: str, signature: str, *args: Any, returns: str) -> Any:
        """Reads one value from a contract, e.g. `call(token, "balanceOf(address)", holder, returns="uint256")`."""
        answer = self("eth_call", {"to": to, "data": "0x" + calldata(signature, *args).hex()}, "latest")
        return decode([returns], bytes.fromhex(answer[2:]))[0]

    def receipt(self, transaction_hash: str, timeout_seconds: float = 30.0) -> dict[str, Any]:
        """Waits for a transaction and returns its receipt.

        Raises NodeError when it reverted or was not mined in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            receipt: dict[str, Any] | None = self("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                if receipt["status"] != "0x1":
                    raise NodeError(f"{transaction_hash} from {receipt['from']} to {receipt['to']} reverted")
                return receipt
            time.sleep(_RECEIPT_POLL_SECONDS)
        raise NodeError(f"transaction {transaction_hash} was not mined within {timeout_seconds} s; is the node mining?")

    def submit(self, sender: str, to: str, data: bytes) -> str:
        """Sends a transaction from an account that the node unlocks, and returns its hash without waiting."""
        transaction = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(_PLENTY_OF_GAS)}
        transaction_hash: str = self("eth_sendTransaction", transaction)
        return transaction_hash

    def submit_as(self, sender: str, to: str, data: bytes) -> str:
        """Like `submit`, from an address whose key nobody holds: the node impersonates it for this one transaction."""
        self("anvil_setBalance", sender, hex(10**20))
        self("anvil_impersonateAccount", sender)
        try:
            return self.submit(sender, to, data)
        finally:
            self("anvil_stopImpersonatingAccount", sender)


def calldata(signature: str, *args: Any) -> bytes:
    """Encodes a call: `calldata("mint(address,uint256)", to, units)`. Tuples as parameters are not understood."""
    return keccak(text=signature)[:4] + encode(parameter_types(signature), args)


def parameter_types(signature: str) -> Sequence[str]:
    inside = signature[signature.index("(") + 1 : -1]
    return inside.split(",") if inside else []


def word(value: str | int) -> str:
    """One 32-byte storage word, for an address or a number."""
    number = int(value, 16) if isinstance(value, str) else value
    return f"0x{number:064x}"
