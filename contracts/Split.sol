// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IPaymentRouter, Role} from "./interfaces/IPaymentRouter.sol";

/// @title Split
/// @notice The two tokens, the two sides, and how money gets from the one to the other: at once, or held until it can be
/// released.
abstract contract Split is IPaymentRouter, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev Everything a payment reads besides its own flag, in one slot.
    struct State {
        address partner;
        bool paused;
        /// @dev Some share may be held in some token: what arrives has to be told from what was there.
        bool holds;
        uint64 seq;
    }

    /// @dev What one transaction brings into the router for both sides: one payment, or many.
    struct Delivery {
        address token;
        /// @dev What the router had of the token at first while it owed some; zero while it owed nothing.
        uint256 before;
        uint256 amount;
        uint256 partnerShare;
    }

    /// @inheritdoc IPaymentRouter
    address public immutable usdc;
    /// @inheritdoc IPaymentRouter
    address public immutable usdt;
    /// @inheritdoc IPaymentRouter
    address public immutable treasury;

    /// @inheritdoc IPaymentRouter
    mapping(address token => mapping(Role role => uint256)) public held;

    State internal _state;

    constructor(address usdc_, address usdt_, address treasury_, address partner_) {
        if (usdc_ == usdt_ || usdc_.code.length == 0 || usdt_.code.length == 0) revert InvalidTokenPair(usdc_, usdt_);
        usdc = usdc_;
        usdt = usdt_;

        _requireBeneficiary(Role.Treasury, treasury_);
        treasury = treasury_;

        _changePartner(partner_);
    }

    /// @inheritdoc IPaymentRouter
    function partner() public view returns (address) {
        return _state.partner;
    }

    /// @inheritdoc IPaymentRouter
    function release(address token, Role role) external nonReentrant {
        uint256 amount = held[token][role];
        if (amount == 0) revert NothingHeld(role, token);

        held[token][role] = 0;
        _state.holds = _owed(usdc) > 0 || _owed(usdt) > 0;
        address to = role == Role.Treasury ? treasury : partner();
        emit Released(role, token, to, amount);

        IERC20(token).safeTransfer(to, amount);
    }

    function _changePartner(address newPartner) internal {
        _requireBeneficiary(Role.Partner, newPartner);
        if (newPartner == treasury) revert InvalidBeneficiary(Role.Partner, newPartner);

        emit PartnerChanged(_state.partner, newPartner);
        _state.partner = newPartner;
    }

    function _requireBeneficiary(Role role, address beneficiary) private view {
        if (beneficiary == address(0) || beneficiary == address(this) || _isAccepted(beneficiary)) {
            revert InvalidBeneficiary(role, beneficiary);
        }
    }

    function _isAccepted(address token) internal view returns (bool) {
        return token == usdc || token == usdt;
    }

    function _partnerShare(uint256 amount) internal pure returns (uint256) {
        return amount / 2;
    }

    /// @dev What the router holds of a token for both sides.
    function _owed(address token) internal view returns (uint256) {
        return held[token][Role.Treasury] + held[token][Role.Partner];
    }

    /* STRAIGHT FROM THE PAYER */

    function _pushBoth(bytes32 id, address token, uint256 amount, address payer, address partner_) internal {
        uint256 partnerShare = _partnerShare(amount);

        _push(id, token, payer, Role.Treasury, treasury, amount - partnerShare);
        if (partnerShare > 0) _push(id, token, payer, Role.Partner, partner_, partnerShare);
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

    /* THROUGH THE ROUTER */

    function _startDelivery(address token) internal view returns (Delivery memory) {
        return Delivery(token, _state.holds ? IERC20(token).balanceOf(address(this)) : 0, 0, 0);
    }

    function _add(Delivery memory delivery, uint256 amount) internal pure {
        delivery.amount += amount;
        delivery.partnerShare += _partnerShare(amount);
    }

    /// @dev Sends on what has come into the router; a share that cannot be delivered is held.
    ///
    /// What is held belongs to a side: while there is any, no more is sent on than arrived. While there is none, a share
    /// that did not arrive cannot be sent, and `_send` refuses to write it down.
    /// @param id The order; zero for several together.
    function _deliver(bytes32 id, Delivery memory delivery) internal {
        if (delivery.before > 0) {
            uint256 arrived = IERC20(delivery.token).balanceOf(address(this)) - delivery.before;
            if (arrived < delivery.amount) revert InvalidReceipt(arrived, delivery.amount);
        }

        _send(id, delivery.token, Role.Treasury, treasury, delivery.amount - delivery.partnerShare);
        _send(id, delivery.token, Role.Partner, partner(), delivery.partnerShare);
    }

    /// @dev A caller cannot choose to hold by starving the transfer of gas: the 1/64 that is left then (EIP-150) is far
    /// from enough to write a debt down.
    function _send(bytes32 id, address token, Role role, address to, uint256 share) private {
        if (share == 0 || IERC20(token).trySafeTransfer(to, share)) return;

        _owe(id, token, role, share);
        uint256 balance = IERC20(token).balanceOf(address(this));
        if (balance < _owed(token)) revert InvalidReceipt(balance, _owed(token));
    }

    /// @dev Writes down what lies in the router for a side.
    function _owe(bytes32 id, address token, Role role, uint256 amount) private {
        _state.holds = true;
        held[token][role] += amount;
        emit Held(id, role, token, amount);
    }
}
