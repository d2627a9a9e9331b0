"""`make mutants`: takes each guard out of a copy of the repository and sees its test fail. Two hours.

Usage: python -m tests.mutants [WORDS]   only the guards whose name contains these words
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from tests.mutants import ROOT, Guard, guards

PATIENCE_SECONDS = 600
SHARED = (".venv", "node_modules", ".build")
"""Installed or built, and not changed by a mutant: linked, not copied."""


def killed_by(guard: Guard, copy: Path) -> str | None:
    """The first test that fails without the guard; None when the mutant survives."""
    mutated = copy / guard.file
    genuine = mutated.read_text()
    assert guard.old in genuine, f"{guard.name}: {guard.file} no longer holds {guard.old!r}"
    mutated.write_text(genuine.replace(guard.old, guard.new, 1))
    quietly = ("-q", "-x", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *quietly, "-p", "no:ape_test", guard.test]
    if guard.test.startswith("tests/fork/"):
        command = ["ape", "test", guard.test, "--network", "polygon:mainnet-fork:foundry", *quietly]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"a test that did not end within {PATIENCE_SECONDS} s"
    finally:
        mutated.write_text(genuine)
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed and done.returncode else None


def main() -> None:
    """Go through the guards; exit 1 when a mutant survives."""
    words = " ".join(sys.argv[1:])
    chosen = [guard for guard in guards() if words in guard.name]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(soft_wrap=True)) as progress:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".cascade", "__pycache__", *SHARED))
        for name in SHARED:
            (copy / name).symlink_to(ROOT / name)
        for guard in progress.track(chosen, description="Mutants"):
            test = killed_by(guard, copy)
            survivors += test is None
            verdict = f"[green]killed[/] by {escape(test)}" if test else "[bold red]survived[/]"
            progress.console.print(f"{escape(guard.name)}: {verdict}")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
