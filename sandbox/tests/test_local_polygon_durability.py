"""A durable local Polygon never loses a block that it reported as final, whatever is killed when."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sandbox.polygon import ChainInUse, ChainUnreadable, LocalPolygon
from sandbox.polygon.durable_miner import SavedChain
from sandbox.polygon.rpc import Rpc

ROOT = Path(__file__).parents[2]
KILLS = 5
NODE = """
import sys, time
from pathlib import Path
from sandbox.polygon import LocalPolygon

chain = LocalPolygon.start(Path(sys.argv[1]), block_seconds=0.05)
print(chain.rpc_url, chain._node.process.pid, flush=True)
time.sleep(3600)
"""


@contextmanager
def running_node(directory: Path) -> Iterator[tuple[subprocess.Popen[str], Rpc, int]]:
    """A process that runs the durable chain: the process, a client, and the pid of its anvil."""
    command = [sys.executable, "-c", NODE, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            url, pid = process.stdout.readline().split()
            yield process, Rpc(url, timeout_seconds=5), int(pid)
        finally:
            process.kill()


def watch(rpc: Rpc, final: dict[int, str], seconds: float) -> None:
    """Notes the hash of every block that the node calls final, until the time is up or the node is gone."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            block = rpc("eth_getBlockByNumber", "finalized", False)
        except httpx.TransportError:
            return
        number, block_hash = int(block["number"], 16), block["hash"]
        assert final.setdefault(number, block_hash) == block_hash, f"final block {number} changed its hash"


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while not gone(pid):
        assert time.monotonic() < deadline, f"anvil {pid} outlived the process that started it"
        time.sleep(0.005)


def test_no_final_block_is_lost_when_everything_is_killed_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(137)
    final: dict[int, str] = {}
    for round_number in range(KILLS):
        with running_node(tmp_path) as (process, rpc, anvil_pid):
            for number, block_hash in final.items():
                assert (rpc("eth_getBlockByNumber", hex(number), False) or {}).get("hash") == block_hash, (
                    f"block {number} was reported as final and is gone after kill {round_number}"
                )
            watch(rpc, final, moments.uniform(0.2, 0.7))
            anvil_first = round_number % 2 == 0
            os.kill(anvil_pid if anvil_first else process.pid, signal.SIGKILL)
            watch(rpc, final, 0.1)  # up to the very last answer
            process.kill()
            wait_until_gone(anvil_pid)
    assert len(final) > KILLS * 3, f"the chain hardly moved: {sorted(final)}"


def test_a_block_is_on_disk_before_it_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without luck: in the worst moment, when a block is mined and not saved yet."""
    save, moments = SavedChain.save, []
    with LocalPolygon.start(tmp_path, block_seconds=60) as chain:

        def note_and_save(saved: SavedChain, state: bytes) -> None:
            file = tmp_path / "chain.json.gz"
            on_disk = json.loads(gzip.decompress(file.read_bytes()))["best_block_number"] if file.exists() else 0
            final = int(chain.rpc("eth_getBlockByNumber", "finalized", False)["number"], 16)
            moments.append((on_disk if isinstance(on_disk, int) else int(on_disk, 16), final))
            save(saved, state)

        monkeypatch.setattr(SavedChain, "save", note_and_save)
        chain.mine(7)
    assert len(moments) == 7
    assert all(final <= on_disk for on_disk, final in moments), f"(on disk, final): {moments}"


def test_transactions_logs_and_tokens_survive_a_kill(tmp_path: Path) -> None:
    payer = "0x00000000000000000000000000000000000c0FfE"
    with LocalPolygon.start(tmp_path, block_seconds=60) as chain:
        chain.mint("USDC", payer, 25_000_000)
        logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})
        receipt = chain.rpc("eth_getTransactionReceipt", logs[-1]["transactionHash"])
        chain._node.process.kill()

    with LocalPolygon.start(tmp_path, block_seconds=60) as chain:
        assert chain.rpc("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"}) == logs
        assert chain.rpc("eth_getTransactionReceipt", logs[-1]["transactionHash"]) == receipt
        assert chain._node.rpc.call(logs[-1]["address"], "balanceOf(address)", payer, returns="uint256") == 25_000_000


def test_after_a_restart_time_goes_on_and_contracts_can_be_read_as_of_finalized(tmp_path: Path) -> None:
    with LocalPolygon.start(tmp_path, block_seconds=60) as chain:
        before = int(chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    with LocalPolygon.start(tmp_path, block_seconds=60) as chain:
        after = int(chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        assert before <= after
        assert abs(after - time.time()) < 5
        assert int(chain.rpc("eth_getBalance", chain.accounts[0], "finalized"), 16) > 0


def test_a_half_written_file_is_ignored_and_a_damaged_chain_is_refused(tmp_path: Path) -> None:
    with LocalPolygon.start(tmp_path, block_seconds=60) as chain:
        block = chain.rpc("eth_getBlockByNumber", "finalized", False)
    saved = tmp_path / "chain.json.gz"
    (tmp_path / "chain.json.gz.unfinished").write_bytes(saved.read_bytes()[:1000])
    with LocalPolygon.start(tmp_path, block_seconds=60) as chain:
        assert chain.rpc("eth_getBlockByNumber", block["number"], False) == block

    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(ChainUnreadable, match="begin a new chain"):
        LocalPolygon.start(tmp_path, block_seconds=60)


def test_a_directory_serves_one_chain_at_a_time(tmp_path: Path) -> None:
    with LocalPolygon.start(tmp_path, block_seconds=60), pytest.raises(ChainInUse, match="stop it first"):
        LocalPolygon.start(tmp_path, block_seconds=60)
    LocalPolygon.start(tmp_path, block_seconds=60).stop()


def test_while_the_chain_cannot_be_saved_it_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalPolygon.start(tmp_path, block_seconds=0.05) as chain:
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", _disk_full)
            time.sleep(0.3)
            stuck = chain.rpc("eth_blockNumber")
            time.sleep(0.3)
            assert chain.rpc("eth_blockNumber") == stuck
        time.sleep(0.3)
        assert int(chain.rpc("eth_blockNumber"), 16) > int(stuck, 16)


def _disk_full(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")
