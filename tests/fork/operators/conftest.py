"""A local Polygon with a deployed router, and an Ape that runs the operators' scripts on it, as operators do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.ape_shell import ApeShell, Outcome
from sandbox.polygon import LocalPolygon
from sandbox.polygon.rpc import Rpc

NETWORK = ("--network", "polygon:mainnet:node")
ACCOUNT = ("--account", "TEST::0")
OWNERS = (2, 3, 4)
"""Which of the development accounts own the Safe, two of whom decide."""
PARTNER = 5


class Operators:
    """What operators have at hand. Nothing that their scripts say may hold a key."""

    def __init__(self, polygon: LocalPolygon, ape: ApeShell, safe: str) -> None:
        self.polygon = polygon
        self.rpc = Rpc(polygon.rpc_url)
        self.safe = safe
        self.partner = polygon.accounts[PARTNER]
        self._ape = ape
        self.record_path = Path()

    def run(self, *words: str) -> Outcome:
        outcome = self._ape.run(*words)
        for key in self.polygon.keys:
            assert key[2:] not in outcome.output.lower()
        return outcome

    def deploy(self, out: Path, *words: str, treasury: str = "", partner: str = "") -> Outcome:
        sides = ("--treasury", treasury or self.safe, "--partner", partner or self.partner)
        return self.run("deploy", *NETWORK, *ACCOUNT, *sides, "--out", str(out), *words)

    def propose(self, step: str, file: Path, *words: str) -> Outcome:
        return self.run("propose", step, *NETWORK, *self.lying_in(file), *words)

    def lying_in(self, file: Path) -> tuple[str, ...]:
        return "--record", str(self.record_path), "--file", str(file), "--yes"

    @property
    def record(self) -> dict[str, Any]:
        known: dict[str, Any] = json.loads(self.record_path.read_text())
        return known

    @property
    def router(self) -> str:
        return str(self.record["router"])

    def read(self, signature: str, *args: Any, returns: str, of: str = "") -> Any:
        value = self.rpc.call(of or self.router, signature, *args, returns=returns)
        return value.lower() if returns == "address" else value

    def sent_by(self, index: int) -> int:
        """How many transactions an account has sent, also those that wait for a block."""
        return int(self.rpc("eth_getTransactionCount", self.polygon.accounts[index], "pending"), 16)

    def as_safe(self, data: bytes, to: str = "", safe: str = "") -> None:
        """Lets a Safe do something without asking its owners, to set a scene."""
        self.rpc.receipt(self.rpc.submit_as(safe or self.safe, to or self.router, data))


@pytest.fixture(scope="session")
def _operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operators, str]]:
    with LocalPolygon.start() as polygon, ApeShell(polygon.rpc_url) as ape:
        safe = polygon.create_safe([polygon.accounts[i] for i in OWNERS], threshold=2)
        operators = Operators(polygon, ape, safe)
        record = tmp_path_factory.mktemp("deployments") / "137.json"
        outcome = operators.deploy(record)
        assert outcome.code == 0, outcome.output
        yield operators, record.read_text()


@pytest.fixture
def operators(_operators: tuple[Operators, str], tmp_path: Path) -> Iterator[Operators]:
    """The operators, with a router and its record; whatever a test does is taken back."""
    everybody, record = _operators
    everybody.record_path = tmp_path / "137.json"
    everybody.record_path.write_text(record)
    snapshot = everybody.polygon.snapshot()
    yield everybody
    everybody.polygon.revert(snapshot)
