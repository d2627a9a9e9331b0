"""Writes what the service knows of the router's build where the service reads it: the ABI, and the hash of the code
that the router creates at a deposit address.

ape run export_abi            writes cascade/adapters/chain/payment_router.json
ape run export_abi --check    says whether it is up to date
"""

from __future__ import annotations

import json
from typing import Any

import click
from ape import project
from eth_utils.crypto import keccak

from scripts import _deployment

PATH = _deployment.ROOT / "cascade" / "adapters" / "chain" / "payment_router.json"
DEPOSIT = "Deposit"


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if the file differs from the contracts.")
def cli(check: bool) -> None:
    """Export the PaymentRouter's ABI and the hash of Deposit's creation code."""
    contract_type = getattr(project, _deployment.CONTRACT).contract_type
    entries = [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in contract_type.abi]
    build = {"abi": sorted(entries, key=_order), "deposit_code_hash": _creation_code_hash()}
    text = json.dumps(build, indent=2, sort_keys=True) + "\n"

    if not check:
        PATH.write_text(text)
        click.echo(f"{len(entries)} entries: {PATH}")
    elif not PATH.exists() or PATH.read_text() != text:
        raise click.ClickException(f"{PATH} is not of this {_deployment.CONTRACT}: run `ape run export_abi`")


def _creation_code_hash() -> str:
    """As the router's constructor computes it: ``keccak256(type(Deposit).creationCode)``."""
    code = getattr(project, DEPOSIT).contract_type.deployment_bytecode.bytecode
    return "0x" + keccak(bytes.fromhex(code.removeprefix("0x"))).hex()


def _order(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["type"], entry.get("name", "")
