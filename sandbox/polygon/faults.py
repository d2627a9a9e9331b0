"""The faults of a `FaultyNode`: what can go wrong, and what a JSON-RPC answer looks like when it does."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

Json = dict[str, Any]

POA_EXTRA_DATA: Final = "0x" + "d8" * 32 + "5e" * 65
"""97 bytes, as in a header that a Polygon validator sealed; Ethereum's own limit is 32."""
_WRONG_HASH: Final = "0x" + "bad0" * 16


class Sending(Enum):
    """What can happen to a transaction that is handed to a node."""

    TAKEN_WITHOUT_ANSWER = "the node takes it, but its answer is lost"
    DROPPED = "the node says that it has it, and forgets it"
    REFUSED = "the node refuses it"


@dataclass
class Faults:
    """Switches; everything is off at first. A member may be set while requests are under way."""

    poa_headers: bool = False
    """Headers carry 97 bytes of extra data, as on Polygon."""
    backends_behind: int = 0
    """Every second HTTP request is answered as by a backend this many blocks behind: blocks above its head are null,
    logs end at its head without a word, the tags are lower."""
    finalized_missing: bool = False
    """The tag `finalized` is answered with an error."""
    finalized_back: int = 0
    """The tag `finalized` means a block this many below the true one."""
    max_log_range: int | None = None
    """eth_getLogs over more blocks than this is refused."""
    max_log_range_message: str = "query exceeds max block range {limit}"
    """How the provider says so. Others: "Block range is too large", "eth_getLogs is limited to a {limit} range"."""
    http_error_rate: float = 0.0
    """The share of HTTP requests that are answered with `http_error_status`, 0 to 1."""
    http_error_status: int = 429
    requests_per_second: int | None = None
    """More HTTP requests in a second than this are answered with 429 and `Retry-After: 1`."""
    rpc_error_rate: float = 0.0
    """The share of calls (members of a batch one by one) that are answered with `rpc_error`, 0 to 1."""
    rpc_error: Json = field(default_factory=lambda: {"code": -32603, "message": "internal error"})
    """Providers that limit say {"code": -32005, "message": "limit exceeded"}."""
    answers_after_seconds: float = 0.0
    hangs_up: bool = False
    """The connection is closed without an answer."""
    drops_batch_member: bool = False
    """Every batch answer lacks one member, drawn by lot."""
    shuffles_batches: bool = False
    """Batch answers come in reverse order."""
    duplicates_logs: bool = False
    """eth_getLogs says everything twice."""
    hides_log: tuple[str, int] | None = None
    """(transaction hash, log index) of a log that the node keeps to itself: in eth_getLogs and in the receipt."""
    marks_removed: bool = False
    """Logs say that they were removed by a reorganisation."""
    sending: Sending | None = None
    """What happens to eth_sendRawTransaction."""
    nonces_behind: int = 0
    """eth_getTransactionCount counts so many too few."""
    wrong_block_hash: bool = False
    """Logs name a block hash that is not the block's."""


class Backend:
    """The honest node behind the proxy, seen as if it were `behind` blocks late."""

    def __init__(self, ask: Callable[[str, list[Any]], Json], behind: int) -> None:
        self._ask = ask
        self._behind = behind
        self._head_lock = threading.Lock()
        self._head: int | None = None

    def ask(self, request: Json) -> Json:
        method, params = request["method"], copy.deepcopy(request.get("params", []))
        if self._behind == 0:
            return self._ask(method, params)
        if method == "eth_blockNumber":
            return {"result": hex(self.head)}
        if method == "eth_getBlockByNumber":
            return self._block(params)
        if method == "eth_getLogs":
            return self._logs(params[0])
        answer = self._ask(method, params)
        if method in ("eth_getBlockByHash", "eth_getTransactionReceipt", "eth_getTransactionByHash"):
            return self._unless_unknown(answer)
        return answer

    @property
    def head(self) -> int:
        """The number of the newest block that this backend knows. Asked once: an answer has one head."""
        with self._head_lock:
            if self._head is None:
                self._head = max(0, int(self._ask("eth_blockNumber", [])["result"], 16) - self._behind)
            return self._head

    def number(self, block: str | None) -> int:
        """The number of the block that a tag or a hex number names, as this backend sees it."""
        if block in (None, "latest", "pending"):
            return self.head
        if block == "earliest":
            return 0
        if block in ("finalized", "safe"):
            true_number = int(self._ask("eth_getBlockByNumber", [block, False])["result"]["number"], 16)
            return max(0, true_number - self._behind)
        return int(str(block), 16)

    def _block(self, params: list[Any]) -> Json:
        number = self.number(params[0])
        if number > self.head:
            return {"result": None}
        return self._ask("eth_getBlockByNumber", [hex(number), *params[1:]])

    def _logs(self, filters: Json) -> Json:
        if "blockHash" in filters:
            block = self._ask("eth_getBlockByHash", [filters["blockHash"], False]).get("result")
            if block is None or int(block["number"], 16) > self.head:
                return {"error": {"code": -32000, "message": "unknown block"}}
            return self._ask("eth_getLogs", [filters])
        first = self.number(filters.get("fromBlock"))
        last = min(self.number(filters.get("toBlock")), self.head)
        if first > last:
            return {"result": []}
        return self._ask("eth_getLogs", [filters | {"fromBlock": hex(first), "toBlock": hex(last)}])

    def _unless_unknown(self, answer: Json) -> Json:
        result = answer.get("result")
        number = (result or {}).get("blockNumber") or (result or {}).get("number")
        return {"result": None} if number is not None and int(number, 16) > self.head else answer


def refusal(request: Json, faults: Faults, backend: Backend) -> Json | None:
    """The JSON-RPC error with which a request is refused, or None."""
    params = request.get("params") or [None]
    if faults.finalized_missing and _asks_for_finalized(request):
        return {"code": -32000, "message": "finalized block not found"}
    if faults.max_log_range is not None and request["method"] == "eth_getLogs" and "blockHash" not in params[0]:
        span = backend.number(params[0].get("toBlock")) - backend.number(params[0].get("fromBlock")) + 1
        if span > faults.max_log_range:
            return {"code": -32005, "message": faults.max_log_range_message.format(limit=faults.max_log_range)}
    return None


def rewritten(request: Json, faults: Faults, backend: Backend) -> Json:
    """The request as it goes on: with another block for `finalized` where that has gone back."""
    if not faults.finalized_back or not _asks_for_finalized(request):
        return request
    number = max(0, backend.number("finalized") - faults.finalized_back)
    return request | {"params": _replaced(request["params"], "finalized", hex(number))}


def _asks_for_finalized(request: Json) -> bool:
    params = request.get("params", [])
    return bool(_replaced(params, "finalized", None) != params)


def _replaced(value: Any, old: str, new: str | None) -> Any:
    """A copy of a JSON document with one string replaced wherever it stands as a value."""
    if isinstance(value, dict):
        return {key: _replaced(member, old, new) for key, member in value.items()}
    if isinstance(value, list):
        return [_replaced(member, old, new) for member in value]
    return new if value == old else value


def alter_result(request: Json, result: Any, faults: Faults) -> Any:
    """What the faults make of an honest result."""
    if result is None:
        return None
    method = request["method"]
    if method in ("eth_getBlockByNumber", "eth_getBlockByHash") and faults.poa_headers:
        return result | {"extraData": POA_EXTRA_DATA}
    if method == "eth_getLogs":
        return _altered_logs(result, faults)
    if method == "eth_getTransactionCount":
        return hex(max(0, int(result, 16) - faults.nonces_behind))
    if method == "eth_getTransactionReceipt":
        return result | {"logs": [log for log in result["logs"] if not _is_hidden(log, faults)]}
    return result


def _altered_logs(logs: list[Json], faults: Faults) -> list[Json]:
    altered = [log for log in logs if not _is_hidden(log, faults)]
    if faults.marks_removed:
        altered = [log | {"removed": True} for log in altered]
    if faults.wrong_block_hash:
        altered = [log | {"blockHash": _WRONG_HASH} for log in altered]
    return altered * 2 if faults.duplicates_logs else altered


def _is_hidden(log: Json, faults: Faults) -> bool:
    return (log["transactionHash"], int(log["logIndex"], 16)) == faults.hides_log
