"""The deployment record: what the operators' scripts and the service know of a router on a chain."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ape import project
from eth_utils.crypto import keccak

CONTRACT = "PaymentRouter"
ARGUMENTS = ("usdc", "usdt", "treasury", "partner", "owner")
"""The constructor's arguments, in its order."""

ROOT = Path(__file__).resolve().parent.parent


def default_path(chain_id: int) -> Path:
    """Where the record of a chain lies unless the operator says otherwise."""
    return ROOT / "deployments" / f"{chain_id}.json"


def read(path: Path) -> dict[str, Any]:
    """Reads a record. Raises FileNotFoundError when there is none."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def write(path: Path, record: dict[str, Any]) -> None:
    """Writes a record all at once: a reader sees the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        draft.write(json.dumps(record, indent=2) + "\n")
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(path)


def code_hash(code: bytes) -> str:
    """Keccak-256 of a contract's code, as 0x and 64 hexadecimal digits."""
    return "0x" + keccak(code).hex()


def compiler() -> dict[str, Any]:
    """The compiler and the settings that decide the bytecode, as ape-config.yaml gives them."""
    solidity = project.config.solidity
    return {
        "version": str(solidity.version),
        "evm_version": solidity.evm_version,
        "via_ir": bool(solidity.via_ir),
        "optimizer_runs": solidity.optimization_runs,
    }
