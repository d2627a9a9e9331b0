"""Writes the router's ABI where the service reads it.

ape run export_abi            writes cascade/rails/payment_router.json
ape run export_abi --check    says whether it is up to date
"""

from __future__ import annotations

import json
from typing import Any

import click
from ape import project

from scripts import _deployment

PATH = _deployment.ROOT / "cascade" / "rails" / "payment_router.json"


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if the file differs from the contract.")
def cli(check: bool) -> None:
    """Export the PaymentRouter's ABI."""
    contract_type = getattr(project, _deployment.CONTRACT).contract_type
    entries = [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in contract_type.abi]
    text = json.dumps(sorted(entries, key=_order), indent=2, sort_keys=True) + "\n"

    if not check:
        PATH.write_text(text)
        click.echo(f"{len(entries)} entries: {PATH}")
    elif not PATH.exists() or PATH.read_text() != text:
        raise click.ClickException(f"{PATH} is not the ABI of {_deployment.CONTRACT}: run `ape run export_abi`")


def _order(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["type"], entry.get("name", "")
