// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Coin} from "../doubles/Coin.sol";
import {Paying} from "./Paying.sol";

/// @notice What nobody at the router decides: block lists and time.
abstract contract Environment is Paying {
    /// @notice A token, or both, block a side, a payer or the router; or both let everybody go.
    function blockSomebody(uint256 seed) external {
        Dice memory dice = _begin(seed);
        uint256 whom = roll(dice, 10);
        if (whom < 3) _block(dice, treasury);
        else if (whom < 6) _block(dice, partner);
        else if (whom == 6) _block(dice, _account(dice).account);
        else if (whom == 7) _block(dice, address(router));
        else _letGo();
        _count(msg.sig, 1, 0);
    }

    /// @notice From a second to two hours go by: orders run out, and and sometimes the block lists are emptied.
    function passTime(uint256 seed) external {
        Dice memory dice = _begin(seed);
        clock += luck(dice, 2) ? 1 : roll(dice, 7200);
        if (luck(dice, 4)) _letGo();
        _count(msg.sig, 1, 0);
    }

    function _block(Dice memory dice, address account) private {
        uint256 which = roll(dice, 3);
        if (which != 0) usdc.setBlocked(account, true);
        if (which != 1) usdt.setBlocked(account, true);
    }

    function _letGo() private {
        for (uint256 i = 0; i < 2; ++i) {
            Coin coin = i == 0 ? usdc : usdt;
            coin.setBlocked(address(router), false);
            coin.setBlocked(treasury, false);
            for (uint256 j = 0; j < partners.length; ++j) {
                coin.setBlocked(partners[j], false);
            }
            for (uint256 j = 0; j < payers.length; ++j) {
                coin.setBlocked(payers[j].account, false);
            }
        }
    }
}
