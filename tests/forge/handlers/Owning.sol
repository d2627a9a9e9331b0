// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPaymentRouter} from "../../../contracts/interfaces/IPaymentRouter.sol";
import {IRouter} from "../Signing.sol";
import {Coin} from "../doubles/Coin.sol";
import {Paying} from "./Paying.sol";

/// @notice What the owner does, and everybody else who tries to.
abstract contract Owning is Paying {
    /// @notice Names another partner, or somebody who cannot be one.
    function setPartner(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address[5] memory refused = [address(0), address(router), address(usdc), address(usdt), treasury];
        bool expected = !luck(dice, 4);
        address named = expected ? partners[roll(dice, partners.length)] : refused[roll(dice, 5)];

        _ask(owner, abi.encodeCall(IPaymentRouter.setPartner, (named)), unless(expected, "who cannot be a side"));

        if (expected) partner = named;
    }

    /// @notice Pauses one time in four, and resumes otherwise.
    function pauseOrUnpause(uint256 seed) external {
        Dice memory dice = _begin(seed);
        bool stop = luck(dice, 4);

        _ask(
            owner,
            stop ? abi.encodeCall(IPaymentRouter.pause, ()) : abi.encodeCall(IPaymentRouter.unpause, ()),
            unless(stop != paused, "to pause or resume twice")
        );

        paused = stop;
    }

    /// @notice Gives money back out of the owner's own.
    function refund(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address token = luck(dice, 12) ? address(other) : _token(dice);
        uint256 amount = luck(dice, 12) ? 0 : _amount(dice);
        address to = luck(dice, 2) ? _account(dice).account : sink;
        bool allowed = !luck(dice, 8);
        _approve(owner, token, allowed ? amount : 0);
        bool expected = _isAccepted(token) && amount > 0 && allowed && _canSend(token, owner, to, amount);
        uint256 before = Coin(token).balanceOf(to);

        _ask(
            owner,
            abi.encodeCall(IPaymentRouter.refund, (latestId, token, to, amount)),
            unless(expected, "to give back what the owner lacks")
        );

        check(Coin(token).balanceOf(to) - before == (expected ? amount : 0), "a refund is the owner's own money");
        _checkEvents(new Payment[](0), 0);
    }

    /// @notice Takes out what was sent to the router by mistake.
    function rescue(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address token = [address(usdc), address(usdt), address(other)][roll(dice, 3)];
        bool expected = strayed[token] > 0 && !_isBlocked(token, address(router));
        uint256 before = Coin(token).balanceOf(sink);

        _ask(owner, abi.encodeCall(IPaymentRouter.rescue, (token, sink)), unless(expected, "to rescue nothing"));

        uint256 got = Coin(token).balanceOf(sink) - before;
        check(got == (expected ? strayed[token] : 0), "a rescue takes what strayed in, and nothing that is held");
        if (expected) strayed[token] = 0;
    }

    /// @notice Hands the router over in two steps; until the second, the old owner stays.
    function handOver(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address heir = address(uint160(0xC000 + roll(dice, 3)));
        if (luck(dice, 4)) _ask(owner, abi.encodeCall(IRouter.renounceOwnership, ()), "to belong to nobody");
        _ask(owner, abi.encodeCall(IRouter.transferOwnership, (heir)), "");
        if (luck(dice, 2)) return;

        _ask(stranger, abi.encodeCall(IRouter.acceptOwnership, ()), "a stranger as owner");
        _ask(heir, abi.encodeCall(IRouter.acceptOwnership, ()), "");
        owner = heir;
        _fund(heir);
    }

    /// @notice Somebody who is not the owner tries all that only the owner may.
    function tryAsStranger(uint256 seed) external {
        Dice memory dice = _begin(seed);
        address[5] memory people = [stranger, treasury, partner, address(router), router.pendingOwner()];
        address person = luck(dice, 4) ? _anybody(dice).account : people[roll(dice, 5)];
        if (person == owner || person == address(0)) person = stranger;

        bytes[7] memory all = [
            abi.encodeCall(IPaymentRouter.setPartner, (partners[roll(dice, partners.length)])),
            abi.encodeCall(IPaymentRouter.pause, ()),
            abi.encodeCall(IPaymentRouter.unpause, ()),
            abi.encodeCall(IPaymentRouter.refund, (latestId, address(usdc), person, 1)),
            abi.encodeCall(IPaymentRouter.rescue, (address(usdc), person)),
            abi.encodeCall(IPaymentRouter.rescue, (address(usdt), person)),
            abi.encodeCall(IRouter.transferOwnership, (person))
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            (, bytes memory answer) = _askFor(person, all[i], "whoever is not the owner");
            bytes memory refusal = abi.encodeCall(Refusals.OwnableUnauthorizedAccount, (person));
            check(keccak256(answer) == keccak256(refusal), "nobody but the owner changes anything");
        }
    }
}

/// @dev The error as a function, so that its data can be written down.
interface Refusals {
    function OwnableUnauthorizedAccount(address account) external;
}
