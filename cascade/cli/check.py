"""``cascade check``: whether a sale would work."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from cascade import bootstrap, readiness, settings
from cascade.cli.terminal import as_json_option, console
from cascade.readiness import Level

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "bold red"}


@click.command()
@as_json_option
def check(*, as_json: bool) -> None:
    """Look at everything that a sale needs, once; exit 1 when something would fail. Nothing is changed or sent."""
    found = readiness.run_checks(bootstrap.assemble(settings.load()))
    if as_json:
        console.print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        width = max(len(finding.check) for finding in found)
        for finding in found:
            console.print(f"{finding.level:<8}", style=_STYLES[finding.level], end="")
            console.print(f"{finding.check:<{width}}  {finding.text}")
            if finding.remedy:
                console.print(f"{'':<8}{'':<{width}}  -> {finding.remedy}")
    if any(finding.level is Level.FAULT for finding in found):
        sys.exit(1)
