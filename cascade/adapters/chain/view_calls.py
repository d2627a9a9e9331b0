"""Ask contracts, also those whose code a payer chose: one call's fault is never taken for the node's.

A payer's code can burn all gas, answer without end, or fail in a way that is no revert. So each call has a gas limit,
the answer a bound, and nothing of it is kept beyond its first 256 bytes. What fails is asked again alone, beside a
control call that must succeed. Only when that one fails too is the node unavailable.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cascade.adapters.chain.rpc import Endpoint, Request, error_text, hexadecimal, result_of
from cascade.errors import NodeUnavailable

KEPT_BYTES: Final = 256
"""No answer of a contract is read beyond this; what is asked for here has 32, and a reason in words less than 200."""
MAX_FOREIGN_BYTES: Final = 1024 * 1024
"""Most bytes of an answer to calls into foreign code."""

_GAS: Final = 1_000_000
"""What a call into the router or a token may use: some ten times what it needs."""
_TIMES_ALONE: Final = 3
"""How often a call must fail alone beside a good control call: a node that fails at random seldom does so thrice."""
_PATIENCE_SECONDS: Final = 5.0
"""How long calls are asked one by one."""


@dataclass(frozen=True, slots=True)
class Reverted:
    """The refusal of a call by a contract: the first bytes of an error's selector and arguments, or nothing."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed(Reverted):
    """A call that fails without a revert, although the node answers others: out of gas, an answer without end."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class ViewCall:
    """A call that changes nothing.

    Attributes:
        to: the contract, or a payer whose code is asked.
        data: the calldata.
        sender: what the contract takes for its caller and for the transaction's sender.
        gas: most that it may use.
        foreign: a payer chose some of the code that runs.
    """

    to: str
    data: bytes
    sender: str | None = None
    gas: int = _GAS
    foreign: bool = False

    @property
    def request(self) -> Request:
        """Return the request as a node wants it."""
        call = {"to": self.to, "data": "0x" + self.data.hex(), "gas": hex(self.gas)}
        return "eth_call", [call if self.sender is None else call | {"from": self.sender}, "latest"]


def ask(
    node: Endpoint, calls: Sequence[ViewCall], *, control: ViewCall, beside: Sequence[Request] = ()
) -> tuple[list[Any], dict[ViewCall, bytes | Reverted]]:
    """Ask several calls at once, each once; one request while nothing fails.

    Args:
        node: where the chain is read.
        calls: what to ask. A foreign one that is missing in the answer was not judged within five seconds.
        control: a call into our own contracts that always succeeds.
        beside: further questions to the node, answered at the same moment.

    Returns:
        The results of ``beside``, and what each call returned, or what the contract said when it refused.

    Raises:
        NodeUnavailable: the control call, a call that is not foreign or one of ``beside`` was not answered.
    """
    ours = [call for call in dict.fromkeys([control, *calls]) if not call.foreign]
    foreign = [call for call in dict.fromkeys(calls) if call.foreign]
    trusted = [*beside, *(call.request for call in ours)]
    answers = _answers(node, trusted, foreign)
    told: dict[ViewCall, bytes | Reverted] = {}
    for call, answer in zip(ours, answers[len(beside) :], strict=False):
        told[call] = _known(call, answer)
    results = [result_of(answer, method) for (method, _), answer in zip(beside, answers, strict=False)]
    first = dict(zip(foreign, answers[len(trusted) :], strict=True))
    told |= {call: said for call, answer in first.items() if (said := _said(answer)) is not None}
    if any(call not in told for call in foreign):
        told |= _one_by_one(node, [call for call in foreign if call not in told], control)
    return results, told


def _one_by_one(node: Endpoint, calls: Sequence[ViewCall], control: ViewCall) -> Mapping[ViewCall, bytes | Reverted]:
    """Ask calls that were not answered together, in halves while whole answers fail, then alone.

    When the time is over the rest stays without an answer, but at least one call has one: so each look gets further.
    """
    told: dict[ViewCall, bytes | Reverted] = {}
    failures: Counter[ViewCall] = Counter()
    until = time.monotonic() + _PATIENCE_SECONDS
    groups = deque([tuple(calls)])
    while groups and (time.monotonic() < until or not (told or failures)):
        group = groups.popleft()
        trusted, *answers = _answers(node, [control.request], group)
        _known(control, trusted)
        said = {call: what for call, answer in zip(group, answers, strict=True) if (what := _said(answer)) is not None}
        told |= said
        left = [call for call in group if call not in said]
        if len(group) == 1:
            failures.update(left)
            groups.extendleft((call,) for call in left if failures[call] < _TIMES_ALONE)
        elif said:
            groups.extendleft((call,) for call in left)
        else:
            half = len(left) // 2
            groups.extendleft([tuple(left[half:]), tuple(left[:half])])
    return {call: Failed() for call in failures} | told


def _answers(node: Endpoint, trusted: Sequence[Request], foreign: Sequence[ViewCall]) -> list[dict[str, Any] | None]:
    """Ask all in one request; when its answer cannot be read, what is trusted alone."""
    try:
        return node.answers([*trusted, *(call.request for call in foreign)], max_bytes=MAX_FOREIGN_BYTES)
    except NodeUnavailable:
        if not foreign:
            raise
        return [*node.answers(trusted), *(None for _ in foreign)]


def _known(call: ViewCall, answer: dict[str, Any] | None) -> bytes | Reverted:
    said = _said(answer)
    if said is None:
        raise NodeUnavailable(f"eth_call to {call.to}: {error_text(answer)}")
    return said


def _said(answer: dict[str, Any] | None) -> bytes | Reverted | None:
    """Return what a contract returned or refused with, cut; None when this is no contract's word."""
    if answer is None:
        return None
    if "result" in answer:
        return _first_bytes(answer["result"])
    error = answer.get("error")
    # Nodes agree on little more than these two: geth's code for a revert, and the word.
    if not isinstance(error, Mapping):
        return None
    if error.get("code") == 3 or "revert" in str(error.get("message"))[:200].lower():
        return Reverted(_first_bytes(error.get("data")) or b"")
    return None


def _first_bytes(text: Any) -> bytes | None:
    if not isinstance(text, str) or not text.startswith("0x"):
        return None
    try:
        return hexadecimal(text[: 2 + 2 * KEPT_BYTES], "eth_call")
    except NodeUnavailable:
        return None
