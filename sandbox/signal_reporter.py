"""Reports the recognition events of the double's city, as a program of the operator's would, with a key of its own."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx

from sandbox.venice import CityMetrics

_WINDOW_SECONDS = 30
_LOOK_BACK_SECONDS = 8 * 3600
"""What happened before it came is reported as well: usual hours are needed to compare with."""
_MOST_SIGNALS = 500


class Observatory:
    """Counts and reports until it is stopped. A report that was made before is told again without harm."""

    def __init__(self, api: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=api, headers={"authorization": f"Bearer {key}"}, timeout=10, trust_env=False
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, name="observatory", daemon=True)

    @classmethod
    def start(cls, home: Path, api: str, environment: Mapping[str, str]) -> Self:
        """Starts to report to the API at an address; `environment` is that of the running `cascade`.

        Raises `subprocess.CalledProcessError` when no key can be made.
        """
        observatory = cls(api, _key(home / "observatory.key", environment))
        observatory._thread.start()
        return observatory

    def stop(self) -> None:
        """Ends it."""
        self._over.set()
        self._thread.join()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _report(self) -> None:
        reported = (int(time.time()) - _LOOK_BACK_SECONDS) // _WINDOW_SECONDS
        while not self._over.wait(1):
            newest = min(int(time.time()) // _WINDOW_SECONDS, reported + _MOST_SIGNALS)
            if newest == reported:
                continue
            signals = [_signal(window) for window in range(reported + 1, newest + 1)]
            try:
                answer = self._client.post("/api/economics/signals", json={"signals": signals})
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                reported = newest


def _signal(window: int) -> dict[str, Any]:
    end = window * _WINDOW_SECONDS
    count = _events_until(end) - _events_until(end - _WINDOW_SECONDS)
    occurred_at = datetime.fromtimestamp(end, UTC).isoformat()
    return {"id": f"recognition-{window}", "kind": "recognition", "value": count, "occurred_at": occurred_at}


def _events_until(seconds: int) -> int:
    return CityMetrics(clock=lambda: seconds).now().recognition_events


def _key(file: Path, environment: Mapping[str, str]) -> str:
    """The key of the last time, or a new one, made as an operator makes it."""
    if file.exists():
        return file.read_text()
    name = f"observatory-{secrets.token_hex(2)}"  # the file may be gone, and what had its name keeps it
    command = (sys.executable, "-m", "cascade", "keys", "add", name, "--scope", "signals")
    made = subprocess.run(command, env=os.environ | dict(environment), capture_output=True, text=True, check=True)
    (key,) = re.findall(r"^csk_\S+$", made.stdout, re.MULTILINE)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(key)
    return str(key)
