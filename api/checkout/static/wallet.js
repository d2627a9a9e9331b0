// Speaks to a payer's wallet (EIP-6963, EIP-1193). It knows ERC-20's two questions, and nothing of orders.

/**
 * @typedef {{request(call: {method: string, params?: unknown[]}): Promise<any>}} Provider
 * @typedef {{name: string, icon?: string, provider: Provider}} Wallet
 * @typedef {{chainId: string, chainName: string}} Network as wallet_addEthereumChain wants it
 * @typedef {{label: string, to: string, data: string, value: string}} Call
 */

const BALANCE_OF = "0x70a08231";
const ALLOWANCE = "0xdd62ed3e";
const [REJECTED, ALREADY_ASKED, UNAUTHORIZED] = [4001, -32002, 4100];
const LEGACY_AFTER_MS = 300;
const MINED_POLL_MS = 1000;
const SLOW_AFTER_MS = 60_000;

/** Something that the payer has to know, in a sentence with its next step. */
export class Problem extends Error {}

/**
 * Finds the wallets of this browser. Reports every time there are more, and once when there are none.
 * @param {(wallets: Wallet[]) => void} report
 */
export function discover(report) {
  /** @type {Map<string, Wallet>} */
  const found = new Map();
  const all = () => [...found.values()];
  addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = /** @type {CustomEvent} */ (event).detail ?? {};
    if (!info?.uuid || typeof provider?.request !== "function" || found.has(info.uuid)) return;
    found.set(info.uuid, { name: String(info.name).slice(0, 40), icon: info.icon, provider });
    report(all());
  });
  dispatchEvent(new Event("eip6963:requestProvider"));
  const legacy = () => {
    const { ethereum } = /** @type {any} */ (window);
    report(found.size || !ethereum ? all() : [{ name: "browser wallet", provider: ethereum }]);
  };
  setTimeout(legacy, LEGACY_AFTER_MS);
  addEventListener("ethereum#initialized", legacy, { once: true });
}

/**
 * The payer's account.
 * @param {Provider} provider
 * @returns {Promise<string>}
 */
export async function connect(provider) {
  const [account] = await provider.request({ method: "eth_requestAccounts" });
  if (!account) throw new Problem("Your wallet shares no account with this page. Unlock it and try again.");
  return account;
}

/**
 * Sends a call on the right network, and returns the transaction's hash.
 * @param {Provider} provider
 * @param {Network} network
 * @param {string} account
 * @param {Call} call
 * @returns {Promise<string>}
 */
export async function send(provider, network, account, { to, data, value }) {
  await select(provider, network); // each time: people change networks between two steps
  return provider.request({ method: "eth_sendTransaction", params: [{ from: account, to, data, value }] });
}

/**
 * Makes the wallet use a network; adds the network when the wallet does not have it.
 * @param {Provider} provider
 * @param {Network} network
 */
export async function select(provider, network) {
  const here = async () => BigInt(await provider.request({ method: "eth_chainId" })) === BigInt(network.chainId);
  const change = () => provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId: network.chainId }] });
  if (await here()) return;
  try {
    await change().catch(async (error) => {
      if ([REJECTED, ALREADY_ASKED].includes(code(error))) throw error;
      // It should be 4902, but wallets disagree about how they say that they do not know a network.
      await provider.request({ method: "wallet_addEthereumChain", params: [network] });
      if (!(await here())) await change();
    });
  } catch (error) {
    if (code(error) === ALREADY_ASKED) throw error;
  }
  if (!(await here())) {
    throw new Problem(`Your wallet is on another network. Choose ${network.chainName} in it, then try again. Nothing was paid.`);
  }
}

/**
 * @param {Provider} provider
 * @param {string} token
 * @param {string} account
 */
export const balance = (provider, token, account) => ask(provider, token, BALANCE_OF, account);

/**
 * What a spender may take.
 * @param {Provider} provider
 * @param {string} token
 * @param {string} account
 * @param {string} spender
 */
export const allowance = (provider, token, account, spender) => ask(provider, token, ALLOWANCE, account, spender);

/**
 * Whether a contract is there on the network that the wallet really talks to: a chain id is only a number, and a copy of
 * a chain, or a node that lags, has the same one.
 * @param {Provider} provider
 * @param {string} contract
 * @returns {Promise<boolean>}
 */
export async function exists(provider, contract) {
  const bytecode = await provider.request({ method: "eth_getCode", params: [contract, "latest"] });
  return typeof bytecode === "string" && bytecode.length > 2;
}

/**
 * Waits for a transaction. A read that fails is tried again: the transaction is out, whatever a node says.
 * @param {Provider} provider
 * @param {string} hash
 * @param {() => void} slow called once when it takes long
 */
export async function mined(provider, hash, slow) {
  const late = setTimeout(slow, SLOW_AFTER_MS);
  for (;;) {
    const receipt = await provider.request({ method: "eth_getTransactionReceipt", params: [hash] }).catch(() => null);
    if (receipt) {
      clearTimeout(late);
      if (BigInt(receipt.status) === 1n) return;
      throw new Problem("The transaction failed on chain, so nothing was paid except the network fee. Reload the page to see whether the order is still open.");
    }
    await new Promise((resume) => setTimeout(resume, MINED_POLL_MS));
  }
}

/**
 * What went wrong and what to do, in plain words.
 * @param {any} error
 * @returns {string}
 */
export function explain(error) {
  if (error instanceof Problem) return error.message;
  switch (code(error)) {
    case REJECTED: return "You declined in your wallet, so nothing was paid. To go on, press the button again.";
    case ALREADY_ASKED: return "Your wallet already has a request open. Open the wallet and answer it there.";
    case UNAUTHORIZED: return "Your wallet no longer shares this account. Choose an account in it, then try again.";
  }
  const said = String(error?.message ?? error).slice(0, 200);
  if (/insufficient funds/i.test(said)) return "Your account has too little POL for the network fee. Add a little POL, then try again.";
  return `Your wallet could not do this. It says: “${said}”. Look at its activity before you try again.`;
}

/**
 * @param {Provider} provider
 * @param {string} to
 * @param {string} selector
 * @param {string[]} addresses
 */
async function ask(provider, to, selector, ...addresses) {
  const data = selector + addresses.map((address) => address.slice(2).toLowerCase().padStart(64, "0")).join("");
  return BigInt(await provider.request({ method: "eth_call", params: [{ to, data }, "latest"] }));
}

/** @param {any} error wallets nest the code that matters */
const code = (error) => error?.data?.originalError?.code ?? error?.code;
