"""Check that everything that a sale needs is there, before it is sold: `cascade check`, and the start."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from cascade import bootstrap
from cascade.app import App
from cascade.errors import NodeUnavailable
from cascade.readiness import chain, database, machine, services
from cascade.readiness.findings import Finding, Level, error
from cascade.readiness.home_folder import require_home

__all__ = ["CHECKS", "Finding", "Level", "require", "run_checks"]

log = logging.getLogger(__name__)

Check = Callable[[App], list[Finding]]
CHECKS: Sequence[Check] = (
    *(machine.versions, database.database, chain.node, chain.relayer),
    *(services.stripe, services.venice, services.mail, machine.disk, machine.public_url),
)
LONGEST_SECONDS = 20.0
"""For all checks, which run side by side."""


def run_checks(app: App, checks: Sequence[Check] = CHECKS, seconds: float = LONGEST_SECONDS) -> list[Finding]:
    """Run the checks side by side; one that takes too long is a fault, and is waited for no longer."""
    found: dict[Check, list[Finding]] = {}

    def look(check: Check) -> None:
        try:
            found[check] = check(app)
        except Exception as cause:  # the other checks must be told in any case
            log.exception("check %s", check.__name__)
            found[check] = [error(check.__name__, f"the check failed: {type(cause).__name__}", "report this")]

    threads = [threading.Thread(target=look, args=(check,), daemon=True) for check in checks]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no result within {seconds:.0f} s"
    return [
        finding
        for check in checks
        for finding in found.get(check) or [error(check.__name__, late, "try again; what is asked is too slow")]
    ]


def require(app: App) -> None:
    """Refuse to start with what would never work. A node that is silent is waited for later.

    Raises:
        SettingsError: the hot key or the mail server's address cannot be used, or CASCADE_HOME cannot be written.
        DeploymentMismatch: the chain is another one than the deployment record says.
    """
    bootstrap.hot_key(app.settings)
    bootstrap.mailer(app.settings)
    require_home(app.settings.home)
    node = bootstrap.node(app.settings)
    try:
        bootstrap.check_deployment(app.deployment, node)
    except NodeUnavailable as cause:
        log.warning("%s; it is asked again", cause)
    finally:
        node.close()
