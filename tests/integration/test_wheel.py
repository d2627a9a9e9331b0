"""The wheel runs where there is no checkout: built, installed beside what the lock names, started elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, RunningCascade

UV = Path(sys.executable).parent / "uv"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command; returns what it printed."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--wheel", "--quiet", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


def test_a_copy_that_was_not_installed_runs_as_well(tmp_path: Path) -> None:
    for folder in ("cascade", "api"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    assert run(sys.executable, "-m", "cascade", "--version", cwd=tmp_path).startswith("cascade, version ")


def test_it_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} - {"cascade", "api"} == {"cascade_payments-0.1.0.dist-info"}
    for wanted in (
        *("api/main.py", "api/pages/templates/pay.html", "api/pages/static/built/pay.js", "cascade/locales/it.po"),
        *(
            "cascade/catalogue.toml",
            "cascade/db/migrations/0001_ledger.sql",
            "cascade/adapters/chain/payment_router.json",
            "cascade/adapters/texts/parts/transaction.txt",
        ),
    ):
        assert wanted in names
    assert not [name for name in names if "walletconnect/" in name or "pages/scripts/" in name]


def test_it_sells_from_an_empty_folder(
    wheel: Path, tmp_path: Path, start_cascade: Callable[..., RunningCascade]
) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    install = (UV, "pip", "install", "--quiet", "--python", python, "--no-build")
    run(*install, "--require-hashes", "-r", "requirements.lock")
    run(*install, "--no-deps", "--offline", wheel)
    assert run(environment / "bin" / "cascade", "--version", cwd=empty).startswith("cascade, version ")
    cascade = start_cascade(python=python, cwd=empty)
    shop: Any = httpx.get(f"{cascade.api}/pay", headers={"accept": "text/html"})
    assert shop.status_code == 200
    assert httpx.get(f"{cascade.api}/static/pay.css").status_code == 200
    wish = {"citizen_id": "Marco", "package": "starter", "token": "USDC"}
    assert httpx.post(f"{cascade.api}/api/payments/crypto-payment-intent", json=wish).status_code == 201
    loaded = "import api, cascade, json; print(json.dumps([api.__file__, cascade.__file__]))"
    places = json.loads(run(python, "-c", loaded, cwd=empty))
    assert all(place.startswith(str(environment)) for place in places)
