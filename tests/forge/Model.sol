// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, Role} from "../../contracts/interfaces/IPaymentRouter.sol";
import {Vm} from "./Base.sol";
import {Signing} from "./Signing.sol";
import {Coin} from "./doubles/Coin.sol";
import {Wallet} from "./doubles/Wallet.sol";

/// @notice What the router should be, kept beside it by much simpler means: every handler says here what it expects,
/// and `Rules.sol` compares.
abstract contract Model is Signing {
    /// @dev Somebody who pays: an account with a key, or a contract with the key of its signer.
    struct Payer {
        address account;
        uint256 key;
        bool signs;
        uint256 funds;
    }

    struct Payment {
        bytes32 id;
        address payer;
        address token;
        uint256 amount;
        /// @dev Whether it uses the order up: a payment does, a collected transfer does not.
        bool spends;
    }

    struct Tally {
        uint256 done;
        uint256 refused;
    }

    uint256 internal constant ACCOUNTS = 4; // the payers with a key of their own come first; the last of them is poor
    uint256 internal constant GAS = 6_000_000; // enough for everything, and soon burned

    Payer[] internal payers;
    /// @dev Everybody who can be named partner: who was one once keeps what he got.
    address[] internal partners;
    address internal sink = address(0xA005); // rescues and refunds go here too

    uint256 internal clock;
    bool internal paused;
    uint64 internal seq;
    mapping(address token => uint256) internal paidIn;
    mapping(address token => uint256) internal floors;
    mapping(address token => uint256) internal strayed;
    mapping(address token => mapping(Role role => uint256)) internal owed;
    mapping(bytes32 id => uint256) internal timesSpent;
    mapping(bytes32 id => mapping(address token => uint256)) internal deposited;

    Order[] internal paidOrders;
    /// @dev Ids to whose addresses something was sent, and those that the latest call emptied.
    bytes32[] internal depositIds;
    bytes32[] internal emptied;
    mapping(bytes32 id => bool) internal emptiedBefore;
    bytes32 internal latestId;

    bytes4[] internal tallied;
    mapping(bytes4 handler => Tally) internal tallies;
    uint256 internal heldTimes;
    uint256 internal collectedAgain;
    uint256 internal releasedWhilePaused;

    uint256 private _nonce;

    constructor() {
        _found();
        clock = block.timestamp;
        partners = [partner, address(0xB001), address(0xB002), address(0xB003)];
        for (uint256 key = 1; key <= ACCOUNTS; ++key) {
            _enter(Payer(vm.addr(key), key, true, key < ACCOUNTS ? FUNDS : 0));
        }
        _enter(Payer(address(new Wallet(vm.addr(11), Wallet.Manner.Honest)), 11, true, FUNDS));
        _enter(Payer(address(new Wallet(vm.addr(12), Wallet.Manner.BurnsGas)), 12, false, FUNDS));
        _enter(Payer(address(new Wallet(vm.addr(13), Wallet.Manner.RevertsWithABomb)), 13, false, FUNDS));
        _enter(Payer(address(new Wallet(vm.addr(14), Wallet.Manner.ReturnsABomb)), 14, false, FUNDS));
        _fund(owner);
    }

    function _enter(Payer memory payer) private {
        payers.push(payer);
        _fund(payer.account);
        if (payer.funds > 0) return;

        vm.prank(payer.account);
        usdc.transfer(sink, FUNDS);
        vm.prank(payer.account);
        usdt.transfer(sink, FUNDS);
    }

    /* ASKING THE ROUTER */

    /// @dev Every handler starts with this: a new throw of the dice, and the time as it is in the model.
    function _begin(uint256 seed) internal returns (Dice memory) {
        vm.warp(clock);
        vm.recordLogs();
        delete emptied;
        return Dice(uint256(keccak256(abi.encode(seed, ++_nonce))));
    }

    /// @dev Calls the router, which must do it, or refuse it if the model knows why.
    function _ask(address sender, bytes memory data, string memory whyNot) internal returns (bool done) {
        (done,) = _askFor(sender, data, whyNot);
    }

    function _askFor(address sender, bytes memory data, string memory whyNot)
        internal
        returns (bool done, bytes memory answer)
    {
        bool expected = _isNothing(whyNot);
        vm.prank(sender);
        (done, answer) = address(router).call{gas: GAS}(data);

        check(done || !expected, "the router does what it is for");
        check(!done || expected, string.concat("the router refuses ", whyNot));
        if (!done) vm.getRecordedLogs(); // forge remembers also what was undone
        _count(msg.sig, done ? 1 : 0, done ? 0 : 1);
    }

    function _count(bytes4 handler, uint256 done, uint256 refused) internal {
        Tally storage tally = tallies[handler];
        if (tally.done + tally.refused == 0) tallied.push(handler);
        tally.done += done;
        tally.refused += refused;
    }

    /* WHAT SHOULD HAPPEN */

    function _isAccepted(address token) internal view returns (bool) {
        return token == address(usdc) || token == address(usdt);
    }

    /// @dev Why an order cannot be paid by anybody; nothing if it can.
    function _whyNotPayable(Order memory order) internal view returns (string memory) {
        if (paused) return "a payment while paused";
        if (!_isAccepted(order.token)) return "a token that is not accepted";
        if (order.amount == 0) return "an order of nothing";
        if (clock >= order.expiresAt) return "an order that is over";
        if (timesSpent[router.orderId(order)] > 0) return "an order that is paid";
        return "";
    }

    function _isBlocked(address token, address account) internal view returns (bool) {
        return Coin(token).blocked(account);
    }

    function _canSend(address token, address from, address to, uint256 amount) internal view returns (bool) {
        return !_isBlocked(token, from) && !_isBlocked(token, to) && Coin(token).balanceOf(from) >= amount;
    }

    function _sideOf(Role role) internal view returns (address) {
        return role == Role.Treasury ? treasury : partner;
    }

    /// @dev Straight from the payer each share goes to its side, or else to the router.
    function _whyNotPayableDirectly(Order memory order, address payer, uint256 allowance)
        internal
        view
        returns (string memory whyNot)
    {
        address token = order.token;
        whyNot = _whyNotPayable(order);
        if (!_isNothing(whyNot)) return whyNot;
        if (allowance < order.amount) return "more than the payer allows";
        if (_isBlocked(token, payer) || Coin(token).balanceOf(payer) < order.amount) return "who cannot pay";
        bool sidesAreOpen = !_isBlocked(token, treasury) && (order.amount == 1 || !_isBlocked(token, partner));
        return unless(sidesAreOpen || !_isBlocked(token, address(router)), "a share that nobody can get");
    }

    /// @dev By signature the whole amount goes through the router.
    function _whyNotPayableThrough(Order memory order, address payer, bool signed)
        internal
        view
        returns (string memory whyNot)
    {
        whyNot = _whyNotPayable(order);
        if (!_isNothing(whyNot)) return whyNot;
        if (!signed) return "what nobody signed";
        return unless(_canSend(order.token, payer, address(router), order.amount), "who cannot pay");
    }

    function _isNothing(string memory text) internal pure returns (bool) {
        return bytes(text).length == 0;
    }

    function unless(bool possible, string memory reason) internal pure returns (string memory) {
        return possible ? "" : reason;
    }

    /* WHAT HAPPENED */

    /// @dev Writes a payment into the model, as it must be in the router from now on.
    function _book(Payment memory payment) internal {
        ++seq;
        latestId = payment.id;
        if (payment.spends) ++timesSpent[payment.id];
        paidIn[payment.token] += payment.amount;
        floors[payment.token] += payment.amount / 2;
        _bookShare(payment.token, Role.Treasury, payment.amount - payment.amount / 2);
        _bookShare(payment.token, Role.Partner, payment.amount / 2);
    }

    function _bookShare(address token, Role role, uint256 share) private {
        if (share == 0 || !_isBlocked(token, _sideOf(role))) return;
        owed[token][role] += share;
        ++heldTimes;
    }

    function _bookOrder(Order memory order, address payer) internal {
        _book(Payment(router.orderId(order), payer, order.token, order.amount, true));
        paidOrders.push(order);
    }

    /// @dev Every `Paid` since the handler began, in order, is one of these payments, and their numbers leave no gap.
    /// As many payments were left out as should have been.
    function _checkEvents(Payment[] memory payments, uint256 skipped) internal {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 paid;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter != address(router)) continue;
            if (logs[i].topics[0] == IPaymentRouter.PaymentSkipped.selector) {
                check(skipped > 0, "a broken payment of a batch is left out, and no other");
                --skipped;
            } else if (logs[i].topics[0] == IPaymentRouter.Paid.selector) {
                check(paid < payments.length, "there is one Paid for a payment");
                _checkPaid(logs[i], payments[paid], seq - payments.length + paid + 1);
                ++paid;
            }
        }
        check(paid == payments.length, "there is one Paid for a payment");
        check(skipped == 0, "a broken payment of a batch is left out, and no other");
    }

    function _checkPaid(Vm.Log memory log, Payment memory payment, uint256 expectedNumber) private pure {
        (uint256 amount, uint256 share, uint64 number) = abi.decode(log.data, (uint256, uint256, uint64));
        check(number == expectedNumber, "payments are numbered without a gap");
        check(share == amount / 2, "the partner gets half, rounded down");
        bool same = log.topics[1] == payment.id && amount == payment.amount
            && address(uint160(uint256(log.topics[2]))) == payment.payer
            && address(uint160(uint256(log.topics[3]))) == payment.token;
        check(same, "Paid tells what happened");
    }
}
