"""What a way to pay is, whoever made it; what it costs, and what it does when it is tried hard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.gas.scene import USDC, Scene, Step, Token
from sandbox.polygon import NodeError
from tests.fork.tokens import AMOUNT

Pay = Callable[[Scene, Token, int], list[Step]]
Prepare = Callable[[Scene, Token], None]
Finish = Callable[[Scene, Token], object]


def nothing(scene: Scene, token: Token) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Way:
    """One way to pay an order of 25 dollars, half to each side.

    `prepare` happens once and does not count (approvals, contracts that serve every payment); `pay` settles the order
    of a number, and every transaction of it counts; `finish` delivers what a blocked side could not be given.
    """

    name: str
    pay: Pay
    prepare: Prepare = nothing
    finish: Finish | None = None
    tokens: tuple[str, ...] = ("USDC", "USDT0")
    payments: int = 1
    by_plain_transfer: bool = False
    """Whoever sends twice has paid twice: there is no order to refuse."""
    splits: bool = True
    names_order: bool = True
    """An event says which order was paid."""
    package: str = ""


@dataclass(frozen=True)
class Cost:
    """Gas of one payment: by whom it is borne, and of the last transaction alone, which is the contract's own work."""

    payer: int
    others: int
    last: int
    transactions: int

    @property
    def total(self) -> int:
        return self.payer + self.others


def measure(scene: Scene, way: Way, token: Token) -> Cost:
    """The second payment: the first opens storage that every later one finds open."""
    with scene.undone():
        way.prepare(scene, token)
        way.pay(scene, token, 1)
        steps = way.pay(scene, token, 2)
    others = sum(step.gas for step in steps if step.sender in (scene.relayer.address, scene.owner.address))
    payer = sum(step.gas for step in steps) - others
    return Cost(payer // way.payments, others // way.payments, steps[-1].gas // way.payments, len(steps))


def refuses_replay(scene: Scene, way: Way) -> bool:
    """Whether an order that is presented again takes nothing from its payer."""
    with scene.undone():
        way.prepare(scene, USDC)
        way.pay(scene, USDC, 1)
        before = scene.balance(USDC, scene.payer.address)
        try:
            way.pay(scene, USDC, 1)
        except NodeError:
            return True
        return scene.balance(USDC, scene.payer.address) == before


@dataclass(frozen=True)
class Blocked:
    """What became of 25 USDC while the partner was on USDC's block list, and after."""

    settled: bool
    payer_paid: bool
    treasury_got_half: bool
    partner_got_half_later: bool

    def __str__(self) -> str:
        if not self.payer_paid:
            return "reverts: the order cannot be paid"
        if not self.treasury_got_half:
            return "the payer has paid; the split reverts, all of it waits"
        return "settles; the partner's half is held" if self.settled else "treasury paid; the partner's release reverts"


def with_partner_blocked(scene: Scene, way: Way) -> Blocked:
    """Pay while the partner is on USDC's block list, take it off, and deliver what is left to deliver."""
    with scene.undone():
        way.prepare(scene, USDC)
        way.pay(scene, USDC, 1)
        before = {who: scene.balance(USDC, who) for who in (scene.payer.address, scene.treasury, scene.partner)}
        scene.block(scene.partner)
        try:
            way.pay(scene, USDC, 2)
            settled = True
        except NodeError:
            settled = False
        paid = before[scene.payer.address] - scene.balance(USDC, scene.payer.address)
        treasury = scene.balance(USDC, scene.treasury) - before[scene.treasury]
        scene.unblock(scene.partner)
        if paid and way.finish:
            way.finish(scene, USDC)
        partner = scene.balance(USDC, scene.partner) - before[scene.partner]
        return Blocked(settled, paid > 0, treasury >= AMOUNT // 2, partner >= AMOUNT // 2)
