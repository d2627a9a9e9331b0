// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IPaymentRouter, Order, Permit, Role} from "./interfaces/IPaymentRouter.sol";
import {IERC3009, IPermit2} from "./interfaces/ITokenSignatures.sol";

/// @title PaymentRouter
/// @notice Stablecoins in, split in two, one event out.
/// @dev Every way to pay has the same three beats: record the payment, obtain the right to the tokens, split them.
contract PaymentRouter is IPaymentRouter, Ownable2Step, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev Everything a payment reads besides its own flag, in one slot.
    struct State {
        address partner;
        bool paused;
        /// @dev Some share may be held in some token: what arrives has to be told from what was there.
        bool holds;
        uint64 seq;
    }

    /// @dev At the same address on every chain.
    IPermit2 private constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    /// @inheritdoc IPaymentRouter
    address public immutable usdc;
    /// @inheritdoc IPaymentRouter
    address public immutable usdt;
    /// @inheritdoc IPaymentRouter
    address public immutable treasury;

    /// @inheritdoc IPaymentRouter
    mapping(bytes32 id => bool) public paid;
    /// @inheritdoc IPaymentRouter
    mapping(address token => mapping(Role role => uint256)) public held;

    State private _state;

    constructor(address usdc_, address usdt_, address treasury_, address partner_, address owner_) Ownable(owner_) {
        if (usdc_ == usdt_ || usdc_.code.length == 0 || usdt_.code.length == 0) revert InvalidTokenPair(usdc_, usdt_);
        usdc = usdc_;
        usdt = usdt_;

        _requireBeneficiary(Role.Treasury, treasury_);
        treasury = treasury_;

        _setPartner(partner_);
    }

    /* PAYING */

    /// @inheritdoc IPaymentRouter
    function pay(Order calldata order) external {
        (bytes32 id, address partner_) = _record(order, msg.sender);

        _split(id, order, msg.sender, partner_);
    }

    /// @inheritdoc IPaymentRouter
    function payWithPermit(Order calldata order, Permit calldata permit) external {
        (bytes32 id, address partner_) = _record(order, msg.sender);

        try IERC20Permit(order.token).permit(
            msg.sender, address(this), order.amount, permit.deadline, permit.v, permit.r, permit.s
        ) {} catch {}

        _split(id, order, msg.sender, partner_);
    }

    /// @inheritdoc IPaymentRouter
    function payWithAuthorization(Order calldata order, address payer, bytes calldata signature) external nonReentrant {
        (bytes32 id, address partner_) = _record(order, payer);
        if (order.token != usdc) revert NoAuthorizations(order.token);

        uint256 before = _balanceBefore(order.token);
        IERC3009(order.token).receiveWithAuthorization(
            payer, address(this), order.amount, 0, order.expiresAt, id, signature
        );

        _deliver(id, order, partner_, before);
    }

    /// @inheritdoc IPaymentRouter
    function payWithPermit2(Order calldata order, address payer, bytes calldata signature) external nonReentrant {
        (bytes32 id, address partner_) = _record(order, payer);

        uint256 before = _balanceBefore(order.token);
        PERMIT2.permitTransferFrom(
            IPermit2.PermitTransferFrom(
                IPermit2.TokenPermissions(order.token, order.amount), uint256(id), order.expiresAt
            ),
            IPermit2.SignatureTransferDetails(address(this), order.amount),
            payer,
            signature
        );

        _deliver(id, order, partner_, before);
    }

    /// @dev All checks and all effects of a payment, before any other contract is called: whatever a token does later, the
    /// order is spent and its number is taken, so a payment inside a payment is just the next one. The event belongs here
    /// for the same reason: `seq` stays in order.
    function _record(Order calldata order, address payer) private returns (bytes32 id, address partner_) {
        if (_state.paused) revert InvalidPause(true, false);
        if (order.token != usdc && order.token != usdt) revert InvalidToken(order.token, usdc, usdt);
        if (order.amount == 0) revert InvalidAmount(0, 1);
        if (block.timestamp >= order.expiresAt) revert OrderExpired(block.timestamp, order.expiresAt);

        uint64 number;
        unchecked {
            number = ++_state.seq; // 2^64 payments would take longer than there is
        }
        partner_ = _state.partner;

        id = orderId(order);
        if (paid[id]) revert OrderAlreadyPaid(id);
        paid[id] = true;

        emit Paid(id, payer, order.token, order.amount, _partnerShare(order.amount), number);
    }

    function _split(bytes32 id, Order calldata order, address payer, address partner_) private {
        uint256 partnerShare = _partnerShare(order.amount);

        _push(id, order.token, payer, Role.Treasury, treasury, order.amount - partnerShare);
        if (partnerShare > 0) _push(id, order.token, payer, Role.Partner, partner_, partnerShare);
    }

    /// @dev Sends a share straight from the payer to its side; if that fails, holds it for that side.
    ///
    /// A caller cannot choose the second by starving the first of gas: a call is given 63/64 of what is left (EIP-150), so a
    /// push that ran out leaves 1/64 for a pull, which is a transfer of the same token and costs as much.
    function _push(bytes32 id, address token, address payer, Role role, address to, uint256 share) private {
        if (!IERC20(token).trySafeTransferFrom(payer, to, share)) _hold(id, token, payer, role, share);
    }

    /// @dev Like all that moves the router's own balance, not re-entrant: between the two readings of the balance nothing
    /// else may come or go. It books what arrived, not what was asked for: the router must never owe more than it has.
    function _hold(bytes32 id, address token, address payer, Role role, uint256 share) private nonReentrant {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(payer, address(this), share);
        uint256 arrived = IERC20(token).balanceOf(address(this)) - before;

        _owe(id, token, role, arrived);
    }

    /// @dev What the router has of a token while it owes some of it; zero while it owes nothing.
    function _balanceBefore(address token) private view returns (uint256) {
        return _state.holds ? IERC20(token).balanceOf(address(this)) : 0;
    }

    /// @dev Sends on what a signature has brought into the router; a share that cannot be delivered is held.
    ///
    /// What is held belongs to a side: while there is any, no more is sent on than arrived. While there is none, a share
    /// that did not arrive cannot be sent, and `_send` refuses to write it down.
    function _deliver(bytes32 id, Order calldata order, address partner_, uint256 before) private {
        if (before > 0) {
            uint256 arrived = IERC20(order.token).balanceOf(address(this)) - before;
            if (arrived < order.amount) revert InvalidReceipt(arrived, order.amount);
        }

        uint256 partnerShare = _partnerShare(order.amount);
        _send(id, order.token, Role.Treasury, treasury, order.amount - partnerShare);
        if (partnerShare > 0) _send(id, order.token, Role.Partner, partner_, partnerShare);
    }

    /// @dev A caller cannot choose to hold by starving the transfer of gas: the 1/64 that is left then (EIP-150) is far
    /// from enough to write a debt down.
    function _send(bytes32 id, address token, Role role, address to, uint256 share) private {
        if (IERC20(token).trySafeTransfer(to, share)) return;

        _owe(id, token, role, share);
        uint256 owed = held[token][Role.Treasury] + held[token][Role.Partner];
        uint256 balance = IERC20(token).balanceOf(address(this));
        if (balance < owed) revert InvalidReceipt(balance, owed);
    }

    /// @dev Writes down what lies in the router for a side.
    function _owe(bytes32 id, address token, Role role, uint256 amount) private {
        _state.holds = true;
        held[token][role] += amount;
        emit Held(id, role, token, amount);
    }

    function _partnerShare(uint256 amount) private pure returns (uint256) {
        return amount / 2;
    }

    /* DELIVERING WHAT WAS HELD */

    /// @inheritdoc IPaymentRouter
    function release(address token, Role role) external nonReentrant {
        uint256 amount = held[token][role];
        if (amount == 0) revert NothingHeld(role, token);

        held[token][role] = 0;
        _state.holds = _owes(usdc) || _owes(usdt);
        address to = role == Role.Treasury ? treasury : partner();
        emit Released(role, token, to, amount);

        IERC20(token).safeTransfer(to, amount);
    }

    function _owes(address token) private view returns (bool) {
        return held[token][Role.Treasury] > 0 || held[token][Role.Partner] > 0;
    }

    /* OWNER */

    /// @inheritdoc IPaymentRouter
    function setPartner(address newPartner) external onlyOwner {
        _setPartner(newPartner);
    }

    /// @inheritdoc IPaymentRouter
    function pause() external onlyOwner {
        if (_state.paused) revert InvalidPause(true, false);

        _state.paused = true;
        emit Paused(msg.sender);
    }

    /// @inheritdoc IPaymentRouter
    function unpause() external onlyOwner {
        if (!_state.paused) revert InvalidPause(false, true);

        _state.paused = false;
        emit Unpaused(msg.sender);
    }

    /// @inheritdoc IPaymentRouter
    function refund(bytes32 id, address token, address to, uint256 amount) external onlyOwner {
        if (token != usdc && token != usdt) revert InvalidToken(token, usdc, usdt);
        if (amount == 0) revert InvalidAmount(0, 1);
        if (!paid[id]) revert OrderNotPaid(id);

        emit Refunded(id, to, token, amount);

        IERC20(token).safeTransferFrom(msg.sender, to, amount);
    }

    /// @inheritdoc IPaymentRouter
    function rescue(address token, address to) external onlyOwner nonReentrant {
        uint256 owed = held[token][Role.Treasury] + held[token][Role.Partner];
        uint256 surplus = IERC20(token).balanceOf(address(this)) - owed;
        if (surplus == 0) revert InvalidAmount(0, 1);

        emit Rescued(token, to, surplus);

        IERC20(token).safeTransfer(to, surplus);
    }

    /// @notice Always refused: ownership is handed over in two steps, never dropped.
    function renounceOwnership() public view override {
        revert OwnershipIsNotRenounceable(owner());
    }

    function _setPartner(address newPartner) private {
        _requireBeneficiary(Role.Partner, newPartner);
        if (newPartner == treasury) revert InvalidBeneficiary(Role.Partner, newPartner);

        emit PartnerChanged(_state.partner, newPartner);
        _state.partner = newPartner;
    }

    function _requireBeneficiary(Role role, address beneficiary) private view {
        if (
            beneficiary == address(0) || beneficiary == address(this) || beneficiary == usdc || beneficiary == usdt
        ) revert InvalidBeneficiary(role, beneficiary);
    }

    /* READING */

    /// @inheritdoc IPaymentRouter
    function orderId(Order calldata order) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), order));
    }

    /// @inheritdoc IPaymentRouter
    function partner() public view returns (address) {
        return _state.partner;
    }

    /// @inheritdoc IPaymentRouter
    function paused() external view returns (bool) {
        return _state.paused;
    }

    /// @inheritdoc IPaymentRouter
    function seq() external view returns (uint64) {
        return _state.seq;
    }
}
