"""The ways to pay through our router, and what else it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.gas.scene import ALL, EXPIRES_AT, USDC, Person, Scene, Step, Token, person
from benchmarks.gas.ways import Pay, Way
from sandbox.polygon import addresses as at
from tests.contracts.orders import PERMIT2, Order, Role, sign_authorization, sign_permit, sign_permit2
from tests.fork.tokens import AMOUNT

_SIGNED_PAYMENT = "(ORDER,address,bytes)"


def _approve_router(scene: Scene, token: Token) -> None:
    scene.approve(token, scene.payer.address, scene.router)


def _approve_permit2(scene: Scene, token: Token) -> None:
    scene.approve(token, scene.payer.address, PERMIT2, ALL)


def _pay(scene: Scene, token: Token, number: int) -> list[Step]:
    return [scene.send(scene.payer.address, scene.router, "pay(ORDER)", scene.order(token, number))]


def _pay_with_permit(scene: Scene, token: Token, number: int) -> list[Step]:
    nonce = scene.rpc.call(token.address, "nonces(address)", scene.payer.address, returns="uint256")
    permit = sign_permit(scene.payer.key, token.domain, scene.router, AMOUNT, nonce, EXPIRES_AT)
    signature = "payWithPermit(ORDER,(uint256,uint8,bytes32,bytes32))"
    return [scene.send(scene.payer.address, scene.router, signature, scene.order(token, number), permit)]


def _signature(scene: Scene, token: Token, order: Order, payer: Person) -> bytes:
    if token is USDC:
        return sign_authorization(payer.key, token.domain, scene.router, order, scene.id(order))
    return sign_permit2(payer.key, at.CHAIN_ID, scene.router, order, scene.id(order))


def _pay_with_authorization(scene: Scene, token: Token, number: int, relayed: bool = True) -> list[Step]:
    order, sender = scene.order(token, number), scene.relayer if relayed else scene.payer
    signed = _signature(scene, token, order, scene.payer)
    signature = "payWithAuthorization(ORDER,address,bytes)"
    return [scene.send(sender.address, scene.router, signature, order, scene.payer.address, signed)]


def _pay_with_permit2(scene: Scene, token: Token, number: int, relayed: bool = True) -> list[Step]:
    order, sender = scene.order(token, number), scene.relayer if relayed else scene.payer
    signed = sign_permit2(scene.payer.key, at.CHAIN_ID, scene.router, order, scene.id(order))
    signature = "payWithPermit2(ORDER,address,bytes)"
    return [scene.send(sender.address, scene.router, signature, order, scene.payer.address, signed)]


def _payers(scene: Scene, count: int) -> list[Person]:
    """The payer and others: strangers to each other, as payers are in life."""
    return [scene.payer, *(person(f"payer {number}") for number in range(1, count))]


def _prepare_many(count: int) -> Callable[[Scene, Token], None]:
    def prepare(scene: Scene, token: Token) -> None:
        for payer in _payers(scene, count):
            scene.mint(token, payer.address)
            if token is not USDC:
                scene.approve(token, payer.address, PERMIT2, ALL)

    return prepare


def _pay_many(count: int) -> Pay:
    def pay(scene: Scene, token: Token, number: int) -> list[Step]:
        payments: list[Any] = []
        for index, payer in enumerate(_payers(scene, count)):
            order = scene.order(token, 1_000 * number + index)
            payments.append((order, payer.address, _signature(scene, token, order, payer)))
        return [scene.send(scene.relayer.address, scene.router, f"payMany({_SIGNED_PAYMENT}[])", payments)]

    return pay


def _transfer(scene: Scene, token: Token, id_: bytes) -> Step:
    deposit = scene.rpc.call(scene.router, "depositAddress(bytes32)", id_, returns="address")
    return scene.send(scene.payer.address, token.address, "transfer(address,uint256)", deposit, AMOUNT)


def _collect(scene: Scene, token: Token, number: int) -> list[Step]:
    id_ = scene.id(scene.order(token, number))
    transfer = _transfer(scene, token, id_)
    return [
        transfer,
        scene.send(scene.relayer.address, scene.router, "collect(bytes32,address)", id_, token.address),
    ]


def _collect_again(scene: Scene, token: Token, number: int) -> list[Step]:  # noqa: ARG001 - always the one address
    return _collect(scene, token, 1)


def _collect_many(count: int) -> Pay:
    def pay(scene: Scene, token: Token, number: int) -> list[Step]:
        ids = [scene.id(scene.order(token, 1_000 * number + index)) for index in range(count)]
        transfers = [_transfer(scene, token, id_) for id_ in ids]
        signature = "collectMany(bytes32[],address)"
        return [*transfers, scene.send(scene.relayer.address, scene.router, signature, ids, token.address)]

    return pay


def _release(scene: Scene, token: Token) -> Step:
    """Delivers the partner's held half; anybody may."""
    signature = "release(address,uint8)"
    return scene.send(scene.relayer.address, scene.router, signature, token.address, int(Role.PARTNER))


WAYS = (
    Way("pay", _pay, _approve_router, _release),
    Way("payWithPermit", _pay_with_permit, finish=_release),
    Way("payWithAuthorization", _pay_with_authorization, finish=_release, tokens=("USDC",)),
    Way("payWithPermit2", _pay_with_permit2, _approve_permit2, _release),
    *(Way("payMany", _pay_many(count), _prepare_many(count), _release, payments=count) for count in (20, 50)),
    Way("collect", _collect, finish=_release, by_plain_transfer=True),
    Way("collect, again at the address", _collect_again, finish=_release, by_plain_transfer=True),
    Way("collectMany", _collect_many(20), finish=_release, payments=20, by_plain_transfer=True),
)


def _pay_held(scene: Scene, token: Token, number: int) -> list[Step]:
    scene.block(scene.partner)
    steps = _pay(scene, token, number)
    scene.unblock(scene.partner)
    _release(scene, token)
    return steps


def _release_held(scene: Scene, token: Token, number: int) -> list[Step]:
    scene.block(scene.partner)
    _pay(scene, token, number)
    scene.unblock(scene.partner)
    return [_release(scene, token)]


def _approve_both(scene: Scene, token: Token) -> None:
    _approve_router(scene, token)
    scene.mint(token, scene.owner.address)
    scene.approve(token, scene.owner.address, scene.router)


def _refund(scene: Scene, token: Token, number: int) -> list[Step]:
    arguments = (scene.id(scene.order(token, number)), token.address, scene.payer.address, AMOUNT)
    return [scene.send(scene.owner.address, scene.router, "refund(bytes32,address,address,uint256)", *arguments)]


# Who sends a transaction is warm in it (EIP-2929): a payer who sends what he signed saves 2,500 of asking for his code.
_pay_with_own_authorization = partial(_pay_with_authorization, relayed=False)
_pay_with_own_permit2 = partial(_pay_with_permit2, relayed=False)

REST = (
    Way("payWithAuthorization, sent by its payer", _pay_with_own_authorization, tokens=("USDC",)),
    Way("payWithPermit2, sent by its payer", _pay_with_own_permit2, _approve_permit2),
    Way("pay, partner blocked", _pay_held, _approve_router, tokens=("USDC",)),
    Way("release", _release_held, _approve_router, tokens=("USDC",)),  # USDT0 blocks senders alone: nothing is held
    Way("refund", _refund, _approve_both),
)
"""What is no payment, or not what a payment usually costs."""
