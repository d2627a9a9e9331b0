// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A payer that is a contract: an honest one, or one of those that try to take a batch down.
contract Wallet is IERC1271 {
    enum Manner {
        Honest,
        BurnsGas,
        RevertsWithABomb,
        ReturnsABomb
    }

    /// @dev Fits into what a signature may cost, so that the bomb arrives.
    uint256 private constant BOMB = 120_000;

    address private immutable _signer;
    Manner private immutable _manner;

    constructor(address signer, Manner manner) {
        (_signer, _manner) = (signer, manner);
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (_manner == Manner.BurnsGas) while (true) {}
        if (_manner == Manner.RevertsWithABomb) {
            assembly ("memory-safe") {
                revert(0, BOMB)
            }
        }
        if (_manner == Manner.ReturnsABomb) {
            assembly ("memory-safe") {
                return(0, BOMB)
            }
        }
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        return signer == _signer ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}
