"""`ape run …`, many times in one process: Ape takes five seconds to start, and a moment for what comes after."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple, Self

_ROOT = Path(__file__).parent.parent
_STOP_SECONDS = 10.0


class Outcome(NamedTuple):
    """How a script ended: its exit code, and all that it said."""

    code: int
    output: str


class ApeShell:
    """Runs operators' scripts one after the other, each as if Ape had just been started."""

    def __init__(self, rpc_url: str, **environment: str) -> None:
        tools = {"WEB3_PROVIDER_URI": rpc_url, "SOLCX_BINARY_PATH": str(_ROOT / "sandbox/polygon/solc")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.ape_shell"],
            cwd=_ROOT,
            env=os.environ | tools | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> Outcome:
        """Runs `ape run <words>` and returns when it has ended."""
        assert self._process.stdin is not None  # noqa: S101  # both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"Ape ended with code {self._process.wait()} in `ape run {' '.join(words)}`")
        return Outcome(*json.loads(answer))

    def close(self) -> None:
        """Ends the process; a script that still runs is killed."""
        self._process.kill()
        self._process.communicate(timeout=_STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve() -> None:
    """Answers every line of words with a line of its outcome, until there are no more."""
    questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    sys.stdin = open(os.devnull)  # noqa: SIM115  # a script that asks is not answered: it hears the end of the input
    sys.path.insert(0, "")  # Ape takes this folder by its name out of the path; the modules are to be of this tree
    os.dup2(2, 1)  # whatever does not go through sys.stdout must not disturb the answers
    from ape._cli import cli  # heavy; only this process needs it
    from ape_node.provider import Node

    connect = Node.connect
    for line in questions:
        # Every new Node wraps it once more, and each layer would do its work again.
        Node.connect = connect  # type: ignore[method-assign]
        answers.write(json.dumps(_outcome(cli, json.loads(line))) + "\n")
        answers.flush()


def _outcome(cli: Any, words: list[str]) -> Outcome:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            cli.main(["run", *words], prog_name="ape")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:  # noqa: BLE001  # as the interpreter does at the end of a program
            traceback.print_exc()
            code = 1
    return Outcome(code, said.getvalue())


if __name__ == "__main__":
    _serve()
