"""The router's deployment: where it will be, what lies there, and the record of it that the service reads."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from ape import project
from ape.api import ProviderAPI
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from scripts import _chain

CONTRACT = "PaymentRouter"
ARGUMENTS = ("usdc", "usdt", "treasury", "partner", "owner")
"""The constructor's arguments, in its order."""

DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
"""The deterministic-deployment proxy of nearly every chain: it is sent a salt and init code, and creates by CREATE2."""
DEPLOYER_CODE_HASH = "0x2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989"

ROOT = Path(__file__).resolve().parent.parent
_OWNERSHIP_TRANSFERRED = "0x" + keccak(text="OwnershipTransferred(address,address)").hex()


@dataclass(frozen=True)
class Plan:
    """A router that may be there already or not: what it is made of, and so where it belongs."""

    arguments: dict[str, str]
    salt: int

    @property
    def salt_word(self) -> bytes:
        return self.salt.to_bytes(32, "big")

    @cached_property
    def creation_code(self) -> bytes:
        """The build's code, without arguments."""
        return _chain.plain(getattr(project, CONTRACT).contract_type.deployment_bytecode.bytecode)

    @property
    def init_code(self) -> bytes:
        return self.creation_code + encoded_arguments(self.arguments)

    @property
    def address(self) -> str:
        return _chain.create2_address(DEPLOYER, self.salt_word, self.init_code)

    def code(self, provider: ProviderAPI) -> bytes:
        """The code that the constructor leaves behind: run in a call that changes nothing, its answer is the code with
        the immutables in their places. Raises Refused when the constructor refuses its arguments."""
        return _chain.simulate(provider, {"data": "0x" + self.init_code.hex()})


def reason(refusal: _chain.Refused) -> str:
    """What a refusal of the router's means, by the names of its errors."""
    selector, data = refusal.data[:4], refusal.data[4:]
    for error in getattr(project, CONTRACT).contract_type.errors:
        if keccak(text=error.selector)[:4] == selector:
            types = [str(parameter.canonical_type) for parameter in error.inputs]
            values = decode(types, data)
            named = ", ".join(
                f"{parameter.name}={value}" for parameter, value in zip(error.inputs, values, strict=True)
            )
            return f"{error.name}({named})"
    return str(refusal)


def encoded_arguments(arguments: dict[str, str]) -> bytes:
    """The constructor's arguments, as they follow its code."""
    return bytes(encode(["address"] * len(ARGUMENTS), [arguments[name] for name in ARGUMENTS]))


def configured_salt() -> int:
    """The salt of ape-config.yaml."""
    return int(project.config["cascade"]["salt"])


def record_of(provider: ProviderAPI, plan: Plan) -> dict[str, Any] | None:
    """The record of the planned router as the chain tells of it; None when no block tells of its creation.

    The creation is found by the event of the first owner, which only a constructor emits, so that it does not matter
    who sent the transaction, and when.
    """
    nobody, owner = ("0x" + encode(["address"], [who]).hex() for who in (_chain.NO_ONE, plan.arguments["owner"]))
    log = _chain.newest_log(provider, plan.address, [_OWNERSHIP_TRANSFERRED, nobody, owner])
    if log is None:
        return None
    return {
        "chain_id": provider.chain_id,
        "router": plan.address,
        "block_number": _number(log["blockNumber"]),
        "block_hash": "0x" + _chain.plain(log["blockHash"]).hex(),
        "transaction_hash": "0x" + _chain.plain(log["transactionHash"]).hex(),
        "arguments": plan.arguments,
        "deployer": DEPLOYER,
        "salt": "0x" + plan.salt_word.hex(),
        "code_hash": _chain.code_hash(_chain.code(provider, plan.address)),
        "compiler": compiler(),
    }


def is_confirmed(provider: ProviderAPI, record: dict[str, Any]) -> bool:
    """Whether the chain has the recorded transaction in the recorded block."""
    receipt = provider.make_request("eth_getTransactionReceipt", [record.get("transaction_hash")])
    return (
        receipt is not None
        and _number(receipt["blockNumber"]) == record.get("block_number")
        and "0x" + _chain.plain(receipt["blockHash"]).hex() == record.get("block_hash")
    )


def plan_of(record: dict[str, Any]) -> Plan:
    """The plan that a record tells of."""
    if "salt" not in record:
        raise click.ClickException(
            f"the record of {record['router']} has no salt: `ape run deploy` wrote it before it had"
        )
    return Plan(record["arguments"], int(record["salt"], 16))


def default_path(chain_id: int) -> Path:
    """Where the record of a chain lies unless the operator says otherwise."""
    return ROOT / "deployments" / f"{chain_id}.json"


def read(path: Path) -> dict[str, Any]:
    """Reads a record. Raises FileNotFoundError when there is none."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def write(path: Path, record: dict[str, Any]) -> None:
    """Writes a record all at once."""
    write_text(path, json.dumps(record, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file all at once: a reader sees the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(path)


def compiler() -> dict[str, Any]:
    """The compiler and the settings that decide the bytecode, as ape-config.yaml gives them."""
    solidity = project.config.solidity
    return {
        "version": str(solidity.version),
        "evm_version": solidity.evm_version,
        "via_ir": bool(solidity.via_ir),
        "optimizer_runs": solidity.optimization_runs,
    }


def _number(value: int | str) -> int:
    return int(value, 16) if isinstance(value, str) else value
