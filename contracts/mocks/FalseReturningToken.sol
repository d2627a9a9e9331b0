// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Stablecoin} from "./Stablecoin.sol";

/// @notice Says `false` where others revert, as early ERC-20s did.
contract FalseReturningToken is Stablecoin("False", "FALSE") {
    function transfer(address to, uint256 value) public override returns (bool) {
        if (_refuses(msg.sender, to, value)) return false;
        return super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        if (_refuses(from, to, value) || allowance(from, msg.sender) < value) return false;
        return super.transferFrom(from, to, value);
    }

    function _refuses(address from, address to, uint256 value) private view returns (bool) {
        return blocked[from] || blocked[to] || balanceOf(from) < value;
    }
}
