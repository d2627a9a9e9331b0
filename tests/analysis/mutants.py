"""Makes slither's mutants of the contracts and lets the tests kill them; survivors.toml says why some may live.

.analysis/bin/python -m tests.analysis.mutants [--part K/N]     an hour on one core; --part takes every Nth from the Kth

slither-mutate itself can only compile what a framework has laid out, so its mutators are used as a library.
RR (revert instead of a statement) is what coverage shows; FHR (another visibility) is what the interface refuses.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress
from slither.tools.mutator.mutators import all_mutators
from slither.tools.mutator.mutators.abstract_mutator import AbstractMutator

from tests.analysis.source import CONTRACTS, ROOT, compiles, read

SURVIVORS = Path(__file__).with_name("survivors.toml")
RESULTS = ROOT / ".build/contract-mutants.jsonl"
"""What became of each, so that a campaign can be stopped and taken up again; delete it after a change of the tests."""
LEFT_OUT = ("RR", "FHR")
PATIENCE_SECONDS = 900
LINKED = (".venv", "node_modules", ".analysis")
FORGE = {
    "FOUNDRY_CONFIG": "tests/forge/foundry.toml",
    "FOUNDRY_PROFILE": "coverage",
    "FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT": "0",
}
"""The profile that compiles fastest and runs each test a few times; nobody reads the history that broke a rule."""
NOT_ON_FORK = (
    "--ignore=tests/fork/operators",
    "--ignore=tests/fork/test_gas.py",
    "--ignore=tests/fork/test_gas_of_many.py",
)
"""What knows the router's code by its hash or by its gas would kill every mutant, and say nothing of what it does."""
KILLERS = {
    "forge": ["forge", "test", "--fail-fast"],
    "contracts": ["ape", "test", "tests/contracts", "--network", "polygon:local:test", "-q", "-x"],
    "fork": ["ape", "test", "tests/fork", "--network", "polygon:mainnet-fork:foundry", "-q", "-x", *NOT_ON_FORK],
}
"""In this order, the quick ones first."""


class Mutant(NamedTuple):
    """One change of one place; `start` and `end` count bytes."""

    file: str
    line: int
    mutator: str
    start: int
    end: int
    old: str
    new: str

    @property
    def name(self) -> tuple[str, str, str]:
        """What it is called in survivors.toml: lines move, this does not."""
        return Path(self.file).name, " ".join(self.old.split()), " ".join(self.new.split())


def mutants() -> Iterator[Mutant]:
    """All that slither's mutators can think of in our contracts, in order of place."""
    mutators = [
        member
        for _, member in inspect.getmembers(all_mutators, inspect.isclass)
        if issubclass(member, AbstractMutator) and member is not AbstractMutator and member.NAME not in LEFT_OUT
    ]
    seen = set()
    (unit,) = read().compilation_units
    for name in CONTRACTS:
        (contract,) = (contract for contract in unit.contracts if contract.name == name)
        for mutator in mutators:
            made = mutator(unit, 1, "", "", contract, None, False, Path(tempfile.gettempdir()), [])
            for file, patches in made._mutate().get("patches", {}).items():
                for patch in sorted(patches, key=lambda p: p["start"]):
                    place = (file, patch["start"], patch["end"], patch["new_string"])
                    if place not in seen:
                        seen.add(place)
                        yield Mutant(
                            os.path.relpath(file, ROOT), patch["line_number"], mutator.NAME, patch["start"],
                            patch["end"], patch["old_string"], patch["new_string"],
                        )  # fmt: skip


def digest(mutant: Mutant) -> str:
    """Names a mutant together with the file that it was made of."""
    return sha256(f"{mutant}{(ROOT / mutant.file).read_text()}".encode()).hexdigest()


def killer_of(mutant: Mutant, copy: Path, killers: Mapping[str, list[str]]) -> str | None:
    """Which of the killers noticed, the compiler before all; None when the mutant survives them."""
    mutated = copy / mutant.file
    genuine = mutated.read_bytes()
    mutated.write_bytes(genuine[: mutant.start] + mutant.new.encode() + genuine[mutant.end :])
    # Ape compiles what changed, but not what imports it.
    (copy / ".build/__local__.json").unlink(missing_ok=True)
    try:
        if not compiles(copy):
            return "compiler"
        for name, command in killers.items():
            try:
                done = subprocess.run(command, cwd=copy, capture_output=True, timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                return name
            if done.returncode:
                return name
        return None
    finally:
        mutated.write_bytes(genuine)


def main() -> None:
    """Exit 1 when a mutant survives for no stated reason."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--part", default="1/1")
    options.add_argument(
        "--quick", action="store_true", help="forge alone; what it leaves is left to the next campaign"
    )
    chosen_options = options.parse_args()
    part, parts = (int(number) for number in chosen_options.part.split("/"))
    killers = {"forge": KILLERS["forge"]} if chosen_options.quick else KILLERS
    os.chdir(ROOT)
    logging.disable(logging.WARNING)
    os.environ["PATH"] = (
        f"{ROOT / 'sandbox/polygon/bin'}{os.pathsep}{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    )
    os.environ["SOLCX_BINARY_PATH"] = str(ROOT / "sandbox/polygon/solc")
    os.environ |= FORGE
    explained = {(s["file"], s["old"], s["new"]) for s in tomllib.loads(SURVIVORS.read_text())["survivor"]}
    everything = list(mutants())
    if stale := explained - {mutant.name for mutant in everything}:
        sys.exit(f"survivors.toml explains what is no mutant any more, take it out: {stale}")
    chosen = [mutant for mutant in everything if mutant.name not in explained][part - 1 :: parts]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.touch()
    verdicts = dict(json.loads(line) for line in RESULTS.read_text().splitlines())
    counts = dict.fromkeys(("compiler", *KILLERS, "survived"), 0)
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(soft_wrap=True)) as progress:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".cascade", "__pycache__", *LINKED))
        for name in LINKED:
            (copy / name).symlink_to(ROOT / name)
        for mutant in progress.track(chosen, description="Mutants"):
            key = digest(mutant)
            if key not in verdicts:
                verdicts[key] = killer_of(mutant, copy, killers)
                if verdicts[key] or not chosen_options.quick:
                    with RESULTS.open("a") as results:
                        results.write(json.dumps([key, verdicts[key]]) + "\n")
            killer = verdicts[key]
            counts[killer or "survived"] += 1
            if killer is None:
                progress.console.print(
                    f"survived: {mutant.file}:{mutant.line} {mutant.mutator} {mutant.name}", markup=False
                )
    print(", ".join(f"{count} {name}" for name, count in counts.items()), f"and {len(explained)} that may live")
    sys.exit(1 if counts["survived"] else 0)


if __name__ == "__main__":
    main()
