// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What forge's tests may ask of forge: only what is used here.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address sender) external;
    function warp(uint256 time) external;
    function chainId(uint256 id) external;
    function deployCode(string calldata artifact, bytes calldata arguments) external returns (address);
    function deal(address account, uint256 balance) external;
    function etch(address account, bytes calldata code) external;
    function readFile(string calldata path) external view returns (string memory);
    function writeLine(string calldata path, string calldata line) external;
    function parseBytes(string calldata text) external pure returns (bytes memory);
    function toString(uint256 value) external pure returns (string memory);
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function snapshotState() external returns (uint256);
    function revertToState(uint256 snapshot) external returns (bool);
    function expectRevert(bytes calldata error) external;
}

/// @notice What a fuzzer and a stateful fuzzer need besides the contracts: cheatcodes, checks and dice.
abstract contract Base {
    struct Dice {
        uint256 seed;
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    error Broken(string rule);
    error Differs(string what, uint256 actual, uint256 expected);

    function check(bool holds, string memory rule) internal pure {
        if (!holds) revert Broken(rule);
    }

    function checkEqual(uint256 actual, uint256 expected, string memory what) internal pure {
        if (actual != expected) revert Differs(what, actual, expected);
    }

    function checkEqual(address actual, address expected, string memory what) internal pure {
        checkEqual(uint160(actual), uint160(expected), what);
    }

    /// @dev A fuzzer likes the ends of a range; a hash gives every outcome its due.
    function roll(Dice memory dice, uint256 sides) internal pure returns (uint256) {
        dice.seed = uint256(keccak256(abi.encode(dice.seed)));
        return dice.seed % sides;
    }

    /// @dev One in `chances`.
    function luck(Dice memory dice, uint256 chances) internal pure returns (bool) {
        return roll(dice, chances) == 0;
    }

    function within(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        return least + value % (most - least + 1);
    }
}
