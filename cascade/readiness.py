"""Whether everything that a sale needs is there, found before it is sold."""

from __future__ import annotations

import logging

from cascade import bootstrap
from cascade.bootstrap import Cascade
from cascade.errors import NodeUnavailable, SettingsError

log = logging.getLogger(__name__)


def require(cascade: Cascade) -> None:
    """Refuse to start with what would never work. A node that is silent is waited for later.

    Raises:
        SettingsError: the hot key cannot be used, or CASCADE_HOME cannot be written.
        DeploymentMismatch: the chain is another one than the deployment record says.
    """
    bootstrap.hot_key(cascade.settings)
    _require_home(cascade)
    node = bootstrap.node(cascade.settings)
    try:
        bootstrap.check_deployment(cascade.deployment, node)
    except NodeUnavailable as fault:
        log.warning("%s; it is asked again", fault)
    finally:
        node.close()


def _require_home(cascade: Cascade) -> None:
    home = cascade.settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / "writable.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as fault:
        raise SettingsError(f"CASCADE_HOME: cannot write to {home}: {fault.strerror}; make it writable") from None
