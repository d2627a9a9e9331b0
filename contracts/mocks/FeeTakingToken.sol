// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Stablecoin} from "./Stablecoin.sol";

/// @notice Burns one per cent of everything on its way.
contract FeeTakingToken is Stablecoin("Fee", "FEE") {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0) && to != address(0)) super._update(to, address(0), value / 100);
    }
}
