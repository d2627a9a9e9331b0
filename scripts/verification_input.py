"""Writes what block explorers ask for to verify the router's source, after proving that it gives the deployed router.

ape run verification_input       writes deployments/137.verification/
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from ape import project
from ape.utils.basemodel import ManagerAccessMixin
from solcx import compile_standard
from solcx.install import get_executable

from scripts import _chain, _deployment

SOURCE = f"contracts/{_deployment.CONTRACT}.sol"
_OUTPUT = ["abi", "evm.bytecode.object", "metadata"]


@click.command()
@click.option(
    "--record", type=click.Path(path_type=Path), default=_deployment.default_path(137), help="Of which deployment."
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder. [default: beside the record]")
def cli(record: Path, out: Path | None) -> None:
    """Write the standard JSON input, the constructor's arguments and the compiler's version."""
    if not record.exists():
        raise click.ClickException(f"{record} does not exist: deploy first, or name the record with --record")
    known = _deployment.read(record)
    folder = out or record.with_suffix(".verification")
    version, standard_input = _standard_input()
    arguments = _deployment.encoded_arguments(known["arguments"])

    contract = _compiled(standard_input, version)
    metadata = json.loads(contract["metadata"])
    _require_whole(standard_input, metadata)
    init_code = _chain.plain(contract["evm"]["bytecode"]["object"]) + arguments
    address = _chain.create2_address(_deployment.DEPLOYER, _chain.plain(known["salt"]), init_code)
    if address != known["router"]:
        raise click.ClickException(
            f"{record} is of the router {known['router']}, but this source tree with its salt and arguments gives"
            f" {address}: check out the commit that it was deployed from"
        )

    form = {
        "chain_id": known["chain_id"],
        "address": known["router"],
        "contract_name": f"{SOURCE}:{_deployment.CONTRACT}",
        "compiler_version": f"v{metadata['compiler']['version']}",
        "license": "MIT",
    }
    _deployment.write_text(folder / "standard-input.json", json.dumps(standard_input, indent=2) + "\n")
    _deployment.write_text(folder / "constructor-arguments.txt", arguments.hex() + "\n")
    _deployment.write_text(folder / "form.json", json.dumps(form, indent=2) + "\n")
    click.echo(f"It compiles to the router {address}: {folder}")


def _standard_input() -> tuple[Any, dict[str, Any]]:
    """The compiler's version, and its input for the router alone: every source in full, and the build's settings."""
    compiler = ManagerAccessMixin.compiler_manager.solidity
    ((version, built),) = compiler.get_standard_input_json([project.path / SOURCE], project=project).items()
    settings = {**built["settings"], "outputSelection": {"*": {"*": _OUTPUT}}}
    return version, {"language": built["language"], "sources": built["sources"], "settings": settings}


def _compiled(standard_input: dict[str, Any], version: Any) -> dict[str, Any]:
    output = compile_standard(standard_input, solc_binary=get_executable(version=version.base_version))
    contract: dict[str, Any] = output["contracts"][SOURCE][_deployment.CONTRACT]
    return contract


def _require_whole(standard_input: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Explorers have no node_modules: whatever the compiler read has to be in the input."""
    missing = metadata["sources"].keys() - standard_input["sources"].keys()
    if missing:
        raise click.ClickException(f"the compiler also read {', '.join(sorted(missing))}: not part of its input")
