// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, SignedPayment} from "../../../contracts/interfaces/IPaymentRouter.sol";
import {Coin} from "../doubles/Coin.sol";
import {Paying} from "./Paying.sol";

/// @notice Many payments at once: good ones between broken ones of every kind.
abstract contract Batching is Paying {
    uint256 private constant LARGEST = 6;

    /// @notice Up to six payments; one in eight is the one before it once more.
    function payMany(uint256 seed) external {
        Dice memory dice = _begin(seed);
        SignedPayment[] memory batch = new SignedPayment[](roll(dice, LARGEST + 1));
        bool[] memory signed = new bool[](batch.length);
        for (uint256 i = 0; i < batch.length; ++i) {
            bool again = i > 0 && luck(dice, 8);
            (batch[i], signed[i]) = again ? (batch[i - 1], signed[i - 1]) : _someSignedPayment(dice);
        }
        uint256[] memory before = _balances();
        bool wasPaused = paused;
        bool[] memory good = _expect(batch, signed);

        vm.prank(stranger);
        (bool done,) = address(router).call{gas: 3 * GAS}(abi.encodeCall(IPaymentRouter.payMany, (batch)));

        check(done != wasPaused, "a batch fails only while payments are paused");
        if (!done) vm.getRecordedLogs(); // forge remembers also what was undone
        _checkBatch(batch, good, wasPaused, before);
    }

    function _someSignedPayment(Dice memory dice) private view returns (SignedPayment memory payment, bool signed) {
        Order memory order = _someOrder(dice);
        Payer memory payer = _anybody(dice);
        bytes memory signature;
        if (order.token == address(usdc)) {
            (signature, signed) = _someAuthorization(dice, order, payer);
        } else {
            signed = payer.signs && !luck(dice, 8);
            signature = _signPermit2(signed ? payer.key : 99, order);
        }
        payment = SignedPayment(order, payer.account, signature);
    }

    /// @dev Says which can be paid, one after the other, and marks their orders: what comes twice is paid once.
    function _expect(SignedPayment[] memory batch, bool[] memory signed) private returns (bool[] memory good) {
        good = new bool[](batch.length);
        for (uint256 i = 0; i < batch.length; ++i) {
            good[i] = _isNothing(_whyNotPayableThrough(batch[i].order, batch[i].payer, signed[i]));
            if (good[i]) _bookOrder(batch[i].order, batch[i].payer);
        }
    }

    function _checkBatch(SignedPayment[] memory batch, bool[] memory good, bool wasPaused, uint256[] memory before)
        private
    {
        uint256 count;
        for (uint256 i = 0; i < batch.length; ++i) {
            if (good[i]) ++count;
        }
        uint256 skipped = wasPaused ? 0 : batch.length - count;
        Payment[] memory payments = new Payment[](count);
        count = 0;
        for (uint256 i = 0; i < batch.length; ++i) {
            bytes32 id = router.orderId(batch[i].order);
            check(router.paid(id) == (timesSpent[id] > 0), "a payment that was left out can be tried again");
            if (!good[i]) continue;
            Order memory order = batch[i].order;
            payments[count++] = Payment(id, batch[i].payer, order.token, order.amount, true);
        }
        _count(msg.sig, count, batch.length - count);
        _checkEvents(payments, skipped);
        _checkLosses(payments, before);
    }

    function _checkLosses(Payment[] memory payments, uint256[] memory before) private view {
        uint256[] memory rest = _balances();
        for (uint256 i = 0; i < payments.length; ++i) {
            for (uint256 j = 0; j < payers.length; ++j) {
                if (payers[j].account != payments[i].payer) continue;
                rest[2 * j + (payments[i].token == address(usdc) ? 0 : 1)] += payments[i].amount;
            }
        }
        for (uint256 i = 0; i < rest.length; ++i) {
            check(rest[i] == before[i], "a payer loses exactly what he pays");
        }
    }

    function _balances() private view returns (uint256[] memory balances) {
        balances = new uint256[](2 * payers.length);
        for (uint256 i = 0; i < payers.length; ++i) {
            balances[2 * i] = usdc.balanceOf(payers[i].account);
            balances[2 * i + 1] = usdt.balanceOf(payers[i].account);
        }
    }
}
