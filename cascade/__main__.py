"""``cascade``, and ``python -m cascade``: the command line, and the one place where it meets the API that it serves."""

from __future__ import annotations

from typing import Any

from cascade.cli import main


def application() -> Any:
    """Return the API's application, imported only by the commands that serve it."""
    from api.main import app

    return app


def run() -> None:
    """Run the command line."""
    main(application)


if __name__ == "__main__":
    run()
