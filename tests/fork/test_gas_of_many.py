"""What payments cost that come many at once, held to tests/fork/gas.json as in test_gas.py. Per payment."""

from typing import Any

import ape
import click
import pytest

from benchmarks.gas import snapshot
from benchmarks.gas.scene import Scene
from sandbox.polygon.rpc import Rpc

ROWS = [row for row in snapshot.load() if row.payments > 1]


@pytest.fixture(scope="module")
def scene() -> Any:
    return Scene(Rpc(ape.networks.provider.uri))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_costs_what_was_committed(scene, row):
    if row.token not in [token.symbol for token in scene.tokens]:
        pytest.skip(f"nobody can be given {row.token} on this fork; run against the local Polygon")

    measured = snapshot.measure_again(scene, row)

    click.echo(f"\n{row!s:45} {measured:9,} of {row.ceiling:9,}")
    assert row.complaint(measured, exact=scene.is_local_polygon) is None
