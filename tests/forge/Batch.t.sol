// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, SignedPayment} from "../../contracts/interfaces/IPaymentRouter.sol";
import {Vm} from "./Base.sol";
import {Signing} from "./Signing.sol";
import {Wallet} from "./doubles/Wallet.sol";

/// @notice A batch in which any may be broken in any way does exactly what a batch of the others alone does.
contract BatchTest is Signing {
    uint256 private constant SIZE = 8;
    uint256 private constant WAYS_TO_BREAK = 9;
    /// @dev What a relayer might bring: without a bound, one payer's code takes it all.
    uint256 private constant GAS = 6_000_000;

    address[3] private _hostile;

    function setUp() external {
        _found();
        for (uint256 i = 1; i <= SIZE; ++i) {
            _fund(vm.addr(i));
        }
        for (uint256 i = 0; i < _hostile.length; ++i) {
            _hostile[i] = address(new Wallet(vm.addr(99), Wallet.Manner(i + 1)));
            _fund(_hostile[i]);
        }
    }

    /// forge-config: default.fuzz.runs = 250
    function test_broken_payments_leave_the_good_ones_as_if_alone(uint8 broken, uint256 seed) external {
        Dice memory dice = Dice(seed);
        if (luck(dice, 4)) usdc.setBlocked(luck(dice, 2) ? treasury : partner, true);
        _payOneBefore();
        SignedPayment[] memory batch = new SignedPayment[](SIZE);
        SignedPayment[] memory good = new SignedPayment[](SIZE - _ones(broken));
        uint256 count;
        for (uint256 i = 0; i < SIZE; ++i) {
            batch[i] = _good(i, dice);
            if (broken >> i & 1 == 0) good[count++] = batch[i];
            else batch[i] = _break(batch[i], roll(dice, WAYS_TO_BREAK));
        }

        uint256 start = vm.snapshotState();
        vm.recordLogs();
        router.payMany{gas: GAS}(good);
        bytes32 alone = _world(batch);
        bytes32 saidAlone = _said(vm.getRecordedLogs());
        vm.revertToState(start);
        vm.recordLogs();
        router.payMany{gas: GAS}(batch);

        check(_world(batch) == alone, "the good ones are paid as if alone");
        check(_said(vm.getRecordedLogs()) == saidAlone, "and Paid says so");
    }

    /// forge-config: default.fuzz.runs = 250
    function test_everybody_broken_is_a_batch_of_nothing(uint256 seed) external {
        Dice memory dice = Dice(seed);
        _payOneBefore();
        SignedPayment[] memory batch = new SignedPayment[](SIZE);
        for (uint256 i = 0; i < SIZE; ++i) {
            batch[i] = _break(_good(i, dice), roll(dice, WAYS_TO_BREAK));
        }
        bytes32 before = _world(batch);
        router.payMany{gas: GAS}(batch);
        check(_world(batch) == before, "nothing happened");
    }

    function test_a_payer_costs_a_batch_no_more_than_a_signature_may(uint256 seed) external {
        Dice memory dice = Dice(seed);
        SignedPayment[] memory batch = new SignedPayment[](1);
        batch[0] = _break(_good(0, dice), 6 + roll(dice, 3));
        uint256 before = gasleft();
        router.payMany{gas: GAS}(batch);
        check(before - gasleft() < 300_000 + 60_000, "a payer costs a batch no more than a signature may");
    }

    function _good(uint256 i, Dice memory dice) private view returns (SignedPayment memory) {
        address token = luck(dice, 2) ? address(usdc) : address(usdt);
        return _signed(i + 1, Order(token, 1 + roll(dice, 1e9), uint64(block.timestamp + 60), bytes32(i)));
    }

    function _break(SignedPayment memory payment, uint256 way) private view returns (SignedPayment memory) {
        Order memory order = Order(payment.order.token, payment.order.amount, payment.order.expiresAt, "broken");
        address payer = payment.payer;
        uint256 key = 99;
        if (way == 0) order.expiresAt = uint64(block.timestamp);
        if (way == 1) order.amount = 0;
        if (way == 2) order.token = address(other);
        if (way == 3) (payer, key) = (vm.addr(98), 98); // has nothing
        if (way == 4) order = _paidBefore();
        if (way == 5) return SignedPayment(order, payer, ""); // nobody signed
        if (way >= 6) payer = _hostile[way - 6];
        if (way < 3) (payer, key) = (vm.addr(1), 1); // signed well
        return SignedPayment(order, payer, _sign(key, payer, order));
    }

    function _paidBefore() private view returns (Order memory) {
        return Order(address(usdt), 5, uint64(block.timestamp + 60), "before");
    }

    function _payOneBefore() private {
        Order memory order = _paidBefore();
        router.payWithPermit2(order, vm.addr(1), _signPermit2(1, order));
    }

    /// @dev All that a batch can change.
    function _world(SignedPayment[] memory batch) private view returns (bytes32 hash) {
        for (uint256 i = 0; i < batch.length; ++i) {
            hash = keccak256(abi.encode(hash, router.paid(router.orderId(batch[i].order))));
            hash = _balances(hash, vm.addr(i + 1));
        }
        for (uint256 i = 0; i < _hostile.length; ++i) {
            hash = _balances(hash, _hostile[i]);
        }
        hash = _balances(_balances(_balances(hash, treasury), partner), address(router));
        hash = keccak256(abi.encode(hash, router.seq()));
    }

    function _balances(bytes32 hash, address account) private view returns (bytes32) {
        return keccak256(abi.encode(hash, usdc.balanceOf(account), usdt.balanceOf(account)));
    }

    /// @dev All that the router said, without what it left out.
    function _said(Vm.Log[] memory logs) private view returns (bytes32 hash) {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter != address(router)) continue;
            if (logs[i].topics[0] == IPaymentRouter.PaymentSkipped.selector) continue;
            hash = keccak256(abi.encode(hash, logs[i].topics, logs[i].data));
        }
    }

    function _ones(uint8 bits) private pure returns (uint256 count) {
        for (uint256 i = 0; i < 8; ++i) {
            count += bits >> i & 1;
        }
    }
}
