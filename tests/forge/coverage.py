"""Runs forge's tests once more, measured: every line, statement, branch and function of the contracts is reached.

Usage: FOUNDRY_PROFILE=coverage python -m tests.forge.coverage SEED
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LCOV = ROOT / ".build" / "forge" / "lcov.info"
CONTRACTS = ("contracts/PaymentRouter.sol", "contracts/Split.sol", "contracts/Deposit.sol")
KINDS = ("lines", "statements", "branches", "functions")


def shortfalls(summary: str) -> list[str]:
    """What the table that forge prints does not call fully reached, or does not name at all."""
    rows = dict(re.findall(r"^\| (\S+\.sol) +\|(.*)\|$", summary, re.MULTILINE))
    missing = []
    for contract in CONTRACTS:
        counts = re.findall(r"\((\d+)/(\d+)\)", rows.get(contract, ""))
        if len(counts) != len(KINDS):
            missing.append(f"{contract}: not measured")
            continue
        for kind, (reached, total) in zip(KINDS, counts, strict=True):
            print(f"{contract:30}{reached:>4} of {total:>3} {kind}")  # noqa: T201
            if reached != total:
                missing.append(f"{contract}: {reached} of {total} {kind}")
    return missing


def unreached(lcov: str) -> list[str]:
    """The places of the contracts that no test reached, as `file:line`."""
    places = []
    for record in lcov.split("end_of_record"):
        file = re.search(r"^SF:(.+)$", record, re.MULTILINE)
        if file and file[1] in CONTRACTS:
            lines = re.findall(r"^(?:DA:(\d+),0|BRDA:(\d+),\d+,\d+,(?:0|-)|FNDA:0,(\S+))$", record, re.MULTILINE)
            places += [f"{file[1]}:{''.join(found)}" for found in lines]
    return places


def main() -> None:
    """Exit 1 and name what is not reached."""
    command = ["forge", "coverage", "--fuzz-seed", sys.argv[1]]
    command += ["--report", "summary", "--report", "lcov", "--report-file", str(LCOV)]
    environment = os.environ | {"FOUNDRY_CONFIG": "tests/forge/foundry.toml"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    missing = shortfalls(done.stdout)
    if missing:
        sys.exit("\n".join([*missing, *unreached(LCOV.read_text())]))


if __name__ == "__main__":
    main()
