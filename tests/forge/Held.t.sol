// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Order, Role, SignedPayment} from "../../contracts/interfaces/IPaymentRouter.sol";
import {Signing} from "./Signing.sol";

/// @notice A side that cannot receive, in every way to pay: the payment succeeds, and its share waits for it alone.
contract HeldTest is Signing {
    address private _payer = vm.addr(1);

    function setUp() external {
        _found();
        _fund(_payer);
        _approve(_payer, address(usdc), FUNDS);
    }

    function test_a_blocked_side_gets_its_share_later(uint256 amount, bool ofTreasury, uint256 way) external {
        amount = within(amount, 2, 1e12);
        (Role role, address side) = ofTreasury ? (Role.Treasury, treasury) : (Role.Partner, partner);
        uint256 share = ofTreasury ? amount - amount / 2 : amount / 2;
        usdc.setBlocked(side, true);

        _pay(Order(address(usdc), amount, uint64(block.timestamp + 1), 0), way % 6);
        checkEqual(router.held(address(usdc), role), share, "held for the blocked side");
        checkEqual(usdc.balanceOf(address(router)), share, "in the router");
        checkEqual(usdc.balanceOf(ofTreasury ? partner : treasury), amount - share, "with the other side");

        usdc.setBlocked(side, false);
        router.release(address(usdc), role);
        checkEqual(usdc.balanceOf(side), share, "with the side in the end");
        checkEqual(router.held(address(usdc), role) + usdc.balanceOf(address(router)), 0, "left in the router");
    }

    /// @dev The owner can name another partner; what was held for the old one is then the new one's.
    function test_what_is_held_follows_the_role(uint256 amount, address heir) external {
        amount = within(amount, 2, 1e12);
        address[7] memory nobody =
            [address(0), treasury, partner, _payer, address(router), address(usdc), address(usdt)];
        for (uint256 i = 0; i < nobody.length; ++i) {
            if (heir == nobody[i]) heir = stranger;
        }
        usdc.setBlocked(partner, true);
        _pay(Order(address(usdc), amount, uint64(block.timestamp + 1), 0), 0);
        uint256 before = usdc.balanceOf(heir);

        vm.prank(owner);
        router.setPartner(heir);
        router.release(address(usdc), Role.Partner);

        checkEqual(usdc.balanceOf(heir) - before, amount / 2, "with the new partner");
    }

    function _pay(Order memory order, uint256 way) private {
        bytes32[] memory ids = new bytes32[](1);
        if (way == 0) {
            vm.prank(_payer);
            router.pay(order);
        } else if (way == 1) {
            router.payWithAuthorization(order, _payer, _authorize(1, _payer, order));
        } else if (way == 2) {
            router.payWithPermit2(order, _payer, _signPermit2(1, order));
        } else if (way == 3) {
            SignedPayment[] memory batch = new SignedPayment[](1);
            batch[0] = _signed(1, order);
            router.payMany(batch);
        } else {
            usdc.mint(router.depositAddress(ids[0]), order.amount);
            if (way == 4) router.collect(ids[0], order.token);
            else router.collectMany(ids, order.token);
        }
    }
}
