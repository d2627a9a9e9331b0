// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order} from "../../contracts/interfaces/IPaymentRouter.sol";
import {Signing} from "./Signing.sol";

/// @notice Any order: what its id commits to, when it is over, how it is split.
contract TermsTest is Signing {
    address private _payer = vm.addr(1);

    function setUp() external {
        _found();
    }

    function test_an_id_is_the_hash_of_chain_router_and_terms(Order calldata order, uint64 chainId) external {
        vm.chainId(chainId);
        bytes32 expected =
            keccak256(abi.encode(chainId, address(router), order.token, order.amount, order.expiresAt, order.salt));
        check(router.orderId(order) == expected, "an id is the hash of chain, router and terms");
    }

    function test_another_term_makes_another_id(Order memory order, uint256 field, uint256 change) external {
        bytes32 id = router.orderId(order);
        field %= 5;
        if (field == 0) order.token = address(uint160(uint160(order.token) ^ within(change, 1, type(uint160).max)));
        if (field == 1) order.amount ^= within(change, 1, type(uint256).max - 1);
        if (field == 2) order.expiresAt ^= uint64(within(change, 1, type(uint64).max));
        if (field == 3) order.salt ^= bytes32(within(change, 1, type(uint256).max - 1));
        if (field == 4) vm.chainId(block.chainid ^ within(change, 1, 2 ** 32));
        check(router.orderId(order) != id, "another term makes another id");
    }

    function test_another_router_makes_another_id(Order calldata order) external {
        IPaymentRouter another = _deploy(address(usdc), address(usdt), treasury, partner, owner);
        check(another.orderId(order) != router.orderId(order), "another router makes another id");
    }

    function test_an_order_can_be_paid_until_its_second_and_not_in_it(uint64 expiresAt, uint64 time) external {
        // Mostly around that second: else hardly a run would meet it.
        if (time % 4 != 0) time = expiresAt - expiresAt % 8 + (time / 4) % 8;
        expiresAt = expiresAt - expiresAt % 8 + 4;
        vm.warp(time);
        Order memory order = Order(address(usdc), 7, expiresAt, 0);
        usdc.mint(_payer, 7);
        _approve(_payer, order.token, 7);

        vm.prank(_payer);
        (bool done, bytes memory answer) = address(router).call(abi.encodeCall(IPaymentRouter.pay, (order)));

        check(done == (time < expiresAt), "an order can be paid until its second and not in it");
        bytes memory refusal = abi.encodeWithSelector(IPaymentRouter.OrderExpired.selector, time, expiresAt);
        check(done || keccak256(answer) == keccak256(refusal), "it says that it is over");
    }

    function test_any_amount_is_split_in_halves_and_the_odd_unit_goes_to_the_treasury(uint256 amount) external {
        amount = _someAmount(amount);
        Order memory order = Order(address(usdt), amount, type(uint64).max, 0);
        usdt.mint(_payer, amount);
        _approve(_payer, order.token, amount);

        vm.prank(_payer);
        router.pay(order);

        _checkSplit(amount);
    }

    function test_any_amount_through_the_router_is_split_alike(uint256 amount) external {
        amount = _someAmount(amount);
        Order memory order = Order(address(usdt), amount, type(uint64).max, 0);
        usdt.mint(_payer, amount);
        vm.prank(_payer);
        usdt.approve(PERMIT2, amount);

        router.payWithPermit2(order, _payer, _signPermit2(1, order));

        _checkSplit(amount);
    }

    function test_any_deposit_is_split_alike(uint256 amount, bytes32 id) external {
        amount = _someAmount(amount);
        usdt.mint(router.depositAddress(id), amount);

        router.collect(id, address(usdt));

        _checkSplit(amount);
    }

    function test_a_deposit_address_is_that_of_create2(bytes32 id) external view {
        bytes32 hash = keccak256(abi.encodePacked(bytes1(0xff), address(router), id, router.depositCodeHash()));
        checkEqual(router.depositAddress(id), address(uint160(uint256(hash))), "a deposit address");
    }

    /// @dev One in eight is small; the ends of the range come by themselves.
    function _someAmount(uint256 seed) private pure returns (uint256) {
        if (seed % 8 == 0) return 1 + (seed / 8) % 9;
        return seed == 0 ? 1 : seed;
    }

    function _checkSplit(uint256 amount) private view {
        checkEqual(usdt.balanceOf(partner), amount / 2, "the partner's half");
        checkEqual(usdt.balanceOf(treasury), amount - amount / 2, "the treasury's half");
        checkEqual(usdt.balanceOf(_payer) + usdt.balanceOf(address(router)), 0, "what is left over");
    }
}
