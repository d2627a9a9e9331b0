"""A disk that is really full: a small one in memory, which only root can mount."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import heartbeats
from cascade.db.database import Database, migrate
from sandbox.polygon import LocalPolygon
from sandbox.postgres import EmbeddedPostgres
from tests.support.delivery import until
from tests.support.purchases import write_nowhere

WISH = {"citizen_id": "Marco", "package": "starter", "token": "USDC"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here: it takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits; returns the file to delete."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    return filler


def test_health_and_orders_are_503_while_the_databases_disk_is_full(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgres.start(disk)
    database = Database(server.create_database("cascade"))
    database.open()
    migrate(database)
    monkeypatch.setenv("DATABASE_URL", server.url_of("cascade"))
    monkeypatch.setenv("CASCADE_RPC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CASCADE_DEPLOYMENT", str(write_nowhere(tmp_path)))
    monkeypatch.setattr(heartbeats, "PROBE_SECONDS", 0)
    with TestClient(create_app(), raise_server_exceptions=False) as client:

        def orders() -> set[int]:
            return {client.post("/api/payments/crypto-payment-intent", json=WISH).status_code for _ in range(20)}

        assert orders() == {201}
        assert client.get("/health").json()["database"]  # from now on there is room in the page of its row
        filler = fill(disk)
        until(lambda: 503 in orders(), 30)  # what has room in a page is still taken
        until(lambda: client.get("/health").json()["database"] is False, 30)
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["status"], answer.headers["retry-after"]) == (503, "down", "5")
        filler.unlink()
        until(lambda: client.get("/health").json()["database"])
        assert orders() == {201}
    database.close()
    server.stop()


def test_the_local_chain_stands_still_in_one_line_while_its_disk_is_full(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), LocalPolygon.start(disk, block_seconds=0.1) as polygon:
        filler = fill(disk)
        until(lambda: "stands still" in caplog.text)
        height = polygon.rpc("eth_blockNumber")
        time.sleep(1)  # ten more attempts
        assert polygon.running
        filler.unlink()
        until(lambda: "goes on" in caplog.text)
        until(lambda: int(polygon.rpc("eth_blockNumber"), 16) > int(height, 16) + 2)
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("durable_miner")]
    assert len(lines) == 2, lines
    assert "No space left on device" in lines[0]
    assert not any(record.exc_info for record in caplog.records)
