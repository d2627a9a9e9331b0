// SPDX-License-Identifier: MIT
pragma solidity 0.6.6;

import "@maticnetwork/pos-portal/flat/UChildERC20.sol";

/// @title A stand-in for Tether on Polygon (USDT0), whose source no package carries
/// @notice Polygon's own bridged ERC-20 (names, roles, meta-transactions, EIP-712 domain salted with the chain id) plus
/// what the live token has beyond it: EIP-2612 permits, a block list, and an owner who mints.
/// @dev Where the live token surprises, this one does the same: a permit's deadline of 0 never expires, permits share
/// their nonces with meta-transactions, and a blocked address can still receive. `nonces(address)` is the base's own
/// mapping, made public by the build.
contract USDT0 is UChildERC20 {
    bytes32 public constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    mapping(address => bool) public isBlocked;

    event BlockPlaced(address indexed user);
    event BlockReleased(address indexed user);

    function owner() external view returns (address) {
        return getRoleMember(DEFAULT_ADMIN_ROLE, 0);
    }

    function mint(address to, uint256 amount) external only(DEFAULT_ADMIN_ROLE) {
        _mint(to, amount);
    }

    function addToBlockedList(address user) external only(DEFAULT_ADMIN_ROLE) {
        isBlocked[user] = true;
        emit BlockPlaced(user);
    }

    function removeFromBlockedList(address user) external only(DEFAULT_ADMIN_ROLE) {
        isBlocked[user] = false;
        emit BlockReleased(user);
    }

    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return getDomainSeperator();
    }

    function permit(address holder, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        require(deadline == 0 || block.timestamp <= deadline, "USDT0: permit is expired");
        bytes32 structHash =
            keccak256(abi.encode(PERMIT_TYPEHASH, holder, spender, value, nonces[holder], deadline));
        nonces[holder] = nonces[holder].add(1);
        address signer = ecrecover(toTypedMessageHash(structHash), v, r, s);
        require(signer != address(0) && signer == holder, "USDT0: invalid permit signature");
        _approve(holder, spender, value);
    }

    function _beforeTokenTransfer(address from, address to, uint256 amount) internal override {
        super._beforeTokenTransfer(from, to, amount);
        require(!isBlocked[from] && !isBlocked[_msgSender()], "USDT0: sender is blocked");
    }
}
