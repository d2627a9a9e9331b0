"""Holds a deployed PaymentRouter against its record and against this source tree.

ape run verify --network polygon:mainnet:node
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click
from ape import project
from ape.api import ProviderAPI
from ape.cli import ConnectedProviderCommand
from rich.console import Console
from rich.table import Table

from scripts import _chain, _deployment

CHANGEABLE = ("partner", "owner")
"""Arguments that the owner may have changed since: a difference is news, no fault."""


class Finding(NamedTuple):
    """One thing that was compared: `actual` is what the chain says."""

    what: str
    actual: str
    expected: str
    may_change: bool = False

    @property
    def verdict(self) -> str:
        if self.actual == self.expected:
            return "[green]equal"
        return "[yellow]changed since" if self.may_change else "[red]DIFFERS"

    @property
    def is_fault(self) -> bool:
        return self.actual != self.expected and not self.may_change


@click.command(cls=ConnectedProviderCommand)
@click.option("--record", type=click.Path(path_type=Path), help="The record. [default: deployments/<chain id>.json]")
def cli(provider: ProviderAPI, record: Path | None) -> None:
    """Compare the deployed PaymentRouter with its record and with the build."""
    path = record or _deployment.default_path(provider.chain_id)
    if not path.exists():
        raise click.ClickException(f"{path} does not exist: deploy first, or name the record with --record")

    findings = _compare(provider, _deployment.read(path))

    table = Table(title=str(path))
    for name in ("", "on chain", "expected", "verdict"):
        table.add_column(name, overflow="fold")  # never cut off: people compare by eye
    for finding in findings:
        table.add_row(finding.what, finding.actual, finding.expected, finding.verdict)
    Console(width=180).print(table)
    faults = [finding.what for finding in findings if finding.is_fault]
    if faults:
        raise click.ClickException(f"the deployed router differs in: {', '.join(faults)}")


def _compare(provider: ProviderAPI, record: dict[str, Any]) -> list[Finding]:
    code = _chain.code(provider, record["router"])
    plan = _deployment.plan_of(record)
    findings = [
        Finding("chain id", str(provider.chain_id), str(record["chain_id"])),
        Finding("code, by the record", _chain.code_hash(code), record["code_hash"]),
        Finding("code, by this build", _chain.code_hash(code), _code_hash_of_build(provider, plan)),
        Finding("address, by this build", record["router"], plan.address),
    ]
    if not code:  # nobody to ask
        return findings
    router = getattr(project, _deployment.CONTRACT).at(record["router"], fetch_from_explorer=False)
    for name in _deployment.ARGUMENTS:
        actual = str(getattr(router, name)())
        findings.append(Finding(name, actual, record["arguments"][name], may_change=name in CHANGEABLE))
    return findings


def _code_hash_of_build(provider: ProviderAPI, plan: _deployment.Plan) -> str:
    """The hash of the code that this source tree would deploy. A constructor that refuses its arguments today has no
    such code, which is a difference too."""
    try:
        return _chain.code_hash(plan.code(provider))
    except _chain.Refused as refusal:
        return _deployment.reason(refusal)
