"""Each switch of the faulty node does what it says, and nothing while it is off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.polygon import LocalPolygon, NodeError
from sandbox.polygon.faults import POA_EXTRA_DATA, Faults
from sandbox.polygon.faulty_node import FaultyNode
from sandbox.polygon.rpc import Rpc

NOBODY = "0x00000000000000000000000000000000000c0FfE"
EVERYTHING = {"fromBlock": "earliest", "toBlock": "latest"}
BATCH = [{"jsonrpc": "2.0", "id": number, "method": "eth_chainId", "params": []} for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalPolygon]:
    with LocalPolygon.start() as chain:
        for units in (1, 2, 3):
            chain.mint("USDC", NOBODY, units)
            chain.mine(4)
        yield chain


@pytest.fixture
def node(chain: LocalPolygon) -> Iterator[FaultyNode]:
    with FaultyNode(chain.rpc_url, seed=1) as node:
        yield node


@pytest.fixture
def rpc(node: FaultyNode) -> Iterator[Rpc]:
    rpc = Rpc(node.url)
    yield rpc
    rpc.close()


def post(node: FaultyNode, document: Any) -> httpx.Response:
    return httpx.post(node.url, json=document, trust_env=False)


def height(chain: LocalPolygon) -> int:
    return int(chain.rpc("eth_blockNumber"), 16)


def test_without_faults_it_is_the_node_behind_it(chain: LocalPolygon, node: FaultyNode, rpc: Rpc) -> None:
    for method, params in (
        ("eth_blockNumber", []),
        ("eth_getBlockByNumber", ["finalized", True]),
        ("eth_getLogs", [EVERYTHING]),
    ):
        assert rpc(method, *params) == chain.rpc(method, *params)
    assert node.calls == {"eth_blockNumber": 1, "eth_getBlockByNumber": 1, "eth_getLogs": 1}
    assert [answer["result"] for answer in post(node, BATCH).json()] == ["0x89"] * 3
    with pytest.raises(NodeError, match="Method not found"):
        rpc("eth_nonsense")


def test_poa_headers(node: FaultyNode, rpc: Rpc) -> None:
    node.faults.poa_headers = True
    assert rpc("eth_getBlockByNumber", "latest", False)["extraData"] == POA_EXTRA_DATA
    assert len(POA_EXTRA_DATA) == 2 + 2 * 97


def test_every_second_request_meets_a_backend_that_is_behind(chain: LocalPolygon, node: FaultyNode, rpc: Rpc) -> None:
    node.faults.backends_behind = 5
    head = height(chain)
    assert [int(rpc("eth_blockNumber"), 16) for _ in range(4)] == [head, head - 5, head, head - 5]
    tags = {
        tag: [int(rpc("eth_getBlockByNumber", tag, False)["number"], 16) for _ in range(2)]
        for tag in ("latest", "finalized")
    }
    assert tags == {"latest": [head, head - 5], "finalized": [head - 2, head - 7]}
    assert [rpc("eth_getBlockByNumber", hex(head), False) is None for _ in range(2)] == [False, True]
    known = [chain.rpc("eth_getLogs", EVERYTHING | {"toBlock": hex(last)}) for last in (head, head - 5)]
    assert len(known[0]) > len(known[1])
    assert [rpc("eth_getLogs", EVERYTHING) for _ in range(2)] == known
    block_hash = chain.rpc("eth_getBlockByNumber", hex(head), False)["hash"]
    assert [rpc("eth_getBlockByHash", block_hash, False) is None for _ in range(2)] == [False, True]
    assert rpc("eth_getLogs", {"blockHash": block_hash}) == []
    with pytest.raises(NodeError, match="unknown block"):
        rpc("eth_getLogs", {"blockHash": block_hash})


def test_finalized_missing_and_going_back(chain: LocalPolygon, node: FaultyNode, rpc: Rpc) -> None:
    node.faults.finalized_back = 3
    assert int(rpc("eth_getBlockByNumber", "finalized", False)["number"], 16) == height(chain) - 5
    node.faults.finalized_missing = True
    with pytest.raises(NodeError, match="finalized block not found"):
        rpc("eth_getBlockByNumber", "finalized", False)
    assert rpc("eth_getBlockByNumber", "latest", False)


def test_log_range_limit(node: FaultyNode, rpc: Rpc) -> None:
    node.faults.max_log_range = 3
    assert rpc("eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x3"}) is not None
    with pytest.raises(NodeError, match="exceeds max block range 3"):
        rpc("eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x4"})
    node.faults.max_log_range_message = "eth_getLogs is limited to a {limit} range"
    with pytest.raises(NodeError, match="limited to a 3 range"):
        rpc("eth_getLogs", EVERYTHING)


def test_requests_in_a_second_are_limited(chain: LocalPolygon) -> None:
    now = [100.0]
    with FaultyNode(chain.rpc_url, clock=lambda: now[0]) as node:
        node.faults.requests_per_second = 3
        statuses = [post(node, BATCH).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        now[0] = 100.9
        assert post(node, BATCH[0]).headers["Retry-After"] == "1"
        now[0] = 101.0
        assert post(node, BATCH[0]).status_code == 200


def test_errors_of_transport(node: FaultyNode, rpc: Rpc) -> None:
    node.faults.http_error_rate = 1
    limited = post(node, BATCH[0])
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "1")
    node.faults.http_error_status = 500
    assert post(node, BATCH[0]).status_code == 500
    node.faults = Faults(http_error_rate=0.5)
    assert {post(node, BATCH[0]).status_code for _ in range(20)} == {200, 429}
    node.faults = Faults(rpc_error_rate=1)
    with pytest.raises(NodeError, match="internal error"):
        rpc("eth_chainId")
    node.faults.rpc_error = {"code": -32005, "message": "limit exceeded"}
    assert post(node, BATCH[0]).json()["error"] == {"code": -32005, "message": "limit exceeded"}
    node.faults = Faults(hangs_up=True)
    with pytest.raises(httpx.RemoteProtocolError):
        post(node, BATCH[0])


def test_slow_answers(node: FaultyNode) -> None:
    node.faults.answers_after_seconds = 5
    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(node.url, json=BATCH[0], timeout=0.1, trust_env=False)
    node.stop()
    assert time.monotonic() - started < 2


def test_batches_lose_a_member_and_their_order(node: FaultyNode) -> None:
    node.faults.shuffles_batches = True
    assert [answer["id"] for answer in post(node, BATCH).json()] == [3, 2, 1]
    node.faults = Faults(drops_batch_member=True)
    assert len(post(node, BATCH).json()) == 2


def test_untrue_logs(node: FaultyNode, rpc: Rpc) -> None:
    true = rpc("eth_getLogs", EVERYTHING)
    node.faults.duplicates_logs = True
    assert rpc("eth_getLogs", EVERYTHING) == true * 2
    node.faults = Faults(marks_removed=True)
    assert all(log["removed"] for log in rpc("eth_getLogs", EVERYTHING))
    node.faults = Faults(wrong_block_hash=True)
    assert not {log["blockHash"] for log in rpc("eth_getLogs", EVERYTHING)} & {log["blockHash"] for log in true}
    hidden = true[-1]
    node.faults = Faults(hides_log=(hidden["transactionHash"], int(hidden["logIndex"], 16)))
    assert rpc("eth_getLogs", EVERYTHING) == true[:-1]
    assert hidden not in rpc("eth_getTransactionReceipt", hidden["transactionHash"])["logs"]


def test_the_same_seed_misbehaves_the_same(chain: LocalPolygon) -> None:
    def statuses() -> list[int]:
        with FaultyNode(chain.rpc_url, seed=7) as node:
            node.faults.http_error_rate = 0.5
            return [post(node, BATCH[0]).status_code for _ in range(12)]

    assert statuses() == statuses()
