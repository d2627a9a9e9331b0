"""What several tests of the running API start with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cascade.db.database import Database
from sandbox.polygon import LocalPolygon
from tests.support.signing_shop import SigningShop


@pytest.fixture
def open_shop(
    environment: Path,
    polygon: LocalPolygon,
    deployment: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., SigningShop]]:
    """Opens the shop whose payers sign, with further variables, until the test ends."""
    with ExitStack() as stack:
        yield lambda **variables: stack.enter_context(
            SigningShop.open(polygon, deployment, database, monkeypatch.setenv, **variables)
        )
