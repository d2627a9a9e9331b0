// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @notice The least that can split a payment: two transfers and one event. The floor that our gas is measured against, and
/// what a blocked side does to whoever splits without a way to hold a share.
contract TwoTransfers {
    error TransferFailed(address to);
    error AlreadyPaid(bytes32 id);

    event Paid(bytes32 indexed id, address indexed payer, address indexed token, uint256 amount);

    address private immutable _treasury;
    address private immutable _partner;
    mapping(bytes32 id => uint256) private _spent;

    constructor(address treasury, address partner) {
        _treasury = treasury;
        _partner = partner;
    }

    function pay(bytes32 id, address token, uint256 amount) public {
        uint256 share = amount / 2;
        emit Paid(id, msg.sender, token, amount);

        if (!IERC20(token).transferFrom(msg.sender, _treasury, amount - share)) revert TransferFailed(_treasury);
        if (!IERC20(token).transferFrom(msg.sender, _partner, share)) revert TransferFailed(_partner);
    }

    /// @notice The same, and refuses an id that was paid before: one storage word more.
    function payOnce(bytes32 id, address token, uint256 amount) external {
        if (_spent[id] != 0) revert AlreadyPaid(id);
        _spent[id] = 1;

        pay(id, token, amount);
    }
}
