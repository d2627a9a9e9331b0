// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Returns nothing at all from its transfers, as USDT does on Ethereum.
contract NoReturnValueToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    mapping(address account => bool) public blocked;

    function mint(address to, uint256 value) external {
        balanceOf[to] += value;
    }

    function setBlocked(address account, bool value) external {
        blocked[account] = value;
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
    }

    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        allowance[from][msg.sender] -= value;
        _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        require(!blocked[from] && !blocked[to], "blocked");
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}
