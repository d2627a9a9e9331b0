"""What the router's verbs cost, in gas, held to tests/fork/gas.json: no more than its ceiling, and what was committed.

The same code measures as for `make bench-gas`, which refreshes the file. Shown with `-s`.
"""

from typing import Any

import ape
import click
import pytest

from benchmarks.gas import snapshot
from benchmarks.gas.scene import Scene
from sandbox.polygon.rpc import Rpc

ROWS = [row for row in snapshot.load() if row.payments == 1]


@pytest.fixture(scope="module")
def scene() -> Any:
    return Scene(Rpc(ape.networks.provider.uri))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_costs_what_was_committed(scene, row):
    if row.token and row.token not in [token.symbol for token in scene.tokens]:
        pytest.skip(f"nobody can be given {row.token} on this fork; run against the local Polygon")

    measured = snapshot.measure_again(scene, row)

    click.echo(f"\n{row!s:45} {measured:9,} of {row.ceiling:9,}")
    assert row.complaint(measured, exact=scene.is_local_polygon) is None


def test_a_row_above_its_ceiling_is_refused():
    row = ROWS[0]

    assert "its ceiling is" in str(row.complaint(row.ceiling + 1, exact=True))
    assert "its ceiling is" in str(row.complaint(row.ceiling + 1, exact=False))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_snapshot_that_is_not_true_is_refused(change):
    row = snapshot.Row("pay", "USDC", 1, gas=90_000, ceiling=100_000)

    assert row.complaint(90_000 + change * snapshot.TOLERANCE, exact=True) is None
    assert snapshot.REFRESH in str(row.complaint(90_000 + change * (snapshot.TOLERANCE + 1), exact=True))
    assert row.complaint(90_000 + change * (snapshot.TOLERANCE + 1), exact=False) is None


def test_every_verb_has_a_row():
    assert {(row.verb, row.token, row.payments) for row in snapshot.load()} == snapshot.expected()
