// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, Role} from "../../contracts/interfaces/IPaymentRouter.sol";
import {Model} from "./Model.sol";
import {Coin} from "./doubles/Coin.sol";

/// @notice What is true of the router after every call, whatever happened before. tests/contracts/INVARIANTS.md lists
/// the rules by name.
abstract contract Rules is Model {
    function checkAll() external {
        for (uint256 i = 0; i < 2; ++i) {
            Coin coin = i == 0 ? usdc : usdt;
            theRouterHasWhatIsHeldAndWhatStrayedIn(coin);
            everyUnitPaidIsWithASideOrHeldForIt(coin);
        }
        theRouterHasWhatStrayedInOfOtherTokens();
        paymentsAreCounted();
        anOrderIsPaidOnce();
        nobodyButTheOwnerChangesAnything();
        noCodeStaysAtADepositAddress();
        whatIsHeldIsNeverSentOut();
    }

    /// @dev To the unit: a surplus that nobody sent would be somebody's payment.
    function theRouterHasWhatIsHeldAndWhatStrayedIn(Coin coin) internal view {
        address token = address(coin);
        uint256 held = router.held(token, Role.Treasury) + router.held(token, Role.Partner);
        check(coin.balanceOf(address(router)) >= held, "the router has what it holds for the sides");
        check(coin.balanceOf(address(router)) == held + strayed[token], "the router has nothing but held and strayed");
        for (uint256 i = 0; i < 2; ++i) {
            check(router.held(token, Role(i)) == owed[token][Role(i)], "a side's share is held when it cannot be sent");
        }
    }

    /// @dev For each side, over all who ever were one.
    function everyUnitPaidIsWithASideOrHeldForIt(Coin coin) internal view {
        address token = address(coin);
        uint256 ofPartners = router.held(token, Role.Partner);
        for (uint256 i = 0; i < partners.length; ++i) {
            ofPartners += coin.balanceOf(partners[i]);
        }
        uint256 ofTreasury = router.held(token, Role.Treasury) + coin.balanceOf(treasury);
        check(ofTreasury + ofPartners == paidIn[token], "every unit paid is with a side or held for it");
        check(ofPartners == floors[token], "the partners' part is the sum of the halves rounded down");
    }

    function theRouterHasWhatStrayedInOfOtherTokens() internal view {
        check(other.balanceOf(address(router)) == strayed[address(other)], "other tokens stay until they are rescued");
    }

    /// @dev Each `Paid` is checked where it happens (Model._checkEvents); here, that there were no others.
    function paymentsAreCounted() internal view {
        check(router.seq() == seq, "payments are numbered without a gap");
    }

    /// @dev And an id that only got plain transfers can still be paid.
    function anOrderIsPaidOnce() internal view {
        check(timesSpent[latestId] <= 1, "an order is paid once");
        check(router.paid(latestId) == (timesSpent[latestId] == 1), "an order is paid when a payment of it succeeded");
    }

    function nobodyButTheOwnerChangesAnything() internal view {
        bool same = router.owner() == owner && router.partner() == partner && router.paused() == paused
            && router.treasury() == treasury && router.usdc() == address(usdc) && router.usdt() == address(usdt);
        check(same, "nobody but the owner changes anything");
    }

    /// @dev What the latest call emptied can be used again (the handler sends there once more, and counts).
    function noCodeStaysAtADepositAddress() internal view {
        for (uint256 i = 0; i < emptied.length; ++i) {
            address deposit = router.depositAddress(emptied[i]);
            check(deposit.code.length == 0, "no code stays at a deposit address");
        }
    }

    /// @dev What would happen next: forge forgets what an invariant does. A token that delivers less than it says shows
    /// whether the router still knows that it holds something.
    function whatIsHeldIsNeverSentOut() internal {
        for (uint256 i = 0; i < 2; ++i) {
            Coin coin = i == 0 ? usdc : usdt;
            uint256 held = router.held(address(coin), Role.Treasury) + router.held(address(coin), Role.Partner);
            if (held == 0 || router.paused()) continue;
            _unblockAll(coin);
            Order memory order = Order(address(coin), 2 * held + 2, uint64(clock + 1), "probe");
            bytes memory signature = _sign(payers[0].key, payers[0].account, order);
            coin.deliverLess(address(router), 1);

            bytes memory data = coin == usdc
                ? abi.encodeCall(IPaymentRouter.payWithAuthorization, (order, payers[0].account, signature))
                : abi.encodeCall(IPaymentRouter.payWithPermit2, (order, payers[0].account, signature));
            (bool done,) = address(router).call(data);
            check(!done, "what is held is never sent out by a payment");
        }
    }

    function _unblockAll(Coin coin) private {
        address[4] memory everybody = [treasury, partner, address(router), payers[0].account];
        for (uint256 i = 0; i < everybody.length; ++i) {
            coin.setBlocked(everybody[i], false);
        }
    }
}
