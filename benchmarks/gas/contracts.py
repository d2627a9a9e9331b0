"""Our contracts as Ape builds them, and how large they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import ape

from benchmarks.gas import ROOT

SOURCES = (
    "PaymentRouter.sol",
    "Split.sol",
    "Deposit.sol",
    "interfaces/IPaymentRouter.sol",
    "interfaces/ITokenSignatures.sol",
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Code:
    """What is sent to create a contract, and what then stands on the chain; without arguments and immutables."""

    creation: bytes
    runtime: bytes


def build(name: str) -> Code:
    """Compiles the project if need be; the code is the one that a deployment would send."""
    contract: Any = getattr(ape.project, name).contract_type
    return Code(_bytes(contract.deployment_bytecode.bytecode), _bytes(contract.runtime_bytecode.bytecode))


def source_lines() -> dict[str, int]:
    """Lines of code of each source, without comments and empty lines."""
    found = {}
    for name in SOURCES:
        text = _COMMENT.sub("", (ROOT / "contracts" / name).read_text(encoding="utf-8"))
        found[name] = sum(bool(line.strip()) for line in text.splitlines())
    return found


def _bytes(text: str) -> bytes:
    return bytes.fromhex(str(text).removeprefix("0x"))
