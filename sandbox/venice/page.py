"""A page for people: who holds what, and what came last."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from sandbox.venice.state import VeniceState

_MOST: Final = 20
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#22201c;"
    "background:#fdfaf3}h1{color:#8c1c24}table{border-collapse:collapse;width:100%;margin-bottom:2rem}"
    "td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #d8cdb8;vertical-align:top}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:inherit}td:first-child pre{white-space:nowrap}"
)


def page(city: VeniceState) -> str:
    """The page; everything that somebody else wrote is escaped."""
    purses = [(name, f"{ducats:,f}") for name, ducats in sorted(city.purses().items(), key=lambda one: -one[1])]
    transfers = [(one.target, f"{one.amount:,f}", one.notes) for one in city.transfers()[: -_MOST - 1 : -1]]
    messages = [(one["receiver"], one["content"]) for one in city.messages()[: -_MOST - 1 : -1]]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Venice, a double</title><style>{_STYLE}</style>"
        "<h1>Venice</h1><p>A double for trying things out. Nothing here is worth anything.</p>"
        + _table("Purses", ("citizen", "ducats"), purses)
        + _table("Last transfers", ("to", "ducats", "notes"), transfers)
        + _table("Last messages", ("to", "message"), messages)
    )


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}" for name in names)
    body = "".join("<tr>" + "".join(f"<td><pre>{escape(cell)}</pre>" for cell in row) for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}{body or '<tr><td>None yet.'}</table>"
