"""Measures our router, the floor and the peers in one run, and prints what was found.

Usage: make bench-gas [ARGS=--write]

`--write` also writes tests/fork/gas.json and docs/contract-gas.md. Nothing is written when a ceiling is exceeded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress

from benchmarks.gas import ours, peers, report, snapshot
from benchmarks.gas.report import Finding, Report
from benchmarks.gas.scene import Scene
from benchmarks.gas.ways import Way, measure, refuses_replay, with_partner_blocked
from sandbox.polygon import LocalPolygon
from sandbox.polygon.rpc import Rpc


def examine(scene: Scene, way: Way, hard: bool = True) -> Finding:
    """Measure it with each token; `hard`: also pay twice, and pay while the partner is blocked."""
    finding = Finding(
        way, {token.symbol: measure(scene, way, token) for token in scene.tokens if token.symbol in way.tokens}
    )
    if hard and not way.by_plain_transfer:
        finding.refuses_replay = refuses_replay(scene, way)
    if hard and way.splits:
        finding.blocked = with_partner_blocked(scene, way)
    return finding


def run(scene: Scene) -> Report:
    """Examine all of them, with a bar, since a batch takes seconds."""
    groups: list[tuple[Sequence[Way], bool]] = [(peers.ways(), True), (ours.WAYS, True), (ours.REST, False)]
    findings: list[list[Finding]] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("Measuring", total=sum(len(ways) for ways, _ in groups))
        for ways, hard in groups:
            findings.append([])
            for way in ways:
                progress.update(task, description=f"{way.name:48}")
                findings[-1].append(examine(scene, way, hard))
                progress.advance(task)
    others, mine, rest = findings
    return Report(others, mine, rest, scene)


def for_snapshot(found: Report) -> dict[tuple[str, str, int], int]:
    """What our own transactions cost, by verb, token and payments."""
    costs = {
        (finding.way.name, symbol, finding.way.payments): cost.last
        for finding in (*found.ours, *found.rest)
        for symbol, cost in finding.costs.items()
    }
    return costs | {("deployment", "", 1): found.scene.deployment_gas}


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the snapshot and the page for readers")
    write = parser.parse_args().write
    try:
        with LocalPolygon.start() as chain:
            found = run(Scene(Rpc(chain.rpc_url)))
    except peers.PeersMissing as error:
        sys.exit(str(error))
    console = Console(width=120)
    for table in found.tables():
        console.print(table)
    if write:
        above = snapshot.refresh(for_snapshot(found))
        if above:
            sys.exit("\n".join(above))
        report.PATH.write_text(found.markdown(), encoding="utf-8")
        console.print(f"Written: {snapshot.PATH.name}, {report.PATH.name}")


if __name__ == "__main__":
    main()
