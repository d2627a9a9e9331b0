"""The contracts as slither reads them: compiled by the solc at hand, without a framework around them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from slither import Slither

ROOT = Path(__file__).resolve().parents[2]
SOLC = ROOT / "sandbox/polygon/solc/solc-v0.8.30"
OUTPUTS = ("abi", "evm.bytecode", "evm.deployedBytecode", "evm.methodIdentifiers")
CONTRACTS = ("PaymentRouter", "Split", "Deposit")
"""What is analysed and mutated; the rest is interfaces, or not ours."""


def standard_json(root: Path, *outputs: str) -> dict[str, object]:
    """The compiler's input for the router below `root`; solc finds the imports itself."""
    return {
        "language": "Solidity",
        "sources": {"contracts/PaymentRouter.sol": {"content": (root / "contracts/PaymentRouter.sol").read_text()}},
        "settings": {
            "remappings": ["@openzeppelin/=node_modules/@openzeppelin/"],
            "evmVersion": "prague",
            "outputSelection": {"*": {"*": list(outputs), "": ["ast"]}},
        },
    }


def read() -> Slither:
    """The contracts in slither's eyes. The working directory must be the root: sources are named from it."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(standard_json(ROOT, *OUTPUTS), file)
        file.flush()
        return Slither(file.name, compile_force_framework="solc-json", solc=str(SOLC), solc_disable_warnings=True)


def compiles(root: Path) -> bool:
    """Whether the router below `root` is Solidity at all; no code is made of it, which is what takes the time."""
    done = subprocess.run(
        [str(SOLC), "--standard-json", "--base-path", str(root)],
        input=json.dumps(standard_json(root, "abi")), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return all(error["severity"] != "error" for error in json.loads(done.stdout).get("errors", []))
