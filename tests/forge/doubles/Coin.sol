// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {Stablecoin} from "../../../contracts/mocks/Stablecoin.sol";

/// @notice A stablecoin with a block list, EIP-2612, and EIP-3009 as USDC 2.2 has it: with signatures of contracts too.
/// It can be told to deliver less than it should to one recipient.
contract Coin is Stablecoin {
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,"
        "uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    mapping(address payer => mapping(bytes32 nonce => bool)) private _used;

    address private _short;
    uint256 private _missing;

    error NotThePayee();
    error WrongTime();
    error Used();
    error WrongSignature();

    constructor(string memory name) Stablecoin(name, name) {}

    /// @notice From now on `missing` units of every transfer to `recipient` are lost on the way.
    function deliverLess(address recipient, uint256 missing) external {
        (_short, _missing) = (recipient, missing);
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        if (to != msg.sender) revert NotThePayee();
        if (block.timestamp <= validAfter || block.timestamp >= validBefore) revert WrongTime();
        if (_used[from][nonce]) revert Used();
        bytes32 digest = digestOf(from, to, value, validAfter, validBefore, nonce);
        if (!_signed(from, digest, signature)) revert WrongSignature();

        _used[from][nonce] = true;
        _transfer(from, to, value);
    }

    function digestOf(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(RECEIVE, from, to, value, validAfter, validBefore, nonce)));
    }

    /// @dev Copies whatever a contract answers, as Circle's does.
    function _signed(address from, bytes32 digest, bytes calldata signature) private view returns (bool) {
        if (from.code.length == 0) {
            (address signer,,) = ECDSA.tryRecover(digest, signature);
            return signer == from;
        }
        (bool success, bytes memory answer) =
            from.staticcall(abi.encodeCall(IERC1271.isValidSignature, (digest, signature)));
        return success && answer.length >= 32 && bytes32(answer) == bytes32(IERC1271.isValidSignature.selector);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (to == _short && from != address(0)) super._update(to, address(0), _missing);
    }
}
