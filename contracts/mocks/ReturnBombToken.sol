// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Stablecoin} from "./Stablecoin.sol";

/// @notice Answers a transfer to a blocked account with a megabyte, which a careless caller copies until its gas is gone.
contract ReturnBombToken is Stablecoin("Bomb", "BOMB") {
    function _update(address from, address to, uint256 value) internal override {
        if (blocked[to]) {
            assembly ("memory-safe") {
                revert(0, 1000000)
            }
        }
        super._update(from, to, value);
    }
}
