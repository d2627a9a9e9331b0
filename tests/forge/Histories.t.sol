// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Base} from "./Base.sol";
import {Rules} from "./Rules.sol";
import {Batching} from "./handlers/Batching.sol";
import {Depositing} from "./handlers/Depositing.sol";
import {Owning} from "./handlers/Owning.sol";
import {Environment} from "./handlers/Environment.sol";

/// @notice Everybody and everything around the router, beside the model of what it should do.
contract RouterHandler is Batching, Depositing, Owning, Environment, Rules {
    /// @notice How often each handler got its way and how often it was refused, for report.py.
    function report() external {
        for (uint256 i = 0; i < tallied.length; ++i) {
            Tally memory tally = tallies[tallied[i]];
            _write(vm.toString(uint256(uint32(tallied[i]))), tally.done, tally.refused);
        }
        _write("held", heldTimes, 0);
        _write("collected again", collectedAgain, 0);
        _write("released while paused", releasedWhilePaused, 0);
    }

    function _write(string memory name, uint256 done, uint256 refused) private {
        string memory line = string.concat(name, ",", vm.toString(done), ",", vm.toString(refused));
        vm.writeLine(".build/forge/tally.csv", line);
    }
}

/// @notice Random histories of the router, each rule checked after each call.
/// @dev One invariant for all rules: forge plays the same histories for every `invariant_` function, so that several
/// would only play them several times.
abstract contract Histories is Base {
    RouterHandler internal handler;

    function setUp() external {
        handler = new RouterHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), handlers());
    }

    function handlers() internal view virtual returns (bytes4[] memory);

    function invariant_every_rule_holds_after_every_call() external {
        handler.checkAll();
    }

    function afterInvariant() external {
        handler.report();
    }
}

/// @notice Nobody is blocked and nothing is paused: long ways through what works.
contract HappyPathInvariants is Histories {
    function handlers() internal view override returns (bytes4[] memory selectors) {
        bytes4[12] memory all = [
            handler.pay.selector,
            handler.payWithPermit.selector,
            handler.payWithAuthorization.selector,
            handler.payWithPermit2.selector,
            handler.payMany.selector,
            handler.transferToDeposits.selector,
            handler.collect.selector,
            handler.collectMany.selector,
            handler.sendToRouter.selector,
            handler.rescue.selector,
            handler.setPartner.selector,
            handler.passTime.selector
        ];
        selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            selectors[i] = all[i];
        }
    }
}

/// @notice Everything that can happen.
contract AdversarialInvariants is Histories {
    function handlers() internal view override returns (bytes4[] memory selectors) {
        bytes4[19] memory all = [
            handler.pay.selector,
            handler.payWithPermit.selector,
            handler.payWithAuthorization.selector,
            handler.payWithPermit2.selector,
            handler.payMany.selector,
            handler.transferToDeposits.selector,
            handler.collect.selector,
            handler.collectMany.selector,
            handler.recover.selector,
            handler.release.selector,
            handler.sendToRouter.selector,
            handler.rescue.selector,
            handler.refund.selector,
            handler.setPartner.selector,
            handler.pauseOrUnpause.selector,
            handler.handOver.selector,
            handler.tryAsStranger.selector,
            handler.blockSomebody.selector,
            handler.passTime.selector
        ];
        selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            selectors[i] = all[i];
        }
    }
}
