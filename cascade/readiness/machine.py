"""Checks of this machine, and of the address that citizens know."""

from __future__ import annotations

import ipaddress
import platform
import shutil
import sys
from typing import Final
from urllib.parse import urlsplit

import httpx

from cascade import __version__
from cascade.app import App
from cascade.errors import SettingsError
from cascade.readiness.findings import Finding, error, ok, warning
from cascade.readiness.home_folder import require_home

_MEGABYTE: Final = 1024 * 1024
_FEW_MEGABYTES: Final = 1024
_TOO_FEW_MEGABYTES: Final = 100
_SECONDS: Final = 5.0


def versions(_cascade: App) -> list[Finding]:
    """Tell what runs here."""
    text = f"Cascade {__version__}, Python {platform.python_version()}"
    if not (3, 11) <= sys.version_info < (3, 13):
        return [error("versions", text, "run Python 3.11 or 3.12")]
    return [ok("versions", text)]


def disk(app: App) -> list[Finding]:
    """Look whether CASCADE_HOME can be written and has room."""
    home = app.settings.home
    try:
        require_home(home)
        free = shutil.disk_usage(home).free // _MEGABYTE
    except (SettingsError, OSError) as cause:
        return [error("disk", str(cause), "make CASCADE_HOME writable, or name another folder")]
    text = f"{free:,} MB free at {home}"
    if free < _TOO_FEW_MEGABYTES:
        return [error("disk", text, "make room")]
    return [ok("disk", text) if free >= _FEW_MEGABYTES else warning("disk", text, "make room")]


def public_url(app: App) -> list[Finding]:
    """Look whether citizens can open the address that links have."""
    url = app.settings.base_url
    if app.settings.public_url is None:
        return [
            warning("public URL", f"unset: links begin with {url}", "set CASCADE_PUBLIC_URL to the proxy's address")
        ]
    if urlsplit(url).scheme == "http" and not _is_local(url):
        return [
            error("public URL", f"{url} is not encrypted", "put a proxy with TLS in front, and name it with https://")
        ]
    try:
        answer = httpx.get(f"{url}/api/payments/pricing", timeout=_SECONDS, trust_env=False)
    except httpx.HTTPError as cause:
        text = f"{url} gives no answer from here: {type(cause).__name__}"
        return [warning("public URL", text, "start `cascade up`, and look at the name, the proxy and its certificate")]
    if answer.status_code != 200 or "usd_per_ducat" not in answer.text:
        text = f"{url} answers, but not with our prices: {answer.status_code}"
        return [
            warning("public URL", text, "let the proxy lead to CASCADE_HOST and CASCADE_PORT, and start `cascade up`")
        ]
    return [ok("public URL", f"{url} leads to us")]


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
