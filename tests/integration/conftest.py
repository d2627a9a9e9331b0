"""The API's application on a real database; it sells and shows without a chain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade.chains import POLYGON
from cascade.store.database import Database
from tests.purchases import NOWHERE


@pytest.fixture
def environment(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The variables that the application starts with; returns the deployment record's path."""
    usdc, usdt = POLYGON.stablecoins.values()
    record = {
        "chain_id": 137,
        "router": NOWHERE.router,
        "block_number": 1,
        "code_hash": NOWHERE.code_hash,
        "arguments": {"usdc": usdc, "usdt": usdt, "treasury": NOWHERE.treasury, "partner": NOWHERE.partner},
    }
    path = tmp_path / "137.json"
    path.write_text(json.dumps(record))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CASCADE_RPC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CASCADE_DEPLOYMENT", str(path))
    monkeypatch.setenv("CASCADE_PUBLIC_URL", "https://pay.example.org/")
    return path
