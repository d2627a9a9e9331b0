// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title IERC3009
/// @notice The part of EIP-3009 that the router uses, as USDC 2.2 has it: with a signature of any length (ERC-1271).
/// @dev https://eips.ethereum.org/EIPS/eip-3009. `ReceiveWithAuthorization` can be used by its payee alone.
interface IERC3009 {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}

/// @title IPermit2
/// @notice The part of Permit2 that the router uses: a transfer by signature with an unordered nonce.
/// @dev https://docs.uniswap.org/contracts/permit2/reference/signature-transfer. The signature names its spender.
interface IPermit2 {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    function permitTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes calldata signature
    ) external;
}
