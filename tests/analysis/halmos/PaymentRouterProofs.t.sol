// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PaymentRouter} from "contracts/PaymentRouter.sol";
import {Order, Role} from "contracts/interfaces/IPaymentRouter.sol";
import {Stablecoin} from "contracts/mocks/Stablecoin.sol";

/// @dev The cheatcodes that are used, of those that halmos knows.
interface Vm {
    function prank(address sender) external;
    function assume(bool condition) external;
}

/// @title What holds for every caller, every order and every amount, not only for those that a test thought of
/// @dev Run by halmos: arguments are symbols. A proof that fails comes with the values that break it.
contract PaymentRouterProofs {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    address private constant OWNER = address(0x0A);
    address private constant TREASURY = address(0x0B);
    address private constant PARTNER = address(0x0C);

    Stablecoin private _usdc;
    Stablecoin private _usdt;
    PaymentRouter private _router;

    function setUp() public {
        _usdc = new Stablecoin("USD Coin", "USDC");
        _usdt = new Stablecoin("USDT0", "USDT0");
        _router = new PaymentRouter(address(_usdc), address(_usdt), TREASURY, PARTNER, OWNER);
    }

    /* OWNER ONLY */

    function check_onlyTheOwnerNamesThePartner(address caller, address partner) public {
        _onlyForOwner(caller, abi.encodeCall(_router.setPartner, (partner)));
        assert(caller == OWNER || _router.partner() == PARTNER);
    }

    function check_onlyTheOwnerPauses(address caller) public {
        _onlyForOwner(caller, abi.encodeCall(_router.pause, ()));
        assert(caller == OWNER || !_router.paused());
    }

    function check_onlyTheOwnerUnpauses(address caller) public {
        VM.prank(OWNER);
        _router.pause();
        _onlyForOwner(caller, abi.encodeCall(_router.unpause, ()));
        assert(caller == OWNER || _router.paused());
    }

    function check_onlyTheOwnerRescues(address caller, address to, uint256 amount) public {
        _usdc.mint(address(_router), amount);
        _onlyForOwner(caller, abi.encodeCall(_router.rescue, (address(_usdc), to)));
        assert(caller == OWNER || _usdc.balanceOf(address(_router)) == amount);
    }

    function check_onlyTheOwnerRefunds(address caller, bytes32 id, address to, uint256 amount) public {
        _fund(caller, amount);
        _onlyForOwner(caller, abi.encodeCall(_router.refund, (id, address(_usdc), to, amount)));
    }

    function check_onlyTheOwnerHandsOver(address caller, address next) public {
        _onlyForOwner(caller, abi.encodeCall(_router.transferOwnership, (next)));
        assert(_router.owner() == OWNER);
    }

    function check_nobodyRenounces(address caller) public {
        VM.prank(caller);
        (bool done,) = address(_router).call(abi.encodeCall(_router.renounceOwnership, ()));
        assert(!done);
    }

    function _onlyForOwner(address caller, bytes memory call) private {
        VM.prank(caller);
        (bool done,) = address(_router).call(call);
        assert(!done || caller == OWNER);
    }

    /* PAID ONCE */

    function check_anOrderIsPaidOnce(address first, address second, uint256 amount, uint64 expiresAt, bytes32 salt)
        public
    {
        Order memory order = Order(address(_usdc), amount, expiresAt, salt);
        _fund(first, amount);
        bool paid = _pay(first, order);
        assert(_router.paid(_router.orderId(order)) == paid);

        _fund(second, amount);
        assert(!(_pay(second, order) && paid));
        assert(_router.seq() <= 1);
    }

    /// @dev The other token would work: the payer has it and has allowed it.
    function check_noOtherTokenIsTaken(address payer, uint256 amount, uint64 expiresAt, bytes32 salt) public {
        Stablecoin other = new Stablecoin("USD Coin (PoS)", "USDC.e");
        _fundWith(other, payer, amount);
        assert(!_pay(payer, Order(address(other), amount, expiresAt, salt)));
    }

    function check_nothingIsPaidLate(address payer, uint256 amount, uint64 expiresAt) public {
        _fund(payer, amount);
        bool paid = _pay(payer, Order(address(_usdc), amount, expiresAt, 0));
        assert(!paid || block.timestamp < expiresAt);
    }

    function check_nothingIsPaidWhilePaused(address payer, uint256 amount, uint64 expiresAt) public {
        _fund(payer, amount);
        VM.prank(OWNER);
        _router.pause();
        assert(!_pay(payer, Order(address(_usdc), amount, expiresAt, 0)));
    }

    /* NOTHING IS MADE, NOTHING IS LOST */

    function check_whatThePayerLosesTheSidesHave(uint256 amount, bool treasuryBlocked, bool partnerBlocked) public {
        address payer = address(0x0D);
        _fund(payer, amount);
        _usdc.setBlocked(TREASURY, treasuryBlocked);
        _usdc.setBlocked(PARTNER, partnerBlocked);

        bool paid = _pay(payer, Order(address(_usdc), amount, type(uint64).max, 0));

        assert(paid == (amount > 0));
        uint256 partners = amount / 2;
        uint256 heldForTreasury = _router.held(address(_usdc), Role.Treasury);
        uint256 heldForPartner = _router.held(address(_usdc), Role.Partner);
        assert(_usdc.balanceOf(payer) == 0);
        assert(_usdc.balanceOf(TREASURY) + heldForTreasury == amount - partners);
        assert(_usdc.balanceOf(PARTNER) + heldForPartner == partners);
        assert(_usdc.balanceOf(address(_router)) == heldForTreasury + heldForPartner);
        assert(treasuryBlocked || heldForTreasury == 0);
        assert(partnerBlocked || heldForPartner == 0);
    }

    function check_whatIsHeldIsReleasedToItsSideAlone(uint256 amount, address caller) public {
        address payer = address(0x0D);
        VM.assume(amount > 1);
        _fund(payer, amount);
        _usdc.setBlocked(PARTNER, true);
        _pay(payer, Order(address(_usdc), amount, type(uint64).max, 0));
        _usdc.setBlocked(PARTNER, false);

        VM.prank(caller);
        _router.release(address(_usdc), Role.Partner);

        assert(_usdc.balanceOf(PARTNER) == amount / 2);
        assert(_usdc.balanceOf(address(_router)) == 0);
        assert(_router.held(address(_usdc), Role.Partner) == 0);
    }

    function check_rescueLeavesWhatIsHeld(uint256 amount, uint256 stray) public {
        address payer = address(0x0D);
        VM.assume(amount > 1 && amount < 2 ** 128 && stray > 0 && stray < 2 ** 128);
        _fund(payer, amount);
        _usdc.setBlocked(PARTNER, true);
        _pay(payer, Order(address(_usdc), amount, type(uint64).max, 0));
        _usdc.mint(address(_router), stray);

        VM.prank(OWNER);
        _router.rescue(address(_usdc), address(0x0E));

        assert(_usdc.balanceOf(address(0x0E)) == stray);
        assert(_usdc.balanceOf(address(_router)) == _router.held(address(_usdc), Role.Partner));
    }

    function _fund(address account, uint256 amount) private {
        _fundWith(_usdc, account, amount);
    }

    function _fundWith(Stablecoin token, address account, uint256 amount) private {
        VM.assume(account != address(0) && account != address(_router));
        VM.assume(account != TREASURY && account != PARTNER);
        VM.assume(amount < 2 ** 128); // more than there are dollars
        token.mint(account, amount);
        VM.prank(account);
        token.approve(address(_router), type(uint256).max);
    }

    function _pay(address payer, Order memory order) private returns (bool done) {
        VM.prank(payer);
        (done,) = address(_router).call(abi.encodeCall(_router.pay, (order)));
    }
}
