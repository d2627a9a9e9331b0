"""What the browser is given is built from what is written here: the same lock gives the same bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "api" / "pages" / "static" / "built"
MODULES = ROOT / "api" / "pages" / "scripts"
BUNDLER = ROOT / "api" / "pages" / "walletconnect"


def test_the_modules_are_the_emitted_ones_and_their_types_hold(tmp_path: Path) -> None:
    tsc = BUNDLER / "node_modules" / ".bin" / "tsc"
    done = subprocess.run([str(tsc), "-p", str(MODULES), "--outDir", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    built = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(built) == {file.name for file in MODULES.glob("*.js")}
    for name, content in built.items():
        assert content == (STATIC / name).read_bytes(), f"{name} is not what its source makes: run `make page`"


def test_the_bundle_is_built_from_its_lock(tmp_path: Path) -> None:
    subprocess.run(["node", "build.js", str(tmp_path)], cwd=BUNDLER, check=True)
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (STATIC / file.name).read_bytes(), f"{file.name} differs: run `make page`"
    assert len(list(tmp_path.iterdir())) == 2
