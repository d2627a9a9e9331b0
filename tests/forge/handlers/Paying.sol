// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, Permit} from "../../../contracts/interfaces/IPaymentRouter.sol";
import {Model} from "../Model.sol";
import {Coin} from "../doubles/Coin.sol";

/// @notice Orders of every kind, paid one by one in every way.
abstract contract Paying is Model {
    /// @notice From an allowance; sometimes one that is too small by a unit.
    function pay(uint256 seed) external {
        Dice memory dice = _begin(seed);
        Order memory order = _someOrder(dice);
        address payer = _account(dice).account;
        uint256 allowance = luck(dice, 12) && order.amount > 0 ? order.amount - 1 : type(uint256).max;
        _approve(payer, order.token, allowance);

        string memory whyNot = _whyNotPayableDirectly(order, payer, allowance);
        _try(order, payer, payer, whyNot, abi.encodeCall(IPaymentRouter.pay, (order)));
    }

    /// @notice With a permit that is good, or that somebody else signed, or that has been used ahead of the payment.
    function payWithPermit(uint256 seed) external {
        Dice memory dice = _begin(seed);
        Order memory order = _someOrder(dice);
        Payer memory payer = _account(dice);
        _approve(payer.account, order.token, 0);
        uint256 key = luck(dice, 12) ? 99 : payer.key;
        Permit memory permit = _signPermit(key, Coin(order.token), payer.account, order.amount, clock);
        if (luck(dice, 6) && key != 99) {
            Coin(order.token)
                .permit(payer.account, address(router), order.amount, permit.deadline, permit.v, permit.r, permit.s);
        }

        string memory whyNot = _whyNotPayableDirectly(order, payer.account, key == payer.key ? order.amount : 0);
        bytes memory data = abi.encodeCall(IPaymentRouter.payWithPermit, (order, permit));
        _try(order, payer.account, payer.account, whyNot, data);
    }

    /// @notice By EIP-3009, sent by a stranger.
    function payWithAuthorization(uint256 seed) external {
        Dice memory dice = _begin(seed);
        Order memory order = _someOrder(dice);
        if (order.token == address(usdt) && !luck(dice, 6)) order.token = address(usdc);
        Payer memory payer = _anybody(dice);
        (bytes memory signature, bool signed) = _someAuthorization(dice, order, payer);

        string memory whyNot = order.token == address(usdc)
            ? _whyNotPayableThrough(order, payer.account, signed)
            : "a token without authorizations";
        _try(
            order,
            payer.account,
            stranger,
            whyNot,
            abi.encodeCall(IPaymentRouter.payWithAuthorization, (order, payer.account, signature))
        );
    }

    /// @notice By Permit2 in either token, sent by a stranger.
    function payWithPermit2(uint256 seed) external {
        Dice memory dice = _begin(seed);
        Order memory order = _someOrder(dice);
        Payer memory payer = _anybody(dice);
        bool signed = payer.signs && !luck(dice, 8);
        bytes memory signature = _signPermit2(signed ? payer.key : 99, order);

        _try(
            order,
            payer.account,
            stranger,
            _whyNotPayableThrough(order, payer.account, signed),
            abi.encodeCall(IPaymentRouter.payWithPermit2, (order, payer.account, signature))
        );
    }

    function _try(Order memory order, address payer, address sender, string memory whyNot, bytes memory data) private {
        uint256 before = Coin(order.token).balanceOf(payer);
        bool done = _ask(sender, data, whyNot);
        uint256 lost = before - Coin(order.token).balanceOf(payer);
        check(lost == (done ? order.amount : 0), "a payer loses exactly what he pays");

        if (done) _bookOrder(order, payer);
        Payment[] memory payments = new Payment[](done ? 1 : 0);
        if (done) payments[0] = Payment(router.orderId(order), payer, order.token, order.amount, true);
        _checkEvents(payments, 0);
    }

    /// @dev Mostly one that can be paid. Some are over, in that very second or since long; others are for nothing, in
    /// a token that is not accepted, or paid already.
    function _someOrder(Dice memory dice) internal view returns (Order memory order) {
        order = Order(_token(dice), _amount(dice), uint64(clock + 1 + roll(dice, 3600)), bytes32(roll(dice, 2 ** 64)));
        uint256 kind = roll(dice, 30);
        if (kind == 0) order.expiresAt = uint64(clock);
        else if (kind == 1) order.expiresAt = uint64(roll(dice, clock));
        else if (kind == 2) order.expiresAt = uint64(clock + 1);
        else if (kind == 3) order.amount = 0;
        else if (kind == 4) order.token = address(other);
        else if (kind <= 6 && paidOrders.length > 0) order = paidOrders[roll(dice, paidOrders.length)];
    }

    function _token(Dice memory dice) internal view returns (address) {
        return luck(dice, 2) ? address(usdc) : address(usdt);
    }

    function _amount(Dice memory dice) internal pure returns (uint256) {
        return luck(dice, 4) ? 1 + roll(dice, 3) : 1 + roll(dice, 1e12);
    }

    /// @dev Somebody who can send a transaction.
    function _account(Dice memory dice) internal view returns (Payer memory) {
        return payers[luck(dice, 20) ? ACCOUNTS - 1 : roll(dice, ACCOUNTS - 1)];
    }

    function _anybody(Dice memory dice) internal view returns (Payer memory) {
        return luck(dice, 6) ? payers[ACCOUNTS + roll(dice, payers.length - ACCOUNTS)] : _account(dice);
    }

    /// @dev One in eight is by somebody else, or for one unit less.
    function _someAuthorization(Dice memory dice, Order memory order, Payer memory payer)
        internal
        view
        returns (bytes memory signature, bool signed)
    {
        uint256 kind = roll(dice, 16);
        uint256 amount = order.amount;
        if (kind == 0 && amount > 0) order.amount = amount - 1;
        signature = _authorize(kind == 1 ? 99 : payer.key, payer.account, order);
        order.amount = amount;
        signed = payer.signs && (kind > 1 || (kind == 0 && amount == 0));
    }
}
