// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter, Order, Permit, SignedPayment} from "../../contracts/interfaces/IPaymentRouter.sol";
import {Base} from "./Base.sol";
import {Coin} from "./doubles/Coin.sol";

/// @notice The router with what it inherits, so that only forge itself need compile it as it is deployed.
interface IRouter is IPaymentRouter {
    function owner() external view returns (address);
    function pendingOwner() external view returns (address);
    function transferOwnership(address newOwner) external;
    function acceptOwnership() external;
    function renounceOwnership() external view;
}

interface IPermit2Domain {
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}

/// @notice A router between two coins, people around it, and their signatures. Permit2 is the real one.
abstract contract Signing is Base {
    address internal constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant TOKEN_PERMISSIONS = keccak256("TokenPermissions(address token,uint256 amount)");
    bytes32 private constant PERMIT_TRANSFER_FROM = keccak256(
        "PermitTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline)"
        "TokenPermissions(address token,uint256 amount)"
    );

    uint256 internal constant FUNDS = 1e30;

    IRouter internal router;
    Coin internal usdc;
    Coin internal usdt;
    /// @dev A token that the router does not accept.
    Coin internal other;

    address internal owner = address(0xA001);
    address internal treasury = address(0xA002);
    address internal partner = address(0xA003);
    address internal stranger = address(0xA004);

    function _found() internal {
        vm.etch(PERMIT2, vm.parseBytes(vm.readFile(".build/forge/permit2.hex"))); // written by permit2.py
        (usdc, usdt, other) = (new Coin("USDC"), new Coin("USDT"), new Coin("OTHER"));
        router = _deploy(address(usdc), address(usdt), treasury, partner, owner);
    }

    function _deploy(address usdc_, address usdt_, address treasury_, address partner_, address owner_)
        internal
        returns (IRouter)
    {
        bytes memory arguments = abi.encode(usdc_, usdt_, treasury_, partner_, owner_);
        return IRouter(vm.deployCode("contracts/PaymentRouter.sol:PaymentRouter", arguments));
    }

    /// @dev Gives an account money, and lets Permit2 spend it.
    function _fund(address account) internal {
        for (uint256 i = 0; i < 3; ++i) {
            Coin coin = [usdc, usdt, other][i];
            coin.mint(account, FUNDS);
            vm.prank(account);
            coin.approve(PERMIT2, type(uint256).max);
        }
    }

    function _approve(address account, address token, uint256 amount) internal {
        vm.prank(account);
        Coin(token).approve(address(router), amount);
    }

    /// @dev The payer's signature as its token takes it in a batch: EIP-3009 for USDC, Permit2 for USDT.
    function _sign(uint256 key, address payer, Order memory order) internal view returns (bytes memory) {
        return order.token == address(usdc) ? _authorize(key, payer, order) : _signPermit2(key, order);
    }

    function _signed(uint256 key, Order memory order) internal view returns (SignedPayment memory) {
        address payer = vm.addr(key);
        return SignedPayment(order, payer, _sign(key, payer, order));
    }

    function _authorize(uint256 key, address payer, Order memory order) internal view returns (bytes memory) {
        bytes32 id = router.orderId(order);
        return _signature(key, usdc.digestOf(payer, address(router), order.amount, 0, order.expiresAt, id));
    }

    function _signPermit2(uint256 key, Order memory order) internal view returns (bytes memory) {
        bytes32 permitted = keccak256(abi.encode(TOKEN_PERMISSIONS, order.token, order.amount));
        uint256 nonce = uint256(router.orderId(order));
        bytes32 message =
            keccak256(abi.encode(PERMIT_TRANSFER_FROM, permitted, address(router), nonce, order.expiresAt));
        return _signature(key, _digest(IPermit2Domain(PERMIT2).DOMAIN_SEPARATOR(), message));
    }

    function _signPermit(uint256 key, Coin coin, address payer, uint256 amount, uint256 deadline)
        internal
        view
        returns (Permit memory)
    {
        bytes32 message = keccak256(abi.encode(PERMIT, payer, address(router), amount, coin.nonces(payer), deadline));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _digest(coin.DOMAIN_SEPARATOR(), message));
        return Permit(deadline, v, r, s);
    }

    function _digest(bytes32 domain, bytes32 message) private pure returns (bytes32) {
        return keccak256(abi.encodePacked("\x19\x01", domain, message));
    }

    function _signature(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }
}
