// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IPaymentRouter, Role} from "../../../contracts/interfaces/IPaymentRouter.sol";
import {Coin} from "../doubles/Coin.sol";
import {Paying} from "./Paying.sol";

/// @notice Plain transfers to deposit addresses and to the router itself, and what is done about them.
abstract contract Depositing is Paying {
    /// @notice Up to three transfers to deposit addresses of orders: new, paid, or sent something before.
    function transferToDeposits(uint256 seed) external {
        Dice memory dice = _begin(seed);
        uint256 count = 1 + roll(dice, 3);
        for (uint256 i = 0; i < count; ++i) {
            _transferToDeposit(dice, _someId(dice), _anyToken(dice));
        }
    }

    function _transferToDeposit(Dice memory dice, bytes32 id, address token) private {
        (address payer, uint256 amount) = (_account(dice).account, _amount(dice));
        address deposit = router.depositAddress(id);
        bool expected = _canSend(token, payer, deposit, amount);

        vm.prank(payer);
        (bool done,) = token.call(abi.encodeCall(IERC20.transfer, (deposit, amount)));
        check(done == expected, "a deposit address takes whatever is sent");
        _count(msg.sig, done ? 1 : 0, done ? 0 : 1);
        if (!done) return;

        depositIds.push(id);
        deposited[id][token] += amount;
    }

    /// @notice Collects one, of either token, where there is something or nothing.
    function collect(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address token = luck(dice, 12) ? address(other) : _token(dice);
        bytes32 id = _depositId(dice, token);
        if (deposited[id][token] == 0 && _isAccepted(token)) token = _theOther(token);
        uint256 amount = deposited[id][token];
        string memory whyNot = unless(amount > 0 && !_isBlocked(token, address(router)), "where there is nothing");
        if (!_isAccepted(token)) whyNot = "a token that is not accepted";
        else if (paused) whyNot = "a payment while paused";

        bool done = _ask(stranger, abi.encodeCall(IPaymentRouter.collect, (id, token)), whyNot);

        Payment[] memory payments = new Payment[](done ? 1 : 0);
        if (done) payments[0] = _bookDeposit(id, token);
        _checkEvents(payments, 0);
    }

    /// @notice Collects up to four at once, some of them twice, some with nothing.
    function collectMany(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address token = luck(dice, 12) ? address(other) : _token(dice);
        bytes32[] memory ids = new bytes32[](roll(dice, 5));
        string memory whyNot;
        uint256 count;
        for (uint256 i = 0; i < ids.length; ++i) {
            ids[i] = _depositId(dice, token);
            bool something = deposited[ids[i]][token] > 0;
            if (something && !_isIn(ids, i, ids[i])) ++count;
            if (!_isAccepted(token)) whyNot = "a token that is not accepted";
            else if (something && paused) whyNot = "a payment while paused";
            else if (something && _isBlocked(token, address(router))) whyNot = "what cannot be moved";
        }

        bool done = _ask(stranger, abi.encodeCall(IPaymentRouter.collectMany, (ids, token)), whyNot);

        Payment[] memory payments = new Payment[](done && _isAccepted(token) ? count : 0);
        uint256 next;
        for (uint256 i = 0; i < ids.length && payments.length > 0; ++i) {
            if (deposited[ids[i]][token] > 0) payments[next++] = _bookDeposit(ids[i], token);
        }
        _checkEvents(payments, 0);
    }

    /// @notice Sends what is not accepted from a deposit address to the treasury, paused or not.
    function recover(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address token = luck(dice, 6) ? _token(dice) : address(other);
        bytes32 id = _depositId(dice, token);
        bool expected = token == address(other) && deposited[id][token] > 0 && !_isBlocked(token, treasury);
        uint256 before = Coin(token).balanceOf(treasury);

        _ask(stranger, abi.encodeCall(IPaymentRouter.recover, (id, token)), unless(expected, "what is not recovered"));

        uint256 amount = expected ? deposited[id][token] : 0;
        check(Coin(token).balanceOf(treasury) - before == amount, "what is recovered goes to the treasury");
        if (expected) _empty(id, token);
        _checkEvents(new Payment[](0), 0);
    }

    /// @notice Tokens sent to the router itself, by mistake or on purpose: they belong to nobody's payment.
    function sendToRouter(uint256 seed) external {
        Dice memory dice = _begin(seed);
        (address token, uint256 amount, address payer) = (_anyToken(dice), _amount(dice), _account(dice).account);
        bool expected = _canSend(token, payer, address(router), amount);

        vm.prank(payer);
        (bool done,) = token.call(abi.encodeCall(IERC20.transfer, (address(router), amount)));
        check(done == expected, "nobody can refuse a plain transfer");
        _count(msg.sig, done ? 1 : 0, done ? 0 : 1);
        if (done) strayed[token] += amount;
    }

    /// @notice Delivers what is held, paused or not; nobody but the side gets it.
    function release(uint256 seed) external {
        Dice memory dice = _begin(seed);
        (address token, Role role) = (_token(dice), luck(dice, 2) ? Role.Treasury : Role.Partner);
        if (owed[token][role] == 0) token = _theOther(token);
        if (owed[token][role] == 0) role = role == Role.Treasury ? Role.Partner : Role.Treasury;
        (address side, uint256 amount) = (_sideOf(role), owed[token][role]);
        if (luck(dice, 2)) Coin(token).setBlocked(side, false);
        bool expected = amount > 0 && !_isBlocked(token, side) && !_isBlocked(token, address(router));
        uint256 before = Coin(token).balanceOf(side);

        _ask(
            stranger,
            abi.encodeCall(IPaymentRouter.release, (token, role)),
            unless(expected, "a side that cannot get it")
        );

        uint256 got = Coin(token).balanceOf(side) - before;
        check(got == (expected ? amount : 0), "a side gets what is held for it");
        if (!expected) return;
        owed[token][role] = 0;
        if (paused) ++releasedWhilePaused;
        _checkEvents(new Payment[](0), 0);
    }

    function _bookDeposit(bytes32 id, address token) private returns (Payment memory payment) {
        payment = Payment(id, router.depositAddress(id), token, deposited[id][token], false);
        _book(payment);
        _empty(id, token);
    }

    function _empty(bytes32 id, address token) private {
        check(Coin(token).balanceOf(router.depositAddress(id)) == 0, "nothing is left at a deposit address");
        if (emptiedBefore[id]) ++collectedAgain;
        emptiedBefore[id] = true;
        emptied.push(id);
        deposited[id][token] = 0;
    }

    function _someId(Dice memory dice) private view returns (bytes32) {
        uint256 kind = roll(dice, 4);
        if (kind == 0 && paidOrders.length > 0) return router.orderId(paidOrders[roll(dice, paidOrders.length)]);
        if (kind == 1 && depositIds.length > 0) return depositIds[roll(dice, depositIds.length)];
        return bytes32(roll(dice, type(uint256).max));
    }

    /// @dev Mostly a late one where something of the token lies.
    function _depositId(Dice memory dice, address token) private view returns (bytes32 id) {
        uint256 count = depositIds.length;
        if (count == 0 || luck(dice, 20)) return bytes32(roll(dice, type(uint256).max));
        for (uint256 tries = 0; tries < 8; ++tries) {
            id = depositIds[count - 1 - roll(dice, count < 12 || luck(dice, 4) ? count : 12)];
            if (deposited[id][token] > 0) return id;
        }
    }

    function _anyToken(Dice memory dice) private view returns (address) {
        return luck(dice, 3) ? address(other) : _token(dice);
    }

    function _theOther(address token) private view returns (address) {
        return token == address(usdc) ? address(usdt) : address(usdc);
    }

    function _isIn(bytes32[] memory ids, uint256 count, bytes32 id) private pure returns (bool) {
        for (uint256 i = 0; i < count; ++i) {
            if (ids[i] == id) return true;
        }
        return false;
    }
}
