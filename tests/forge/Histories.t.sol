// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Base} from "./Base.sol";
import {Rules} from "./Rules.sol";
import {Batching} from "./handlers/Batching.sol";
import {Depositing} from "./handlers/Depositing.sol";
import {Owning} from "./handlers/Owning.sol";
import {Weather} from "./handlers/Weather.sol";

/// @notice Everybody and everything around the router, beside the model of what it should do.
contract Town is Batching, Depositing, Owning, Weather, Rules {
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
    Town internal town;

    function setUp() external {
        town = new Town();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(town);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(town), handlers());
    }

    function handlers() internal view virtual returns (bytes4[] memory);

    function invariant_every_rule_holds_after_every_call() external {
        town.checkAll();
    }

    function afterInvariant() external {
        town.report();
    }
}

/// @notice Nobody is blocked and nothing is paused: long ways through what works.
contract FairWeatherTest is Histories {
    function handlers() internal view override returns (bytes4[] memory selectors) {
        bytes4[12] memory all = [
            town.pay.selector,
            town.payWithPermit.selector,
            town.payWithAuthorization.selector,
            town.payWithPermit2.selector,
            town.payMany.selector,
            town.transferToDeposits.selector,
            town.collect.selector,
            town.collectMany.selector,
            town.sendToRouter.selector,
            town.rescue.selector,
            town.setPartner.selector,
            town.passTime.selector
        ];
        selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            selectors[i] = all[i];
        }
    }
}

/// @notice Everything that can happen.
contract StormTest is Histories {
    function handlers() internal view override returns (bytes4[] memory selectors) {
        bytes4[19] memory all = [
            town.pay.selector,
            town.payWithPermit.selector,
            town.payWithAuthorization.selector,
            town.payWithPermit2.selector,
            town.payMany.selector,
            town.transferToDeposits.selector,
            town.collect.selector,
            town.collectMany.selector,
            town.recover.selector,
            town.release.selector,
            town.sendToRouter.selector,
            town.rescue.selector,
            town.refund.selector,
            town.setPartner.selector,
            town.pauseOrUnpause.selector,
            town.handOver.selector,
            town.tryAsStranger.selector,
            town.blockSomebody.selector,
            town.passTime.selector
        ];
        selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            selectors[i] = all[i];
        }
    }
}
