// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A contract wallet that accepts every signature, and burns all the gas it is given first if told so.
contract GreedyPayer {
    bool public burns;

    function setBurns(bool value) external {
        burns = value;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        while (burns) {}
        return this.isValidSignature.selector;
    }
}
