"""Other people's contracts, out of the packages that they ship, and the least that anybody's contract can do.

Where a peer has a choice, it is given the cheaper one: Request's own short references, the smallest proxy for thirdweb.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from eth_abi.abi import encode

from benchmarks.gas.contracts import build
from benchmarks.gas.scene import Scene, Step, Token
from benchmarks.gas.ways import Pay, Way
from tests.contracts.orders import sign_authorization
from tests.fork.tokens import AMOUNT

_PACKAGES = Path(__file__).parent / "node_modules"
_REQUEST = "@requestnetwork/smart-contracts"
_THIRDWEB = "@thirdweb-dev/contracts-js"
_OPENZEPPELIN = "@openzeppelin/contracts"
_HALF = AMOUNT // 2
_NO_ONE = "0x" + "00" * 20
_FEE_PROXY = "transferFromWithReferenceAndFee(address,address,uint256,bytes,uint256,address)"


class PeersMissing(Exception):
    """The packages are not installed, or are not what they were."""


class Contracts(dict[str, str]):
    """Where a peer's contracts stand: `prepare` puts them there, `pay` finds them."""

    def deploy(self, scene: Scene, name: str, creation: bytes, types: str = "", *arguments: object) -> None:
        address, _ = scene.deploy(creation + encode(types.split(",") if types else [], arguments))
        self[name] = address


def ways() -> list[Way]:
    """All of them. Raises PeersMissing before `npm ci`."""
    if not _PACKAGES.is_dir():
        raise PeersMissing(f"{_PACKAGES} is missing: `make bench-gas` installs it")
    return [*floors(), _authorization_alone(), *_request(), _thirdweb(), _openzeppelin()]


def floors() -> list[Way]:
    """Two transfers and one event; and the same with one word of storage that refuses an id that was paid."""
    at = Contracts()

    def prepare(scene: Scene, token: Token) -> None:
        at.deploy(scene, "floor", build("TwoTransfers").creation, "address,address", scene.treasury, scene.partner)
        scene.approve(token, scene.payer.address, at["floor"])

    def paying(verb: str) -> Pay:
        def pay(scene: Scene, token: Token, number: int) -> list[Step]:
            arguments = (scene.order(token, number).salt, token.address, AMOUNT)
            return [scene.send(scene.payer.address, at["floor"], f"{verb}(bytes32,address,uint256)", *arguments)]

        return pay

    return [
        Way("floor: two transfers, one event", paying("pay"), prepare),
        Way("floor that refuses a replay", paying("payOnce"), prepare),
    ]


def _authorization_alone() -> Way:
    """What x402's `exact` scheme settles: USDC's own EIP-3009 transfer, to one receiver."""

    def pay(scene: Scene, token: Token, number: int) -> list[Step]:
        order = scene.order(token, number)
        kind = {"kind": "TransferWithAuthorization"}
        signed = sign_authorization(scene.payer.key, token.domain, scene.treasury, order, order.salt, **kind)
        arguments = (scene.payer.address, scene.treasury, AMOUNT, 0, order.expires_at, order.salt, signed)
        signature = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
        return [scene.send(scene.relayer.address, token.address, signature, *arguments)]

    return Way("EIP-3009 to one (x402 exact)", pay, tokens=("USDC",), splits=False)


def _request() -> list[Way]:
    at = Contracts()

    def prepare(scene: Scene, token: Token) -> None:
        at.deploy(scene, "proxy", _request_code("ERC20FeeProxy"))
        scene.approve(token, scene.payer.address, at["proxy"])

    def pay(scene: Scene, token: Token, number: int) -> list[Step]:
        terms = (token.address, scene.treasury, _HALF, _reference(scene, token, number), _HALF, scene.partner)
        return [scene.send(scene.payer.address, at["proxy"], _FEE_PROXY, *terms)]

    def prepare_factory(scene: Scene, token: Token) -> None:
        prepare(scene, token)
        arguments = (at["proxy"], at["proxy"], scene.relayer.address)
        creation = _request_code("SingleRequestProxyFactory")
        at.deploy(scene, "factory", creation, "address,address,address", *arguments)

    def pay_single(scene: Scene, token: Token, number: int) -> list[Step]:
        terms = (scene.treasury, token.address, _reference(scene, token, number), scene.partner, _HALF)
        signature = "createERC20SingleRequestProxy(address,address,bytes,address,uint256)"
        created = scene.send(scene.relayer.address, at["factory"], signature, *terms)
        single = at["single"] = "0x" + created.receipt["logs"][-1]["data"][26:66]
        paid = scene.send(scene.payer.address, token.address, "transfer(address,uint256)", single, AMOUNT)
        return [created, paid, trigger(scene, token)]

    def trigger(scene: Scene, token: Token) -> Step:  # noqa: ARG001 - it knows its token
        return scene.send(scene.relayer.address, at["single"], "triggerERC20Payment()")

    return [
        Way("Request ERC20FeeProxy", pay, prepare, package=_REQUEST),
        Way(
            "Request SingleRequestProxy", pay_single, prepare_factory, trigger, by_plain_transfer=True, package=_REQUEST
        ),
    ]


def _reference(scene: Scene, token: Token, number: int) -> bytes:
    return scene.order(token, number).salt[:8]


def _thirdweb() -> Way:
    at = Contracts()

    def prepare(scene: Scene, token: Token) -> None:  # noqa: ARG001 - the same for both
        at.deploy(scene, "logic", _thirdweb_code("Split"))
        at.deploy(scene, "split", _smallest_proxy(at["logic"]))
        sides, nobody = [scene.treasury, scene.partner], list[str]()
        signature = "initialize(address,string,address[],address[],uint256[])"
        arguments = (scene.relayer.address, "", nobody, sides, [1, 1])
        scene.send(scene.relayer.address, at["split"], signature, *arguments)

    def finish(scene: Scene, token: Token) -> Step:
        return scene.send(scene.relayer.address, at["split"], "distribute(address)", token.address)

    def pay(scene: Scene, token: Token, number: int) -> list[Step]:  # noqa: ARG001 - it knows no orders
        to_split = scene.send(scene.payer.address, token.address, "transfer(address,uint256)", at["split"], AMOUNT)
        return [to_split, finish(scene, token)]

    name = "thirdweb Split"
    return Way(name, pay, prepare, finish, by_plain_transfer=True, names_order=False, package=_THIRDWEB)


def _openzeppelin() -> Way:
    at = Contracts()

    def prepare(scene: Scene, token: Token) -> None:  # noqa: ARG001 - the same for both
        artifact = _read(_OPENZEPPELIN, "build/contracts/PaymentSplitter.json")
        creation = bytes.fromhex(json.loads(artifact)["bytecode"][2:])
        at.deploy(scene, "splitter", creation, "address[],uint256[]", [scene.treasury, scene.partner], [1, 1])

    def release(scene: Scene, token: Token, side: str) -> Step:
        return scene.send(scene.relayer.address, at["splitter"], "release(address,address)", token.address, side)

    def pay(scene: Scene, token: Token, number: int) -> list[Step]:  # noqa: ARG001 - it knows no orders
        to_splitter = scene.send(
            scene.payer.address, token.address, "transfer(address,uint256)", at["splitter"], AMOUNT
        )
        return [to_splitter, release(scene, token, scene.treasury), release(scene, token, scene.partner)]

    def finish(scene: Scene, token: Token) -> Step:
        return release(scene, token, scene.partner)

    name = "OpenZeppelin PaymentSplitter"
    return Way(name, pay, prepare, finish, by_plain_transfer=True, names_order=False, package=_OPENZEPPELIN)


def version(package: str) -> str:
    """The version that is installed."""
    return str(json.loads(_read(package, "package.json"))["version"])


def _request_code(name: str) -> bytes:
    text = _read(_REQUEST, f"types/factories/src/contracts/{name}__factory.js")
    return _hex_after(r'_bytecode = "0x', text, name)


def _thirdweb_code(name: str) -> bytes:
    """All of their factories are in one file; each names the constant that holds its code."""
    text = _read(_THIRDWEB, "dist/thirdweb-dev-contracts-js.cjs.prod.js")
    constant = re.search(rf"class {name}__factory .*?super\(\S+, (_bytecode\S*), args", text, re.DOTALL)
    if not constant:
        raise PeersMissing(f"{_THIRDWEB} has no factory of {name}")
    return _hex_after(rf'\b{re.escape(constant[1])} = "0x', text, name)


def _hex_after(start: str, text: str, name: str) -> bytes:
    found = re.search(start + r'([0-9a-f]+)"', text)
    if not found:
        raise PeersMissing(f"no bytecode of {name} in its package")
    return bytes.fromhex(found[1])


def _smallest_proxy(logic: str) -> bytes:
    """EIP-1167."""
    return bytes.fromhex(f"3d602d80600a3d3981f3363d3d373d3d3d363d73{logic[2:]}5af43d82803e903d91602b57fd5bf3")


def _read(package: str, path: str) -> str:
    try:
        return (_PACKAGES / package / path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PeersMissing(f"{error.filename} is missing: `make bench-gas` installs it") from None
