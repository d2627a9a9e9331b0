// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Stablecoin} from "./Stablecoin.sol";

/// @notice Calls somebody in the middle of a transfer to one chosen recipient, once, and remembers the answer.
contract ReentrantToken is Stablecoin("Reentrant", "REENTER") {
    address private _trigger;
    address private _target;
    bytes private _call;

    bool public called;
    bool public succeeded;
    bytes public answer;

    /// @notice During the next transfer to `trigger`, call `target` with `data`.
    function arm(address trigger, address target, bytes calldata data) external {
        (_trigger, _target, _call) = (trigger, target, data);
    }

    /// @notice Lets this token pay orders itself: it is the sender of the call above.
    function approveFromHere(address spender, uint256 value) external {
        _approve(address(this), spender, value);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_target == address(0) || to != _trigger) return;

        address target = _target;
        _target = address(0);
        called = true;
        (succeeded, answer) = target.call(_call);
    }
}
