// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, Role, SignedPayment} from "../../contracts/interfaces/IPaymentRouter.sol";
import {Signing} from "./Signing.sol";

/// @notice Whoever sends a payment chooses its gas. With none can he make the router hold what could be delivered.
contract StarvingTest is Signing {
    address private _payer = vm.addr(1);
    bytes32 private constant ID = "deposit";

    function setUp() external {
        _found();
        _fund(_payer);
        _approve(_payer, address(usdc), FUNDS);
        usdc.mint(router.depositAddress(ID), 1001);
        // As in every real payment but the first: both sides have some of it.
        usdc.mint(treasury, 1);
        usdc.mint(partner, 1);
    }

    function test_no_gas_makes_pay_hold(uint256 gas) external {
        _starve(gas, abi.encodeCall(IPaymentRouter.pay, (_order())));
    }

    function test_no_gas_makes_pay_with_authorization_hold(uint256 gas) external {
        Order memory order = _order();
        bytes memory signature = _authorize(1, _payer, order);
        _starve(gas, abi.encodeCall(IPaymentRouter.payWithAuthorization, (order, _payer, signature)));
    }

    function test_no_gas_makes_pay_with_permit2_hold(uint256 gas) external {
        Order memory order = _order();
        _starve(gas, abi.encodeCall(IPaymentRouter.payWithPermit2, (order, _payer, _signPermit2(1, order))));
    }

    function test_no_gas_makes_pay_many_hold(uint256 gas) external {
        SignedPayment[] memory batch = new SignedPayment[](3);
        for (uint256 i = 0; i < batch.length; ++i) {
            Order memory order = _order();
            order.salt = bytes32(i);
            batch[i] = _signed(1, order);
        }
        _starve(gas, abi.encodeCall(IPaymentRouter.payMany, (batch)));
    }

    function test_no_gas_makes_collect_hold(uint256 gas) external {
        _starve(gas, abi.encodeCall(IPaymentRouter.collect, (ID, address(usdc))));
    }

    function _order() private view returns (Order memory) {
        return Order(address(usdc), 1001, uint64(block.timestamp + 1), 0);
    }

    /// @dev Every payment here is done with less than 400,000 gas; what it needs lies well above 20,000.
    function _starve(uint256 gas, bytes memory data) private {
        gas = within(gas, 20_000, 400_000);
        vm.prank(_payer);
        (bool done,) = address(router).call{gas: gas}(data);

        uint256 held = router.held(address(usdc), Role.Treasury) + router.held(address(usdc), Role.Partner);
        checkEqual(held, 0, "held");
        checkEqual(usdc.balanceOf(address(router)), 0, "left in the router");
        if (gas == 400_000) check(done, "the most is enough");
    }
}
