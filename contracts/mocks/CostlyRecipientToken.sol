// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Stablecoin} from "./Stablecoin.sol";

/// @notice Burns a hundred times more gas on the way to one recipient than to any other, as a recipient's hook could.
/// The one kind of token with which a caller can starve a single transfer.
contract CostlyRecipientToken is Stablecoin("Costly", "COSTLY") {
    address public costly;

    function setCostly(address account) external {
        costly = account;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (to != costly) return;

        uint256 end = gasleft() - 6_000_000;
        while (gasleft() > end) {}
    }
}
