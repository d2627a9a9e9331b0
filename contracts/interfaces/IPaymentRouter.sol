// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice The two sides between which every payment is split.
enum Role {
    Treasury,
    Partner
}

/// @notice The terms of one order. The server keeps them, the payer presents them, the id commits to them.
/// @dev An order of other terms has another id, so an amount, a token or a deadline cannot be changed under an id.
struct Order {
    /// @dev USDC or USDT. The bridged USDC.e is another token and is not accepted.
    address token;
    /// @dev In the token's smallest unit; both tokens have 6 decimals. Never zero.
    uint256 amount;
    /// @dev Unix seconds. The order can be paid in every block before this time and in none at or after it.
    uint64 expiresAt;
    /// @dev Makes two orders of equal terms two ids.
    bytes32 salt;
}

/// @notice An EIP-2612 permit of exactly the order's amount, signed by the payer for the router.
struct Permit {
    uint256 deadline;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// @notice A payment that its payer signed and somebody else sends: USDC by EIP-3009, USDT by Permit2.
struct SignedPayment {
    Order order;
    /// @dev Whose tokens are spent.
    address payer;
    /// @dev As for `payWithAuthorization` or `payWithPermit2`.
    bytes signature;
}

/// @title IPaymentRouter
/// @notice Takes payments of orders in stablecoins and splits each in two, in the transaction that brings it.
///
/// The router never holds a payer's money at rest. If a side cannot receive (a block list), its share is held for that
/// side alone until `release`, and the payment still succeeds.
///
/// Only tokens that deliver exactly what is sent are safe here: the `Paid` event states what left the payer. USDC and
/// USDT do, and the accepted pair is immutable, so that no owner can ever add one that does not.
interface IPaymentRouter {
    /* EVENTS */

    /// @notice An order was paid. The only payment event.
    /// @param orderId The id of the order, see `orderId`.
    /// @param payer The account whose tokens were spent; the order's deposit address when a plain transfer was collected.
    /// @param token The token paid; when collected it can be another than the order's.
    /// @param amount What left the payer, in the token's smallest unit; when collected it can be any, also after the order's
    /// time, and more than once for an order.
    /// @param partnerShare The partner's part of `amount`: half of it, rounded down. The rest is the treasury's.
    /// @param seq Number of this payment, counted from 1 without a gap: a reader who sees 7 and 9 knows that 8 is missing.
    event Paid(
        bytes32 indexed orderId,
        address indexed payer,
        address indexed token,
        uint256 amount,
        uint256 partnerShare,
        uint64 seq
    );

    /// @notice A payment of a batch was left out: nothing of it happened, and it can be tried again. Anybody can cause one.
    event PaymentSkipped(bytes32 indexed orderId, address indexed payer);

    /// @notice A token that is not accepted lay at an order's deposit address and went to the treasury.
    event Recovered(bytes32 indexed orderId, address indexed token, uint256 amount);

    /// @notice A share could not be delivered and lies in the router for its role.
    /// @param orderId The order; zero for the shares of a batch together.
    event Held(bytes32 indexed orderId, Role indexed role, address indexed token, uint256 amount);

    /// @notice What was held for a role was delivered to the role's present address.
    event Released(Role indexed role, address indexed token, address indexed to, uint256 amount);

    /// @notice The owner gave money of an order back.
    /// @param orderId The order whose payment goes back, in full or in part.
    /// @param to Who received it.
    event Refunded(bytes32 indexed orderId, address indexed to, address indexed token, uint256 amount);

    /// @notice The partner's address changed.
    event PartnerChanged(address indexed previousPartner, address indexed newPartner);

    /// @notice Tokens that nobody's payment brought were given to `to`.
    event Rescued(address indexed token, address indexed to, uint256 amount);

    /// @notice Payments stopped.
    event Paused(address account);

    /// @notice Payments were resumed.
    event Unpaused(address account);

    /* ERRORS */

    /// @notice The token is neither of the two accepted ones. Bridged USDC.e
    /// (0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174 on Polygon) is not USDC.
    error InvalidToken(address token, address usdc, address usdt);

    /// @notice Nothing of this token lies at the deposit address.
    error NothingToCollect(address deposit, address token);

    /// @notice An order, a refund or a rescue of nothing.
    error InvalidAmount(uint256 amount, uint256 minimum);

    /// @notice The order's time is over: `timestamp` is that of the block.
    error OrderExpired(uint256 timestamp, uint64 expiresAt);

    /// @notice The order has been paid before, by whomever.
    error OrderAlreadyPaid(bytes32 orderId);

    /// @notice Less arrived from the payer than the order asks for, or less is there than is owed to the sides.
    error InvalidReceipt(uint256 arrived, uint256 amount);

    /// @notice The token knows no EIP-3009 authorizations: pay with `pay`, `payWithPermit` or `payWithPermit2`.
    error NoAuthorizations(address token);

    /// @notice Payments are paused and must not be, or the other way round.
    error InvalidPause(bool paused, bool expected);

    /// @notice Nothing is held for this role in this token.
    error NothingHeld(Role role, address token);

    /// @notice Zero, the router, an accepted token or the other side cannot be a side of the split.
    error InvalidBeneficiary(Role role, address beneficiary);

    /// @notice The constructor was given one token twice, or an address without code.
    error InvalidTokenPair(address usdc, address usdt);

    /// @notice Without an owner a blocked partner could never be replaced: ownership is handed over, never dropped.
    error OwnershipIsNotRenounceable(address owner);

    /* PAYING */

    /// @notice Pays an order from the caller's allowance to the router.
    /// @param order The terms as the server issued them.
    function pay(Order calldata order) external;

    /// @notice Pays an order after using the caller's permit, in one transaction.
    /// @dev A permit that fails does not end the payment: somebody may have sent it ahead of this transaction, and then
    /// the allowance is there. Without an allowance the payment fails with the token's own error.
    /// @param order The terms as the server issued them.
    /// @param permit The caller's signature over a permit of `order.amount` to the router.
    function payWithPermit(Order calldata order, Permit calldata permit) external;

    /// @notice Pays an order with the payer's EIP-3009 authorization. Whoever sends it pays only for the gas.
    /// @dev The payer signs `ReceiveWithAuthorization(payer, router, order.amount, 0, order.expiresAt, nonce)` with the
    /// order's id as the nonce. The router alone can use it, and only for the order of that id, so neither the sender nor the
    /// server can turn it to anything else. USDC only.
    /// @param order The terms as the server issued them.
    /// @param payer Whose tokens are spent.
    /// @param signature The payer's, as USDC takes it: 65 bytes, or what a contract wallet accepts (ERC-1271).
    function payWithAuthorization(Order calldata order, address payer, bytes calldata signature) external;

    /// @notice Pays an order with the payer's Permit2 signature. Whoever sends it pays only for the gas.
    /// @dev The payer has allowed Permit2 to spend the token, and signs `PermitTransferFrom((order.token, order.amount),
    /// router, nonce, order.expiresAt)` with the order's id as the nonce. The same holds as above.
    /// @param order The terms as the server issued them.
    /// @param payer Whose tokens are spent.
    /// @param signature The payer's, as Permit2 takes it.
    function payWithPermit2(Order calldata order, address payer, bytes calldata signature) external;

    /// @notice Pays many orders with their payers' signatures: USDC by EIP-3009, USDT by Permit2. One that fails is left
    /// out with `PaymentSkipped`; calling it alone tells why.
    /// @dev Each signature may use 300,000 gas, or 63/64 of what is left when a transaction brings too little.
    function payMany(SignedPayment[] calldata payments) external;

    /* COLLECTING PLAIN TRANSFERS */

    /// @notice Settles everything that was sent to an order's deposit address. Open to all, at any time, again and again;
    /// not while paused.
    /// @dev Whatever lies there is settled: `Paid` says how much, and whoever reads it decides what it is worth. It does not
    /// spend the order: else its id could be burned for less than its price.
    /// @param id The order's id.
    /// @param token USDC or USDT, whichever lies there.
    function collect(bytes32 id, address token) external;

    /// @notice `collect` for many orders in one token; those with nothing at their address are passed over. One whose
    /// address the token has blocked makes the whole call fail: leave it out.
    function collectMany(bytes32[] calldata ids, address token) external;

    /// @notice Sends to the treasury what lies at an order's deposit address of a token that is not accepted, such as
    /// bridged USDC.e, so that it can be given back by hand. Open to all.
    function recover(bytes32 id, address token) external;

    /// @notice For the deposit contract that is just being created: what it has to send, and where to.
    function depositing() external view returns (address token, address to, uint256 amount);

    /* DELIVERING WHAT WAS HELD */

    /// @notice Delivers everything held for a role in a token to the role's present address. Open to all; works while paused.
    function release(address token, Role role) external;

    /* OWNER */

    /// @notice Names the account that receives the partner's shares from now on, held ones included.
    /// @dev Not zero, the router, an accepted token or the treasury.
    function setPartner(address newPartner) external;

    /// @notice Stops payments. Releasing and rescuing go on.
    function pause() external;

    /// @notice Resumes payments.
    function unpause() external;

    /// @notice Gives money of an order back, from the owner's own allowance to the router, and says so in an event: the
    /// books follow the event, nobody types a hash. Works while paused.
    /// @dev Only the owner: an event that anybody could cause by paying himself would take a citizen's ducats.
    /// @param id The order whose payment goes back, in full or in part.
    /// @param token USDC or USDT; the one that was paid, unless that one cannot be delivered.
    /// @param to Who receives it.
    /// @param amount In the token's smallest unit.
    function refund(bytes32 id, address token, address to, uint256 amount) external;

    /// @notice Gives to `to` what the router has of a token above what it holds for the two sides.
    /// @param token Any ERC-20, accepted or not.
    function rescue(address token, address to) external;

    /* READING */

    /// @notice The id of an order on this chain and this router:
    /// `keccak256(abi.encode(block.chainid, address(this), order))`.
    function orderId(Order calldata order) external view returns (bytes32);

    /// @notice Where an order can be paid by a plain transfer of USDC or USDT, from any wallet or exchange.
    function depositAddress(bytes32 id) external view returns (address);

    /// @notice Keccak-256 of the code that is created at deposit addresses: with it an address is computed without a node
    /// (CREATE2: deployer the router, salt the order's id).
    function depositCodeHash() external view returns (bytes32);

    /// @notice Whether the order of this id has been paid.
    function paid(bytes32 id) external view returns (bool);

    /// @notice What is held for a role, in the token's smallest unit.
    function held(address token, Role role) external view returns (uint256);

    /// @notice How many payments there have been; also the `seq` of the latest.
    function seq() external view returns (uint64);

    /// @notice Whether payments are stopped.
    function paused() external view returns (bool);

    /// @notice Receives the larger half; an odd unit goes here. Immutable.
    function treasury() external view returns (address);

    /// @notice Receives the smaller half.
    function partner() external view returns (address);

    /// @notice The one USDC that is accepted. Immutable.
    function usdc() external view returns (address);

    /// @notice The one USDT that is accepted. Immutable.
    function usdt() external view returns (address);
}
