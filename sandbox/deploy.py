"""The router on the local Polygon: deployed by the operators' own scripts, owned by a real 2-of-3 Safe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sandbox.polygon import LocalPolygon

ROOT = Path(__file__).parent.parent
PAYER, PARTNER, RELAYER = 1, 5, 8
SAFE_OWNERS = (2, 3, 4)
"""Which of the ten development accounts play which part."""
DEPLOYER = "TEST::0"
NETWORK = ("--network", "polygon:mainnet:node")


class DeploymentFailed(Exception):
    """The deployment script ended with an error; the message is its output."""


def deploy_router(chain: LocalPolygon, record: Path) -> None:
    """Creates the Safe and deploys the router with `ape run deploy`, unless the recorded one is on the chain.

    A record can outlive its router: killed before the block was on disk, the chain comes back without it. And a router
    can be there without a record. The script sees to both, and the router's address is always the same.
    """
    if record.exists() and chain.rpc("eth_getCode", json.loads(record.read_text())["router"], "latest") != "0x":
        return
    safe = chain.create_safe([chain.accounts[i] for i in SAFE_OWNERS], threshold=2)
    ape = str(Path(sys.executable).parent / "ape")
    command = [ape, "run", *deployment(safe, chain.accounts[PARTNER], record)]
    tools = {"WEB3_PROVIDER_URI": chain.rpc_url, "SOLCX_BINARY_PATH": str(ROOT / "sandbox/polygon/solc")}
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | tools, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0 or not record.exists():
        raise DeploymentFailed(f"`ape run deploy` ended with code {done.returncode}:\n{done.stdout}{done.stderr}")


def deployment(safe: str, partner: str, record: Path) -> tuple[str, ...]:
    """The words after `ape run` that deploy the router of the box."""
    return "deploy", *NETWORK, "--account", DEPLOYER, "--treasury", safe, "--partner", partner, "--out", str(record)
