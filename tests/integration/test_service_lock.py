"""The service installs and runs from its own lock: no Ape, no test tool, nothing that only happens to be there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.conftest import ROOT, RunningCascade


def test_the_service_runs_from_its_own_lock(start_cascade: Callable[..., RunningCascade], tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    environment = tmp_path / "service"
    python = environment / "bin" / "python"
    for command in (
        (uv, "venv", "--quiet", "--python", sys.executable, environment),
        (uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", ROOT / "requirements.lock"),
    ):
        subprocess.run(command, check=True, env=os.environ, timeout=240)
    installed = subprocess.run(
        (uv, "pip", "list", "--quiet", "--python", python), check=True, capture_output=True, text=True
    ).stdout
    assert "ape" not in installed.split()
    assert "pytest" not in installed
    cascade = start_cascade(python=python)
    wish = {"citizen_id": "Marco", "package": "starter", "token": "USDC"}
    assert httpx.post(f"{cascade.api}/api/payments/crypto-payment-intent", json=wish).status_code == 201
