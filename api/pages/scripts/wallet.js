// Pays from a wallet (EIP-1193): what to sign or to send is prepared by the server, by the account at hand.

/**
 * @typedef {import("./pay.js").Provider} Provider
 * @typedef {import("./pay.js").Data} Data
 * @typedef {{to: string, data: string, value: string}} Call
 * @typedef {{token: string, method: string, typed_data: object | null, send_to: string | null, calls: Call[], obstacle: Obstacle | null}} Plan
 * @typedef {{reason: string, holdings?: {token: string, held_display: string, missing_display: string}[]}} Obstacle
 * @typedef {{data: Data, words: Record<string, any>, say: (id: string, text?: string) => void, look: () => Promise<void>}} Page
 */

const [REJECTED, ALREADY_ASKED] = [4001, -32002];
const CANNOT = [4200, -32601, -32004];
// Why a signature of an account does not count, although its own transactions do: a reason of the server's.
const UNSIGNED = /undeployed|delegated/;
const POLL_MS = 1500;
const SLOW_AFTER_MS = 60_000;

/** Something that the payer has to know: which of the page's words, and what is put into them. */
class Problem extends Error {
  /**
   * @param {string} name
   * @param {Record<string, string[]>} [values] joined by the words of their names
   */
  constructor(name, values = {}) {
    super(name);
    this.values = values;
  }
}

const [SIGN, BATCH] = [1, 2];
/** @type {WeakMap<Provider, any>} The last way to pay at which a wallet failed: at the next try the one after it is taken. */
const failed = new WeakMap();

/**
 * Pays the page's order. Resolves when the wallet has done all that is asked of it, with what it sent and may still fail on
 * chain; with nothing where it only signed.
 * @param {Provider} provider
 * @param {Page} page
 * @returns {Promise<{landed?: Promise<void>}>}
 */
export async function payFrom(provider, page) {
  const { data, words, say } = page;
  say("step", words.connect);
  const [account] = await provider.request({ method: "eth_requestAccounts" });
  if (!account) throw new Problem("locked");
  await select(provider, data.network);
  say("step", words.look);
  const plan = await planFor(account, page);
  const { method, typed_data, send_to, token } = plan;
  if (!typed_data || !send_to) return sendCalls(provider, page, account, plan);
  say("step", method === "permit" ? words.sign_permit : words.sign);
  const signature = await attempt(provider, words, SIGN, { method: "eth_signTypedData_v4", params: [account, JSON.stringify(typed_data)] });
  const answer = signature && await ask(send_to, page, { payer: account, signature, token }).catch((/** @type {Error} */ error) => {
    if (!UNSIGNED.test(error.message)) throw error;
  });
  if (!answer) return sendCalls(provider, page, account, plan);
  if (method !== "permit") return {};
  say("step", words.confirm_pay);
  return { landed: mined(provider, await send(provider, page, account, answer), page) };
}

/**
 * Asks a wallet in one of the ways to pay. Returns nothing where it cannot, or has failed so before; then the next way is taken.
 * @param {Provider} provider
 * @param {Record<string, any>} words
 * @param {number} way
 * @param {Parameters<Provider["request"]>[0]} call
 */
async function attempt(provider, words, way, call) {
  if (failed.get(provider) >= way) return;
  return provider.request(call).catch((/** @type {unknown} */ error) => {
    if (CANNOT.includes(code(error))) return;
    if (words[code(error)]) throw error;
    failed.set(provider, way);
    throw new Problem("next_way");
  });
}

/**
 * Approves, where that is needed, and pays: at once where the wallet can (EIP-5792), else one after the other.
 * @param {Provider} provider
 * @param {Page} page
 * @param {string} account
 * @param {Plan} plan
 */
async function sendCalls(provider, page, account, { calls }) {
  const { say, words, data: { network, router } } = page;
  // An approval for an address where no contract is would be a gift to whoever puts one there.
  if (!(await exists(provider, router))) throw new Problem("elsewhere");
  if (calls.length > 1 && (await batches(provider, network, account))) {
    say("step", words.confirm);
    const batch = { version: "2.0.0", chainId: network.chainId, from: account, atomicRequired: true, calls: calls.map(bare) };
    const sent = await attempt(provider, words, BATCH, { method: "wallet_sendCalls", params: [batch] });
    if (sent) return { landed: batched(provider, sent.id) };
  }
  if (calls.length > 1) {
    say("step", words.confirm_approve);
    await send(provider, page, account, calls[0]);
    say("step", words.approved);
    await until(async () => (await planFor(account, page, false)).calls.length === 1, () => say("step", words.slow));
  }
  say("step", calls.length > 1 ? words.confirm_pay : words.confirm);
  return { landed: mined(provider, await send(provider, page, account, calls[calls.length - 1]), page) };
}

/**
 * How this account pays the order best.
 * @param {string} account
 * @param {Page} page
 * @param {boolean} [strict] whether something in the way is a problem
 * @returns {Promise<Plan>}
 */
async function planFor(account, page, strict = true) {
  const plan = await ask(`${page.data.order}/wallet?payer=${account}`, page);
  if (strict && plan.obstacle) throw obstacle(plan.obstacle);
  return plan;
}

/** @param {Obstacle} told */
function obstacle({ reason, holdings = [] }) {
  if (reason !== "insufficient_balance" || !holdings.length) return new Problem(reason);
  const list = (/** @type {"held_display" | "missing_display"} */ key) => holdings.map((one) => `${one[key]} ${one.token}`);
  return new Problem("short", { held: list("held_display"), missing: list("missing_display") });
}

/**
 * Asks us, or gives us something.
 * @param {string} path
 * @param {Page} page
 * @param {object} [body]
 */
async function ask(path, page, body) {
  const given = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const lost = body ? "unsure" : "offline"; // what was given may have arrived
  const response = await fetch(path, { ...given, signal: AbortSignal.timeout(20_000) }).catch(() => {
    throw new Problem(lost);
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (answer.reason) throw obstacle(answer);
  if (response.status !== 409) throw new Problem(lost);
  await page.look().catch(() => {}); // then the next look does it
  throw new Problem("closed");
}

/**
 * Sends a call on the right network, and returns the transaction's hash.
 * @param {Provider} provider
 * @param {Page} page
 * @param {string} account
 * @param {Call} call
 * @returns {Promise<string>}
 */
async function send(provider, { data }, account, call) {
  await select(provider, data.network); // each time: people change networks between two steps
  return provider.request({ method: "eth_sendTransaction", params: [{ from: account, ...bare(call) }] });
}

/** @param {Call} call */
const bare = ({ to, data, value }) => ({ to, data, value });

/**
 * Makes the wallet use a network; adds the network when the wallet does not have it.
 * @param {Provider} provider
 * @param {import("./pay.js").Network} network
 */
async function select(provider, network) {
  const here = async () => BigInt(await provider.request({ method: "eth_chainId" })) === BigInt(network.chainId);
  const change = () => provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId: network.chainId }] });
  if (await here()) return;
  try {
    await change().catch(async (/** @type {unknown} */ error) => {
      if ([REJECTED, ALREADY_ASKED].includes(code(error))) throw error;
      // It should be 4902, but wallets disagree about how they say that they do not know a network.
      await provider.request({ method: "wallet_addEthereumChain", params: [network] });
      if (!(await here())) await change();
    });
  } catch (error) {
    if (code(error) === ALREADY_ASKED) throw error;
  }
  if (!(await here())) throw new Problem("4901");
}

/**
 * Whether a contract is there on the network that the wallet really talks to: a chain id is only a number, and a copy of
 * a chain, or a node that lags, has the same one. A wallet that reads nothing for pages has no network of its own.
 * @param {Provider} provider
 * @param {string} contract
 */
async function exists(provider, contract) {
  return provider.request({ method: "eth_getCode", params: [contract, "latest"] }).then(
    (found) => found?.length > 2,
    (error) => CANNOT.includes(code(error)),
  );
}

/**
 * Whether the wallet sends several calls as one.
 * @param {Provider} provider
 * @param {import("./pay.js").Network} network
 * @param {string} account
 */
async function batches(provider, { chainId }, account) {
  const can = await provider.request({ method: "wallet_getCapabilities", params: [account, [chainId]] }).catch(() => ({}));
  return can?.[chainId]?.atomic?.status === "supported";
}

/**
 * Waits for a transaction. A read that fails is tried again: the transaction is out, whatever a node says.
 * @param {Provider} provider
 * @param {string} hash
 * @param {Page} page
 */
async function mined(provider, hash, { say, words }) {
  const receipt = () => provider.request({ method: "eth_getTransactionReceipt", params: [hash] }).catch(() => null);
  const { status } = await until(receipt, () => say("step", words.slow));
  if (BigInt(status) !== 1n) throw new Problem("failed");
}

/**
 * Waits for a batch. Its numbers are HTTP's: 1xx is under way, 2xx done, the rest has failed.
 * @param {Provider} provider
 * @param {string} id
 */
async function batched(provider, id) {
  const over = async () => {
    const { status } = await provider.request({ method: "wallet_getCallsStatus", params: [id] }).catch(() => ({ status: 100 }));
    return status >= 200 && status;
  };
  if ((await until(over)) >= 300) throw new Problem("failed");
}

/**
 * Asks again until there is an answer, and returns that.
 * @param {() => Promise<any>} question
 * @param {() => void} [slow] called once when it takes long
 */
async function until(question, slow = () => {}) {
  const late = setTimeout(slow, SLOW_AFTER_MS);
  try {
    for (;;) {
      const answer = await question();
      if (answer) return answer;
      await new Promise((resume) => { setTimeout(resume, POLL_MS); });
    }
  } finally {
    clearTimeout(late);
  }
}

/**
 * What went wrong and what to do, in the page's words.
 * @param {any} error
 * @param {Record<string, any>} words
 * @returns {string}
 */
export function explain(error, words) {
  const said = String(error?.message);
  // Amounts come with English marks: words["."] is how the page's language writes one.
  if (error instanceof Problem) return (words[said] ?? words.closed).replace(/{(\w+)}/g, (/** @type {string} */ _, /** @type {string} */ name) => error.values[name].join(words[name]).replace(/[.,]/g, (/** @type {string} */ name) => words[name]));
  // What a wallet or its node says is for programmers.
  return /insufficient funds/i.test(said) ? words.no_pol : words[code(error)] ?? words.odd;
}

/** @param {any} error wallets nest the code that matters */
const code = (error) => error?.data?.originalError?.code ?? (/user (rej|den)/i.test(error?.message) ? REJECTED : error?.code);
