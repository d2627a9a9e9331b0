// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ReentrantToken} from "./ReentrantToken.sol";

/// @notice Takes everybody's word for an EIP-3009 authorization, keeps a part of it if told so, and calls back.
contract AuthorizingToken is ReentrantToken {
    uint256 public kept;

    function keep(uint256 units) external {
        kept = units;
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        bytes calldata
    ) external {
        _transfer(from, to, value - kept);
    }
}
