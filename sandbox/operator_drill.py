"""What operators do on chain, rehearsed beside the demo's purchases with the operators' own scripts: a deployment that
is run again, and a pause that the Safe decides with two signatures."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from sandbox.ape_shell import ApeShell
from sandbox.deploy import NETWORK, SAFE_OWNERS, deployment
from sandbox.polygon.addresses import CREATE2_DEPLOYER
from sandbox.polygon.rpc import Rpc
from sandbox.stack import Stack

_SALT_BYTES = 32


class DemoFailed(Exception):
    """What was bought, paid, credited or decided is not what it should be."""


class Rehearsal:
    """Runs beside its caller. Until `pause` is called it changes nothing on the chain."""

    def __init__(self, box: Stack) -> None:
        self._endpoints = box.endpoints
        self._record = box.home / "deployments" / "137.json"
        self._folder = box.home / "proposals"
        self._rpc = Rpc(box.endpoints["rpc_url"])
        self._may_pause, self._given_up = threading.Event(), False
        self._ape = ApeShell(box.endpoints["rpc_url"])
        self._thread = ThreadPoolExecutor(1)
        self._steps: Future[list[str]] = self._thread.submit(self._rehearse)

    def pause(self) -> None:
        """Lets payments on chain be paused for a moment; from now on."""
        self._may_pause.set()

    def done(self) -> list[str]:
        """What was seen, once all is done. Raises DemoFailed, with a script's own words."""
        return self._steps.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up = not self._may_pause.is_set()
        self._may_pause.set()
        self._thread.shutdown()
        self._ape.close()
        self._rpc.close()

    def _rehearse(self) -> list[str]:
        steps = [self._the_address_was_foreseen(), self._a_second_deployment_sends_nothing()]
        pause, unpause = self._folder / "pause.json", self._folder / "unpause.json"
        first, second, _ = (f"TEST::{index}" for index in SAFE_OWNERS)
        self._propose("pause", pause, "--signer", first)
        self._expect_paused(False, "one signature of two")
        self._may_pause.wait()
        if self._given_up:
            return steps
        self._propose("sign", pause, "--signer", second, "--sender", second)
        self._expect_paused(True, "two signatures")
        self._propose("unpause", unpause, "--signer", first, "--signer", second, "--sender", second)
        self._expect_paused(False, "two signatures")
        return [*steps, "two owners of the Safe paused payments, and let them go on; one alone could not"]

    def _the_address_was_foreseen(self) -> str:
        """Recomputes the router's address from what was sent to the CREATE2 deployer, before it was there."""
        record = json.loads(self._record.read_text())
        transaction: dict[str, Any] = self._rpc("eth_getTransactionByHash", record["transaction_hash"])
        sent = bytes.fromhex(transaction["input"][2:])
        salt, init_code = sent[:_SALT_BYTES], sent[_SALT_BYTES:]
        digest = keccak(b"\xff" + bytes.fromhex(CREATE2_DEPLOYER[2:]) + salt + keccak(init_code))
        foreseen = to_checksum_address(digest[12:])
        if foreseen != record["router"]:
            raise DemoFailed(f"the router is at {record['router']}, but its salt and init code belong at {foreseen}")
        return f"the router is at {foreseen}, where its salt and init code put it on every chain"

    def _a_second_deployment_sends_nothing(self) -> str:
        before = self._record.read_bytes(), self._sent()
        said = self._run(*deployment(self._endpoints["safe"], self._endpoints["partner"], self._record))
        if (self._record.read_bytes(), self._sent()) != before or self._endpoints["router"] not in said:
            raise DemoFailed(f"a second deployment is not the same as the first: {said}")
        return "a second `ape run deploy` found it, and sent nothing"

    def _sent(self) -> int:
        """How many transactions the deployer has sent."""
        sender = self._rpc("eth_accounts")[0]
        return int(self._rpc("eth_getTransactionCount", sender, "pending"), 16)

    def _propose(self, step: str, file: Path, *words: str) -> None:
        options = ("--record", str(self._record), "--file", str(file), "--yes")
        self._run("propose", step, *NETWORK, *options, *words)

    def _run(self, *words: str) -> str:
        code, output = self._ape.run(*words)
        if code != 0:
            raise DemoFailed(f"`ape run {' '.join(words)}` ended with code {code}:\n{output}")
        return output

    def _expect_paused(self, expected: bool, why: str) -> None:
        paused: bool = self._rpc.call(self._endpoints["router"], "paused()", returns="bool")
        if paused != expected:
            raise DemoFailed(f"payments are {'paused' if paused else 'running'} with {why}")
