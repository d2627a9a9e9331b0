// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";

import {Deposit} from "./Deposit.sol";
import {Split} from "./Split.sol";
import {IPaymentRouter, Order, Permit, Role, SignedPayment} from "./interfaces/IPaymentRouter.sol";
import {IERC3009, IPermit2} from "./interfaces/ITokenSignatures.sol";

/// @title PaymentRouter
/// @notice Stablecoins in, split in two, one event out.
/// @dev Every way to pay has the same three beats: record the payment, obtain the right to the tokens, split them.
contract PaymentRouter is Split, Ownable2Step {
    using Address for address;
    using SafeERC20 for IERC20;

    /// @dev What a payer's signature may cost in a batch, so that no payer's code can take the others down. A Safe of ten
    /// owners needs half of it.
    uint256 private constant GAS_FOR_SIGNATURE = 300_000;

    /// @dev At the same address on every chain.
    IPermit2 private constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    /// @inheritdoc IPaymentRouter
    bytes32 public immutable depositCodeHash;

    /// @dev Not zero once an order is paid; a whole word, since a smaller part of one would have to be read again.
    mapping(bytes32 id => uint256) private _spent;

    /// @dev What the deposit contract that is being created has to send, and where to.
    address private transient _depositToken;
    address private transient _depositTo;
    uint256 private transient _depositAmount;

    constructor(address usdc_, address usdt_, address treasury_, address partner_, address owner_)
        Split(usdc_, usdt_, treasury_, partner_)
        Ownable(owner_)
    {
        depositCodeHash = keccak256(type(Deposit).creationCode);
    }

    /* PAYING */

    /// @inheritdoc IPaymentRouter
    function pay(Order calldata order) external {
        (bytes32 id, address partner_) = _record(order, msg.sender);

        _pushBoth(id, order.token, order.amount, msg.sender, partner_);
    }

    /// @inheritdoc IPaymentRouter
    function payWithPermit(Order calldata order, Permit calldata permit) external {
        (bytes32 id, address partner_) = _record(order, msg.sender);

        try IERC20Permit(order.token).permit(
            msg.sender, address(this), order.amount, permit.deadline, permit.v, permit.r, permit.s
        ) {} catch {}

        _pushBoth(id, order.token, order.amount, msg.sender, partner_);
    }

    /// @dev All checks and all effects of a payment, before any other contract is called: whatever a token does later,
    /// the order is spent and its number is taken, so a payment inside a payment is just the next one.
    function _record(Order calldata order, address payer) private returns (bytes32 id, address partner_) {
        if (!_isAccepted(order.token)) revert InvalidToken(order.token, usdc, usdt);
        if (order.amount == 0) revert InvalidAmount(0, 1);
        if (block.timestamp >= order.expiresAt) revert OrderExpired(block.timestamp, order.expiresAt);

        id = orderId(order);
        if (_spent[id] != 0) revert OrderAlreadyPaid(id);
        _spent[id] = 1;

        partner_ = _announce(id, payer, order.token, order.amount);
    }

    /// @dev The one event of every payment, and its number, together: so they stay in order, whatever calls come between.
    function _announce(bytes32 id, address payer, address token, uint256 amount) private returns (address partner_) {
        if (_state.paused) revert InvalidPause(true, false);

        partner_ = _state.partner;
        uint64 number;
        unchecked {
            number = _state.seq + 1; // 2^64 payments would take longer than there is
        }
        _state.seq = number;

        emit Paid(id, payer, token, amount, _partnerShare(amount), number);
    }

    /* PAYING BY SIGNATURE */

    /// @inheritdoc IPaymentRouter
    function payWithAuthorization(Order calldata order, address payer, bytes calldata signature) external {
        if (order.token != usdc) revert NoAuthorizations(order.token);

        (bytes32 id,) = _record(order, payer);
        _payThrough(id, order, usdc, _authorization(id, order, payer, signature));
    }

    /// @inheritdoc IPaymentRouter
    function payWithPermit2(Order calldata order, address payer, bytes calldata signature) external {
        (bytes32 id,) = _record(order, payer);
        _payThrough(id, order, address(PERMIT2), _permit2(id, order, payer, signature));
    }

    function _payThrough(bytes32 id, Order calldata order, address target, bytes memory transfer) private nonReentrant {
        Delivery memory delivery = _startDelivery(order.token);
        target.functionCall(transfer);
        _add(delivery, order.amount);
        _deliver(id, delivery);
    }

    /// @inheritdoc IPaymentRouter
    function payMany(SignedPayment[] calldata payments) external nonReentrant {
        if (_state.paused) revert InvalidPause(true, false);
        Delivery memory inUsdc = _startDelivery(usdc);
        Delivery memory inUsdt = _startDelivery(usdt);

        for (uint256 i = 0; i < payments.length; ++i) {
            SignedPayment calldata payment = payments[i];
            address token = payment.order.token;
            bytes32 id = orderId(payment.order);

            bool done = token == usdc
                ? _tryToPay(id, payment, inUsdc)
                : token == usdt && _tryToPay(id, payment, inUsdt);
            if (!done) emit PaymentSkipped(id, payment.payer);
        }

        _deliver(0, inUsdc);
        _deliver(0, inUsdt);
    }

    /// @dev The order is spent before its payer's code runs, and given back if nothing came of it.
    function _tryToPay(bytes32 id, SignedPayment calldata payment, Delivery memory delivery)
        private
        returns (bool done)
    {
        Order calldata order = payment.order;
        (address payer, uint256 amount) = (payment.payer, order.amount);
        if (amount == 0 || block.timestamp >= order.expiresAt || _spent[id] != 0) return false;
        _spent[id] = 1;

        (address target, bytes memory transfer) = delivery.token == usdc
            ? (usdc, _authorization(id, order, payer, payment.signature))
            : (address(PERMIT2), _permit2(id, order, payer, payment.signature));
        (done,) = target.call{gas: GAS_FOR_SIGNATURE}(transfer);

        if (done) {
            _announce(id, payer, delivery.token, amount);
            _add(delivery, amount);
        } else {
            _spent[id] = 0;
        }
    }

    function _authorization(bytes32 id, Order calldata order, address payer, bytes calldata signature)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            IERC3009.receiveWithAuthorization,
            (payer, address(this), order.amount, 0, order.expiresAt, id, signature)
        );
    }

    function _permit2(bytes32 id, Order calldata order, address payer, bytes calldata signature)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            IPermit2.permitTransferFrom,
            (
                IPermit2.PermitTransferFrom(
                    IPermit2.TokenPermissions(order.token, order.amount), uint256(id), order.expiresAt
                ),
                IPermit2.SignatureTransferDetails(address(this), order.amount),
                payer,
                signature
            )
        );
    }

    /* COLLECTING PLAIN TRANSFERS */

    /// @inheritdoc IPaymentRouter
    function collect(bytes32 id, address token) external nonReentrant {
        Delivery memory delivery = _startDelivery(token);

        _collect(id, delivery);
        if (delivery.amount == 0) revert NothingToCollect(depositAddress(id), token);

        _deliver(id, delivery);
    }

    /// @inheritdoc IPaymentRouter
    function collectMany(bytes32[] calldata ids, address token) external nonReentrant {
        Delivery memory delivery = _startDelivery(token);

        for (uint256 i = 0; i < ids.length; ++i) {
            _collect(ids[i], delivery);
        }

        _deliver(0, delivery);
    }

    /// @inheritdoc IPaymentRouter
    function recover(bytes32 id, address token) external nonReentrant {
        if (_isAccepted(token)) revert InvalidToken(token, usdc, usdt);
        (address deposit, uint256 amount) = _deposited(id, token);
        if (amount == 0) revert NothingToCollect(deposit, token);

        emit Recovered(id, token, amount);

        _empty(id, token, amount, treasury);
    }

    /// @inheritdoc IPaymentRouter
    function depositing() external view returns (address token, address to, uint256 amount) {
        return (_depositToken, _depositTo, _depositAmount);
    }

    function _collect(bytes32 id, Delivery memory delivery) private {
        address token = delivery.token;
        if (!_isAccepted(token)) revert InvalidToken(token, usdc, usdt);
        (address deposit, uint256 amount) = _deposited(id, token);
        if (amount == 0) return;

        _announce(id, deposit, token, amount);

        _empty(id, token, amount, address(this));
        _add(delivery, amount);
    }

    function _deposited(bytes32 id, address token) private view returns (address deposit, uint256 amount) {
        deposit = depositAddress(id);
        amount = IERC20(token).balanceOf(deposit);
    }

    /// @dev Creates the contract at an order's deposit address for as long as it takes to send what lies there.
    function _empty(bytes32 id, address token, uint256 amount, address to) private {
        (_depositToken, _depositTo, _depositAmount) = (token, to, amount);
        new Deposit{salt: id}();
    }

    /* OWNER */

    /// @inheritdoc IPaymentRouter
    function setPartner(address newPartner) external onlyOwner {
        _changePartner(newPartner);
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
        if (!_isAccepted(token)) revert InvalidToken(token, usdc, usdt);
        if (amount == 0) revert InvalidAmount(0, 1);

        emit Refunded(id, to, token, amount);

        IERC20(token).safeTransferFrom(msg.sender, to, amount);
    }

    /// @inheritdoc IPaymentRouter
    function rescue(address token, address to) external onlyOwner nonReentrant {
        uint256 surplus = IERC20(token).balanceOf(address(this)) - _owed(token);
        if (surplus == 0) revert InvalidAmount(0, 1);

        emit Rescued(token, to, surplus);

        IERC20(token).safeTransfer(to, surplus);
    }

    /// @notice Always refused: ownership is handed over in two steps, never dropped.
    function renounceOwnership() public view override {
        revert OwnershipIsNotRenounceable(owner());
    }

    /* READING */

    /// @inheritdoc IPaymentRouter
    function orderId(Order calldata order) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), order));
    }

    /// @inheritdoc IPaymentRouter
    function depositAddress(bytes32 id) public view returns (address) {
        return Create2.computeAddress(id, depositCodeHash);
    }

    /// @inheritdoc IPaymentRouter
    function paid(bytes32 id) external view returns (bool) {
        return _spent[id] != 0;
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
