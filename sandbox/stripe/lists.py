"""Lists in pages, newest first, and the `expand` parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from sandbox.stripe.account import Account
from sandbox.stripe.errors import InvalidRequest, Json, NoSuchObject
from sandbox.stripe.form import Parameters

_DEFAULT_LIMIT: Final = 10
_MOST: Final = 100
_DEEPEST: Final = 4
_PREFIXES: Final = {
    "pi": "payment_intent", "pm": "payment_method", "ch": "charge", "py": "charge", "cs": "checkout.session",
    "re": "refund", "du": "dispute", "txn": "balance_transaction", "po": "payout",
}  # fmt: skip
_EXPANDABLE: Final = frozenset({
    "payment_intent", "payment_method", "latest_charge", "charge", "balance_transaction", "source",
    "failure_balance_transaction",
})  # fmt: skip


def page(url: str, newest_first: Iterable[Json], parameters: Parameters) -> Json:
    """One page: `limit` (1 to 100, 10 by default), `starting_after` or `ending_before` an id."""
    limit = parameters.optional_integer("limit")
    after, before = parameters.optional_text("starting_after"), parameters.optional_text("ending_before")
    parameters.finish()
    if limit is not None and not 1 <= limit <= _MOST:
        raise InvalidRequest("Invalid limit: must be between 1 and 100", param="limit")
    if after is not None and before is not None:
        raise InvalidRequest("You cannot use both starting_after and ending_before.", param="starting_after")
    size, found, seen = limit or _DEFAULT_LIMIT, [], after is None
    for body in newest_first:
        if body["id"] == before:
            seen, before = True, None
            break
        if seen:
            found.append(body)
            if before is None and len(found) > size:
                break
        seen = seen or body["id"] == after
    if not seen or before is not None:
        name = "starting_after" if after else "ending_before"
        raise NoSuchObject("object", str(after or before), name)
    backwards = "ending_before" in parameters
    shown = found[-size:] if backwards else found[:size]
    return {"object": "list", "data": shown, "has_more": len(found) > size, "url": url}


def created_filter(parameters: Parameters) -> Callable[[Json], bool]:
    """Whether an object was created when `created` says: a time in seconds, or `gt`, `gte`, `lt`, `lte` of one."""
    try:
        exactly = parameters.optional_integer("created")
    except InvalidRequest:
        group = parameters.optional_group("created")
        if group is None:
            raise
        bounds = {name: group.optional_integer(name) for name in ("gt", "gte", "lt", "lte")}
        group.finish()
        return lambda body: _within(int(body["created"]), bounds)
    return lambda body: exactly is None or body["created"] == exactly


def _within(created: int, bounds: dict[str, int | None]) -> bool:
    gt, gte, lt, lte = (bounds[name] for name in ("gt", "gte", "lt", "lte"))
    return (
        (gt is None or created > gt) and (gte is None or created >= gte)
        and (lt is None or created < lt) and (lte is None or created <= lte)
    )  # fmt: skip


class Expansion:
    """Puts objects where their ids are."""

    def __init__(self, account: Account, contents: dict[tuple[str, str], Callable[[str], Json]]) -> None:
        self._account = account
        self._contents = contents
        """Lists that are shown only when asked for, by kind and field."""

    def expand(self, body: Json, paths: list[str]) -> Json:
        """A copy with these fields expanded: `latest_charge.balance_transaction`, `data.payment_intent`, …

        Raises `InvalidRequest` for a field that is none, or deeper than four.
        """
        for path in paths:
            steps = path.split(".")
            if len(steps) > _DEEPEST:
                raise InvalidRequest(f"You cannot expand more than {_DEEPEST} levels of a property ({path}).",
                                     param="expand")  # fmt: skip
            body = self._expand(body, steps, path)
        return body

    def _expand(self, body: Json, steps: list[str], path: str) -> Json:
        name, deeper = steps[0], steps[1:]
        if body.get("object") == "list":
            if name != "data":
                raise _not_expandable(path)
            return body | {
                "data": [self._expand(member, deeper, path) if deeper else member for member in body["data"]]
            }
        value = body.get(name)
        content = self._contents.get((body["object"], name))
        if content is not None:
            value = content(body["id"])
        elif name not in body or name not in _EXPANDABLE:
            raise _not_expandable(path)
        elif isinstance(value, str):
            value = self._account.get(_PREFIXES[value.split("_")[0]], value)
        if deeper and isinstance(value, dict):
            value = self._expand(value, deeper, path)
        return body | {name: value}


def _not_expandable(path: str) -> InvalidRequest:
    return InvalidRequest(f"This property cannot be expanded ({path}).", param="expand")
