"""The operators' scripts, run as operators run them, on a local Polygon of their own."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.polygon import LocalPolygon

ROOT = Path(__file__).parents[2]
Ape = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def polygon() -> Iterator[LocalPolygon]:
    with LocalPolygon.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def ape_run(polygon: LocalPolygon) -> Ape:
    """Runs `ape run …` in a process of its own."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "WEB3_PROVIDER_URI": polygon.rpc_url}
        command = ["ape", "run", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def deploy(polygon: LocalPolygon, ape_run: Ape) -> Callable[[Path], "subprocess.CompletedProcess[str]"]:
    safe = polygon.create_safe(polygon.accounts[4:7], threshold=2)
    sides = ("--treasury", safe, "--partner", polygon.accounts[3])
    network = ("--network", "polygon:mainnet:node", "--account", "TEST::0")
    return lambda out: ape_run("deploy", *network, *sides, "--out", str(out))


@pytest.fixture(scope="module")
def record_path(deploy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deployments") / "137.json"
    outcome = deploy(path)
    assert outcome.returncode == 0, outcome.stderr
    return path


def verify(ape_run: Ape, path: Path) -> "subprocess.CompletedProcess[str]":
    return ape_run("verify", "--network", "polygon:mainnet:node", "--record", str(path))


def test_the_record_tells_where_the_router_is(polygon, record_path):
    record = json.loads(record_path.read_text())

    receipt = polygon.rpc("eth_getTransactionReceipt", record["transaction_hash"])
    assert int(receipt["contractAddress"], 16) == int(record["router"], 16)
    assert (int(receipt["blockNumber"], 16), receipt["blockHash"]) == (record["block_number"], record["block_hash"])
    assert record["chain_id"] == 137
    assert record["arguments"]["owner"] == record["arguments"]["treasury"]
    assert record["arguments"]["partner"] == polygon.accounts[3]


def test_a_live_router_is_not_replaced(deploy, record_path):
    before = record_path.read_text()

    outcome = deploy(record_path)

    assert outcome.returncode == 1
    assert "move that file away" in outcome.stderr
    assert record_path.read_text() == before


def test_verify_agrees_with_what_was_deployed(ape_run, record_path):
    outcome = verify(ape_run, record_path)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_verify_takes_a_new_partner_for_news_and_another_treasury_for_a_fault(ape_run, record_path, tmp_path):
    record = json.loads(record_path.read_text())
    changed = tmp_path / "changed.json"

    record["arguments"]["partner"] = "0x" + "22" * 20
    changed.write_text(json.dumps(record))
    outcome = verify(ape_run, changed)
    assert (outcome.returncode, "changed since" in outcome.stdout) == (0, True)

    record["arguments"]["treasury"] = "0x" + "11" * 20
    changed.write_text(json.dumps(record))
    outcome = verify(ape_run, changed)
    assert outcome.returncode == 1
    assert "code, by this build, treasury" in outcome.stderr


def test_the_exported_abi_is_that_of_the_contract(ape_run):
    outcome = ape_run("export_abi", "--check")

    assert outcome.returncode == 0, outcome.stderr
