"""`make sandbox`: runs the tests of the sandbox, unless it is what they have passed on; `--all` runs them anyhow."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[2]
PASSED = ROOT / "sandbox" / "tests" / "passed.txt"
"""Holds the digest that they last passed on; committed with the change that made them run."""
_LOCKS = ("requirements-dev.lock", "package-lock.json")


def digest() -> str:
    """Return a digest of all that the tests depend on: the sandbox with its tests, and the locks."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "sandbox", *_LOCKS],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    content = hashlib.sha256()
    for name in sorted(listed.stdout.splitlines()):
        file = ROOT / name
        if file != PASSED and file.exists():
            content.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()


def main() -> int:
    """Run them where that says something new; returns pytest's exit code."""
    today = digest()
    if "--all" not in sys.argv and PASSED.exists() and PASSED.read_text().strip() == today:
        Console().print("The sandbox is what its tests have passed on: python -m sandbox.tests --all runs them anyhow.")
        return 0
    with tempfile.TemporaryDirectory() as folder:  # pytest shuts its own to PostgreSQL when another run begins
        plainly = ("-q", "-p", "no:ape_test", "--basetemp", f"{folder}/run")
        code = subprocess.run([sys.executable, "-m", "pytest", *plainly, "sandbox/tests"], cwd=ROOT).returncode
    if code == 0:
        PASSED.write_text(f"{today}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
