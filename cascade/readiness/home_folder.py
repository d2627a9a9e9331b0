"""The folder in which a running system leaves its files."""

from __future__ import annotations

from pathlib import Path

from cascade.errors import SettingsError


def require_home(home: Path) -> None:
    """Make the folder, and write to it.

    Raises:
        SettingsError: it cannot be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / "writable.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise SettingsError(f"CASCADE_HOME: cannot write to {home}: {error.strerror}; make it writable") from None
