// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @notice A payer whose code attacks the relayer: it accepts every signature, but not from its victim.
/// @dev Its state lies in the account itself, so that an EIP-7702 account can delegate to it as well.
contract HostileWallet is IERC1271 {
    enum Manner {
        Honest,
        RevertsWithPayload,
        BurnsAll,
        BurnsAmount,
        BurnsMemory,
        InvalidOpcode,
        ReturnsMany,
        RevertsWithMany,
        TrueToSimulation,
        BurnsWhenShort,
        EveryOtherBlock
    }

    Manner public manner;

    /// @dev Whose transactions it attacks; nobody is everybody.
    address public victim;

    /// @dev How much gas or how many bytes, as the manner wants it.
    uint256 public amount;

    bytes public payload;

    function configure(Manner manner_, address victim_, uint256 amount_, bytes calldata payload_) external {
        (manner, victim, amount, payload) = (manner_, victim_, amount_, payload_);
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        // solhint-disable-next-line avoid-tx-origin
        if (victim == address(0) || victim == tx.origin) _attack();
        return IERC1271.isValidSignature.selector;
    }

    function _attack() private view {
        uint256 size = amount;
        if (manner == Manner.RevertsWithPayload) _revertWith(payload);
        if (manner == Manner.BurnsAll) while (true) {}
        if (manner == Manner.BurnsAmount) _burn(size);
        if (manner == Manner.BurnsMemory) _burnMemory();
        if (manner == Manner.InvalidOpcode) assembly ("memory-safe") { invalid() }
        if (manner == Manner.ReturnsMany) assembly ("memory-safe") { return(0, size) }
        if (manner == Manner.RevertsWithMany) assembly ("memory-safe") { revert(0, size) }
        if (manner == Manner.TrueToSimulation) require(tx.gasprice == 0, "only in a simulation");
        if (manner == Manner.BurnsWhenShort && gasleft() < size) while (true) {}
        if (manner == Manner.EveryOtherBlock) require(block.number % 2 == 0, "not in this block");
    }

    function _revertWith(bytes memory data) private pure {
        assembly ("memory-safe") {
            revert(add(data, 32), mload(data))
        }
    }

    function _burn(uint256 gas) private view {
        uint256 end = gasleft() > gas ? gasleft() - gas : 0;
        while (gasleft() > end) {}
    }

    /// @dev Twice as much memory each time, until there is no gas for it: the frame ends without a word.
    function _burnMemory() private pure {
        for (uint256 at = 1 << 12; true; at <<= 1) {
            assembly ("memory-safe") {
                mstore(at, 1)
            }
        }
    }
}
