"""The local Polygon carries the real contracts, and its stand-in for USDT has the traits of the live token."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from sandbox.polygon import AnvilFailed, LocalPolygon, NodeError, genesis, preinstalls
from sandbox.polygon import addresses as at
from sandbox.polygon.compile import CompilationFailed, Job
from sandbox.polygon.proofs import NotTheRealThing, prove
from sandbox.polygon.rpc import Rpc, calldata
from sandbox.polygon.safe import address_of

ROOT = Path(__file__).parents[2]
NOBODY = "0x00000000000000000000000000000000000c0FfE"
FOREVER = 0  # the live token's permits with this deadline never expire
PERMIT = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalPolygon]:
    with LocalPolygon.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def rpc(chain: LocalPolygon) -> Iterator[Rpc]:
    rpc = Rpc(chain.rpc_url)
    yield rpc
    rpc.close()


def balance(rpc: Rpc, token: str, holder: str) -> int:
    units: int = rpc.call(token, "balanceOf(address)", holder, returns="uint256")
    return units


def try_as(rpc: Rpc, sender: str, to: str, data: bytes) -> None:
    """Runs a transaction without sending it; NodeError carries the contract's reason when it reverts."""
    rpc("eth_call", {"from": sender, "to": to, "data": "0x" + data.hex()}, "latest")


def signed_permit(rpc: Rpc, chain: LocalPolygon, units: int, deadline: int) -> bytes:
    """A permit of the chain's first account for its second, as a wallet signs the live token's."""
    owner, spender = chain.accounts[:2]
    message = {
        "owner": owner,
        "spender": spender,
        "value": units,
        "nonce": rpc.call(at.USDT, "nonces(address)", owner, returns="uint256"),
        "deadline": deadline,
    }
    fields = [("owner", "address"), ("spender", "address"), ("value", "uint256"), ("nonce", "uint256")]
    types = {"Permit": [{"name": name, "type": kind} for name, kind in [*fields, ("deadline", "uint256")]]}
    domain = {"name": "USDT0", "version": "1", "verifyingContract": at.USDT, "salt": (137).to_bytes(32, "big")}
    signature = Account.sign_typed_data(chain.keys[0], domain, types, message)
    r, s = signature.r.to_bytes(32, "big"), signature.s.to_bytes(32, "big")
    return calldata(PERMIT, owner, spender, units, deadline, signature.v, r, s)


@pytest.mark.parametrize(
    "address",
    [
        *(at.USDC, at.USDC_IMPLEMENTATION, at.USDC_SIGNATURE_CHECKER, at.USDT, at.USDT_IMPLEMENTATION),
        *(at.PERMIT2, at.MULTICALL3, at.CREATE2_DEPLOYER),
        *map(address_of, ["Safe", "SafeL2", "SafeProxyFactory", "CompatibilityFallbackHandler", "MultiSend"]),
        *map(address_of, ["MultiSendCallOnly", "SignMessageLib", "SimulateTxAccessor", "CreateCall"]),
    ],
)
def test_every_contract_is_at_its_address(rpc: Rpc, address: str) -> None:
    assert rpc.code(address)


@pytest.mark.parametrize(
    ("contract", "separator"),
    [
        (at.USDC, at.USDC_DOMAIN_SEPARATOR),
        (at.USDT, at.USDT_DOMAIN_SEPARATOR),
        (at.PERMIT2, "0x" + preinstalls.permit2_domain_separator().hex()),
    ],
)
def test_signatures_for_polygon_are_valid_here(rpc: Rpc, contract: str, separator: str) -> None:
    assert "0x" + rpc.call(contract, "DOMAIN_SEPARATOR()", returns="bytes32").hex() == separator


def test_it_is_polygon_with_finality_two_blocks_behind(chain: LocalPolygon, rpc: Rpc) -> None:
    chain.mine(3)
    assert rpc("eth_chainId") == hex(137)
    final = int(rpc("eth_getBlockByNumber", "finalized", False)["number"], 16)
    assert final == int(rpc("eth_blockNumber"), 16) - 2


def test_its_tokens_say_who_they_are(rpc: Rpc) -> None:
    for token, name, symbol in ((at.USDC, "USD Coin", "USDC"), (at.USDT, "USDT0", "USDT0")):
        said = [rpc.call(token, f"{what}()", returns="string") for what in ("name", "symbol")]
        assert (*said, rpc.call(token, "decimals()", returns="uint8")) == (name, symbol, 6)
    assert rpc.call(at.USDC, "version()", returns="string") == "2"


def test_the_accounts_are_funded_and_their_keys_fit(chain: LocalPolygon, rpc: Rpc) -> None:
    assert [Account.from_key(key).address for key in chain.keys] == list(chain.accounts)
    assert [account.lower() for account in chain.accounts] == [account.lower() for account in rpc("eth_accounts")]
    assert int(rpc("eth_getBalance", chain.accounts[9], "latest"), 16) == 10_000 * 10**18


def test_mint(chain: LocalPolygon, rpc: Rpc) -> None:
    for symbol, token in (("USDC", at.USDC), ("USDT", at.USDT)):
        before, supply = balance(rpc, token, NOBODY), rpc.call(token, "totalSupply()", returns="uint256")
        chain.mint(symbol, NOBODY, 25_000_000)
        assert balance(rpc, token, NOBODY) == before + 25_000_000
        assert rpc.call(token, "totalSupply()", returns="uint256") == supply + 25_000_000
    with pytest.raises(ValueError, match="it has USDC and USDT"):
        chain.mint("DAI", NOBODY, 1)


def test_the_admins_can_be_read_from_the_tokens_and_nobody_else_mints(chain: LocalPolygon, rpc: Rpc) -> None:
    for role in ("masterMinter", "pauser", "blacklister", "owner"):
        assert int(rpc.call(at.USDC, f"{role}()", returns="address"), 16)
    assert int(rpc.call(at.USDT, "owner()", returns="address"), 16)
    for token in (at.USDC, at.USDT):
        with pytest.raises(NodeError, match="reverted"):
            try_as(rpc, chain.accounts[0], token, calldata("mint(address,uint256)", NOBODY, 1))


def test_a_permit_with_deadline_zero_never_expires(chain: LocalPolygon, rpc: Rpc) -> None:
    permit = signed_permit(rpc, chain, 7, FOREVER)
    rpc.receipt(rpc.submit(chain.accounts[2], at.USDT, permit))
    assert rpc.call(at.USDT, "allowance(address,address)", *chain.accounts[:2], returns="uint256") == 7
    with pytest.raises(NodeError, match="invalid permit signature"):  # its nonce is used
        try_as(rpc, chain.accounts[2], at.USDT, permit)


def test_a_permit_with_a_deadline_expires_and_fits_one_set_of_terms(chain: LocalPolygon, rpc: Rpc) -> None:
    with pytest.raises(NodeError, match="permit is expired"):
        try_as(rpc, chain.accounts[2], at.USDT, signed_permit(rpc, chain, 7, deadline=1))
    permit = signed_permit(rpc, chain, 7, FOREVER)
    other_amount = permit.replace((7).to_bytes(32, "big"), (8).to_bytes(32, "big"), 1)
    assert other_amount != permit
    with pytest.raises(NodeError, match="invalid permit signature"):
        try_as(rpc, chain.accounts[2], at.USDT, other_amount)


def test_permits_share_their_nonces_with_meta_transactions(chain: LocalPolygon, rpc: Rpc) -> None:
    owner = chain.accounts[0]
    rpc.receipt(rpc.submit(chain.accounts[2], at.USDT, signed_permit(rpc, chain, 1, FOREVER)))
    nonce = rpc.call(at.USDT, "getNonce(address)", owner, returns="uint256")
    assert nonce == rpc.call(at.USDT, "nonces(address)", owner, returns="uint256") > 0


def test_a_blocked_address_can_receive_but_not_send(chain: LocalPolygon, rpc: Rpc) -> None:
    blocked, other = chain.accounts[3:5]
    admin = rpc.call(at.USDT, "owner()", returns="address")
    chain.mint("USDT", blocked, 10)
    rpc.receipt(rpc.submit_as(admin, at.USDT, calldata("addToBlockedList(address)", blocked)))
    assert rpc.call(at.USDT, "isBlocked(address)", blocked, returns="bool")
    chain.mint("USDT", blocked, 10)
    assert balance(rpc, at.USDT, blocked) == 20
    transfer = calldata("transfer(address,uint256)", other, 5)
    with pytest.raises(NodeError, match="sender is blocked"):
        try_as(rpc, blocked, at.USDT, transfer)

    rpc.receipt(rpc.submit_as(admin, at.USDT, calldata("removeFromBlockedList(address)", blocked)))
    rpc.receipt(rpc.submit(blocked, at.USDT, transfer))
    assert balance(rpc, at.USDT, other) == 5


def test_a_safe_is_real_and_made_once(chain: LocalPolygon, rpc: Rpc) -> None:
    owners = chain.accounts[5:8]
    safe = chain.create_safe(owners, threshold=2, salt=1)
    assert rpc.call(safe, "VERSION()", returns="string") == "1.4.1"
    assert [owner.lower() for owner in rpc.call(safe, "getOwners()", returns="address[]")] == [
        owner.lower() for owner in owners
    ]
    assert rpc.call(safe, "getThreshold()", returns="uint256") == 2
    height = rpc("eth_blockNumber")
    assert chain.create_safe(owners, threshold=2, salt=1) == safe
    assert rpc("eth_blockNumber") == height
    assert chain.create_safe(owners, threshold=2, salt=2) != safe
    with pytest.raises(ValueError, match="threshold 4"):
        chain.create_safe(owners, threshold=4)


def test_a_taken_port_is_refused(chain: LocalPolygon) -> None:
    with pytest.raises(AnvilFailed, match="choose another"):
        LocalPolygon.start(port=int(chain.rpc_url.rsplit(":", 1)[1]))


def test_a_chain_on_disk_needs_a_pace(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="block_seconds"):
        LocalPolygon.start(tmp_path)


def test_a_paced_chain_mines_by_itself() -> None:
    with LocalPolygon.start(block_seconds=0.2) as chain:
        chain.mint("USDC", NOBODY, 1)


def test_a_copy_that_differs_is_refused() -> None:
    prove("a hash", keccak(b"x"), "0x" + keccak(b"x").hex())
    with pytest.raises(NotTheRealThing, match="a hash is 01, expected 02"):
        prove("a hash", b"\x01", "0x02")


def test_an_edit_of_a_source_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "A.sol").write_text("pragma solidity 0.6.6; contract A {}")
    with pytest.raises(CompilationFailed, match="occurs 0 times"):
        Job("0.6.6", 200, ("a/A.sol",), {"a/": tmp_path}, edits=(("contract B", "contract C"),)).compile()


BUILDER = """
import pathlib, sys, time
from sandbox.polygon import genesis

def build(_progress):
    print("building", file=sys.stderr)
    time.sleep(1)
    return b"{}"

genesis.BUILDS, genesis._build_state = pathlib.Path(sys.argv[1]), build
print(genesis.world_state())
"""


def test_two_processes_build_the_world_once(tmp_path: Path) -> None:
    (tmp_path / f"{genesis._digest()}-unfinished-killed").mkdir()
    command = [sys.executable, "-c", BUILDER, str(tmp_path)]
    builders = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [builder.communicate() for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], said
    assert len({path for path, _ in said}) == 1
    assert sum("building" in errors for _, errors in said) == 1
    (built,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert [path.name for path in built.iterdir()] == ["state.json"]


def test_what_is_taken_back_is_not_the_time(chain: LocalPolygon, rpc: Rpc) -> None:
    chain.mine(1)
    before, height = chain.snapshot(), int(rpc("eth_blockNumber"), 16)
    chain.mine(5)
    time.sleep(3)
    chain.revert(before)
    chain.mine(1)
    latest = rpc("eth_getBlockByNumber", "latest", False)
    assert int(latest["number"], 16) == height + 1
    assert time.time() - int(latest["timestamp"], 16) < 2.5, "the chain's clock went back with it"
