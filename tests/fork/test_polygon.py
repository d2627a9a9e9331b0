"""The chain the router is made for, and the well-known contracts that later ways to pay rest on."""

import pytest


def test_is_polygon(chain):
    assert chain.chain_id == 137


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("0x000000000022D473030F116dDEE9F6B43aC78BA3", id="Permit2"),
        pytest.param("0xcA11bde05977b3631167028862bE2a173976CA11", id="Multicall3"),
        pytest.param("0x4e59b44847b379578588920cA78FbF26c0B4956C", id="CREATE2 deployer"),
    ],
)
def test_well_known_contract_has_code(networks, address):
    assert len(networks.provider.get_code(address)) > 60
