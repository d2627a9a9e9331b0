// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Vm} from "./Base.sol";
import {Signing} from "./Signing.sol";

/// @notice The owner is a contract, so what the events name is not who sent the transaction.
contract OwnerTest is Signing {
    function setUp() external {
        _found();
    }

    function test_pausing_names_the_owner() external {
        check(owner != tx.origin, "somebody else sends the transaction");
        vm.recordLogs();
        vm.prank(owner);
        router.pause();
        vm.prank(owner);
        router.unpause();

        Vm.Log[] memory logs = vm.getRecordedLogs();
        checkEqual(logs.length, 2, "events");
        for (uint256 i = 0; i < logs.length; ++i) {
            checkEqual(abi.decode(logs[i].data, (address)), owner, "who paused and resumed");
        }
    }
}
