// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IPaymentRouter} from "./interfaces/IPaymentRouter.sol";

/// @title Deposit
/// @notice What stands at an order's deposit address for the length of one transaction: it sends what lies there where the
/// router says, and is gone again, so that what comes later can be collected in the same way.
/// @dev It asks the router instead of taking arguments, since its address must depend on the order alone.
contract Deposit {
    using SafeERC20 for IERC20;

    constructor() {
        (address token, address to, uint256 amount) = IPaymentRouter(msg.sender).depositing();

        IERC20(token).safeTransfer(to, amount);

        // A contract that ends in the transaction that created it leaves neither code nor nonce (EIP-6780): the only way to
        // use an address twice. Native currency that somebody sent here goes to the treasury, as the router could not move it.
        selfdestruct(payable(address(this).balance > 0 ? IPaymentRouter(msg.sender).treasury() : msg.sender));
    }
}
