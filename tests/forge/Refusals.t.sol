// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, Role, SignedPayment} from "../../contracts/interfaces/IPaymentRouter.sol";
import {IRouter, Signing} from "./Signing.sol";

/// @notice Every refusal by its name, and what random histories hardly meet: a router that cannot be, a token that
/// delivers less than it says, a deposit address with native currency.
contract RefusalsTest is Signing {
    uint256 private constant MISSING = 3;
    address private _payer = vm.addr(1);

    function setUp() external {
        _found();
        _fund(_payer);
        _approve(_payer, address(usdc), FUNDS);
    }

    function test_a_router_needs_two_tokens(address account) external {
        if (account.code.length > 0) account = stranger;
        (address one, address two) = (address(usdc), address(usdt));
        _refuseToDeploy(one, one, treasury, partner, abi.encodeCall(Errors.InvalidTokenPair, (one, one)));
        _refuseToDeploy(account, two, treasury, partner, abi.encodeCall(Errors.InvalidTokenPair, (account, two)));
        _refuseToDeploy(one, account, treasury, partner, abi.encodeCall(Errors.InvalidTokenPair, (one, account)));
    }

    function test_a_router_needs_two_sides() external {
        (address one, address two) = (address(usdc), address(usdt));
        address[3] memory nobody = [address(0), one, two];
        for (uint256 i = 0; i < nobody.length; ++i) {
            bytes memory refusal = abi.encodeCall(Errors.InvalidBeneficiary, (Role.Treasury, nobody[i]));
            _refuseToDeploy(one, two, nobody[i], partner, refusal);
            refusal = abi.encodeCall(Errors.InvalidBeneficiary, (Role.Partner, nobody[i]));
            _refuseToDeploy(one, two, treasury, nobody[i], refusal);
        }
        bytes memory last = abi.encodeCall(Errors.InvalidBeneficiary, (Role.Partner, treasury));
        _refuseToDeploy(one, two, treasury, treasury, last);
    }

    function test_a_router_says_what_it_was_given() external view {
        checkEqual(router.usdc(), address(usdc), "usdc");
        checkEqual(router.usdt(), address(usdt), "usdt");
        checkEqual(router.treasury(), treasury, "treasury");
        checkEqual(router.partner(), partner, "partner");
        checkEqual(router.seq(), 0, "seq");
        check(!router.paused(), "a router starts open");
    }

    function test_the_owner_pauses_once_and_resumes_once() external {
        _refuse(owner, abi.encodeCall(IPaymentRouter.unpause, ()), abi.encodeCall(Errors.InvalidPause, (false, true)));
        vm.prank(owner);
        router.pause();
        _refuse(owner, abi.encodeCall(IPaymentRouter.pause, ()), abi.encodeCall(Errors.InvalidPause, (true, false)));
        vm.prank(owner);
        router.unpause();
        check(!router.paused(), "payments are resumed");
    }

    function test_a_paused_router_takes_no_payment_in_any_way() external {
        Order memory order = Order(address(usdc), 10, uint64(block.timestamp + 1), 0);
        bytes memory signature = _authorize(1, _payer, order);
        bytes32[] memory ids = new bytes32[](1);
        usdc.mint(router.depositAddress(ids[0]), 10);
        bytes[7] memory all = [
            abi.encodeCall(IPaymentRouter.pay, (order)),
            abi.encodeCall(IPaymentRouter.payWithPermit, (order, _signPermit(1, usdc, _payer, 10, block.timestamp))),
            abi.encodeCall(IPaymentRouter.payWithAuthorization, (order, _payer, signature)),
            abi.encodeCall(IPaymentRouter.payWithPermit2, (order, _payer, _signPermit2(1, order))),
            abi.encodeCall(IPaymentRouter.payMany, (new SignedPayment[](0))),
            abi.encodeCall(IPaymentRouter.collect, (ids[0], address(usdc))),
            abi.encodeCall(IPaymentRouter.collectMany, (ids, address(usdc)))
        ];
        vm.prank(owner);
        router.pause();
        for (uint256 i = 0; i < all.length; ++i) {
            _refuse(_payer, all[i], abi.encodeCall(Errors.InvalidPause, (true, false)));
        }
    }

    function test_an_order_is_refused_by_name() external {
        Order memory order = Order(address(usdc), 10, uint64(block.timestamp + 1), 0);
        vm.prank(_payer);
        router.pay(order);
        bytes memory paid = abi.encodeCall(Errors.OrderAlreadyPaid, (router.orderId(order)));
        _refuse(_payer, abi.encodeCall(IPaymentRouter.pay, (order)), paid);
        order.amount = 0;
        _refuse(_payer, abi.encodeCall(IPaymentRouter.pay, (order)), abi.encodeCall(Errors.InvalidAmount, (0, 1)));
        order.token = address(usdt);
        bytes memory call = abi.encodeCall(IPaymentRouter.payWithAuthorization, (order, _payer, ""));
        _refuse(_payer, call, abi.encodeCall(Errors.NoAuthorizations, (address(usdt))));
    }

    function test_a_token_is_refused_where_it_does_not_belong(bytes32 id) external {
        Order memory order = Order(address(other), 10, uint64(block.timestamp + 1), 0);
        (address one, address two) = (address(usdc), address(usdt));
        bytes memory refusal = abi.encodeCall(Errors.InvalidToken, (address(other), one, two));
        _refuse(_payer, abi.encodeCall(IPaymentRouter.pay, (order)), refusal);
        _refuse(_payer, abi.encodeCall(IPaymentRouter.collect, (id, address(other))), refusal);
        _refuse(owner, abi.encodeCall(IPaymentRouter.refund, (id, address(other), _payer, 1)), refusal);
        refusal = abi.encodeCall(Errors.InvalidToken, (one, one, two));
        _refuse(_payer, abi.encodeCall(IPaymentRouter.recover, (id, one)), refusal);
    }

    function test_nothing_is_not_given_back_rescued_or_collected(bytes32 id) external {
        bytes memory refusal = abi.encodeCall(Errors.InvalidAmount, (0, 1));
        _refuse(owner, abi.encodeCall(IPaymentRouter.refund, (id, address(usdc), _payer, 0)), refusal);
        _refuse(owner, abi.encodeCall(IPaymentRouter.rescue, (address(usdc), owner)), refusal);
        refusal = abi.encodeCall(Errors.NothingToCollect, (router.depositAddress(id), address(usdc)));
        _refuse(_payer, abi.encodeCall(IPaymentRouter.collect, (id, address(usdc))), refusal);
        refusal = abi.encodeCall(Errors.NothingToCollect, (router.depositAddress(id), address(other)));
        _refuse(_payer, abi.encodeCall(IPaymentRouter.recover, (id, address(other))), refusal);
    }

    function test_a_router_is_never_without_owner() external {
        bytes memory refusal = abi.encodeCall(Errors.OwnershipIsNotRenounceable, (owner));
        _refuse(owner, abi.encodeCall(IRouter.renounceOwnership, ()), refusal);
    }

    function test_a_deposit_is_nobodys_to_direct() external view {
        (address token, address to, uint256 amount) = router.depositing();
        check(token == address(0) && to == address(0) && amount == 0, "nothing is being sent");
    }

    function test_native_currency_at_a_deposit_address_goes_to_the_treasury(bytes32 id, uint96 native) external {
        address deposit = router.depositAddress(id);
        usdc.mint(deposit, 10);
        vm.deal(deposit, native);
        uint256 before = treasury.balance;
        router.collect(id, address(usdc));
        checkEqual(treasury.balance - before, native, "native currency of the treasury");
    }

    /// @dev While nothing is held a share that did not arrive cannot be sent, and cannot be written down either.
    function test_less_than_it_says_is_no_payment(uint256 amount) external {
        Order memory order = _orderThatArrivesShort(amount);
        bytes memory signature = _authorize(1, _payer, order);
        _expectShortReceipt(order.amount);
        router.payWithAuthorization(order, _payer, signature);
    }

    /// @dev Else the missing units would come out of what is held, or out of what others sent with the same batch.
    function test_less_than_it_says_is_not_made_up_from_what_is_held(uint256 amount, uint256 way) external {
        _holdForPartner();
        Order memory order = _orderThatArrivesShort(amount);
        bytes memory signature = way % 5 == 1 ? _signPermit2(1, order) : _authorize(1, _payer, order);
        SignedPayment[] memory batch = new SignedPayment[](1);
        batch[0] = SignedPayment(order, _payer, signature);
        bytes32[] memory ids = new bytes32[](1);
        usdc.mint(router.depositAddress(ids[0]), order.amount);

        vm.expectRevert(abi.encodeCall(Errors.InvalidReceipt, (order.amount - MISSING, order.amount)));
        way %= 5;
        if (way == 0) router.payWithAuthorization(order, _payer, signature);
        if (way == 1) router.payWithPermit2(order, _payer, signature);
        if (way == 2) router.payMany(batch);
        if (way == 3) router.collect(ids[0], address(usdc));
        if (way == 4) router.collectMany(ids, address(usdc));
    }

    /// @dev What is held is what came, never what was asked for: the router would owe more than it has.
    function test_what_is_held_is_what_arrived(uint256 amount) external {
        Order memory order = _orderThatArrivesShort(amount);
        usdc.setBlocked(treasury, true);
        vm.prank(_payer);
        router.pay(order);
        uint256 share = order.amount - order.amount / 2;
        checkEqual(router.held(address(usdc), Role.Treasury), share - MISSING, "held for the treasury");
    }

    function test_a_stranger_is_paid_nothing_that_is_not_held(bool ofTreasury) external {
        Role role = ofTreasury ? Role.Treasury : Role.Partner;
        vm.expectRevert(abi.encodeCall(Errors.NothingHeld, (role, address(usdc))));
        router.release(address(usdc), role);
    }

    function _refuse(address sender, bytes memory data, bytes memory refusal) private {
        vm.prank(sender);
        (bool done, bytes memory answer) = address(router).call(data);
        check(!done && keccak256(answer) == keccak256(refusal), "it is refused, by this name");
    }

    function _orderThatArrivesShort(uint256 amount) private returns (Order memory) {
        usdc.deliverLess(address(router), MISSING);
        return Order(address(usdc), within(amount, 2 * MISSING + 2, 1e12), uint64(block.timestamp + 1), "short");
    }

    function _holdForPartner() private {
        usdc.setBlocked(partner, true);
        vm.prank(_payer);
        router.pay(Order(address(usdc), 1e13, uint64(block.timestamp + 1), "held"));
        usdc.setBlocked(partner, false);
    }

    /// @dev The treasury's share is sent; of the partner's, three units are not there.
    function _expectShortReceipt(uint256 amount) private {
        uint256 share = amount / 2;
        vm.expectRevert(abi.encodeCall(Errors.InvalidReceipt, (share - MISSING, share)));
    }

    function _refuseToDeploy(address one, address two, address first, address second, bytes memory refusal) private {
        try this.deploy(one, two, first, second) {
            check(false, "such a router cannot be");
        } catch (bytes memory answer) {
            check(keccak256(answer) == keccak256(refusal), "it says why it cannot be");
        }
    }

    function deploy(address one, address two, address first, address second) external {
        _deploy(one, two, first, second, owner);
    }
}

/// @dev The router's errors as functions, so that their data can be written down.
interface Errors {
    function InvalidTokenPair(address usdc, address usdt) external;
    function InvalidBeneficiary(Role role, address beneficiary) external;
    function InvalidReceipt(uint256 arrived, uint256 amount) external;
    function InvalidToken(address token, address usdc, address usdt) external;
    function InvalidAmount(uint256 amount, uint256 minimum) external;
    function InvalidPause(bool paused, bool expected) external;
    function OrderAlreadyPaid(bytes32 orderId) external;
    function NoAuthorizations(address token) external;
    function NothingToCollect(address deposit, address token) external;
    function OwnershipIsNotRenounceable(address owner) external;
    function NothingHeld(Role role, address token) external;
}
