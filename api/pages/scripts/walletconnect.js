// Speaks to a wallet on another device through WalletConnect's relay. The client, which is large, is loaded on first use.

/**
 * @typedef {import("./pay.js").Provider} Provider
 * @typedef {{projectId: string, relayUrl: string, chainId: number, name: string, url: string}} Options
 * @typedef {{uri: string, qr: SVGSVGElement, link: string}} Invitation what a wallet scans, or a phone opens
 */

const METHODS = ["eth_sendTransaction", "eth_signTypedData_v4", "wallet_sendCalls", "wallet_getCapabilities", "wallet_getCallsStatus"];
const [REJECTED, UNAUTHORIZED, UNSUPPORTED, NO_RELAY, WRONG_CHAIN, UNKNOWN_CHAIN, EXPIRED] = [4001, 4100, 4200, 4900, 4901, 4902, 8000];
const REJECTED_BY_WALLETCONNECT = [5000, 5001, 5002, 5003];
const ENDED_BY_WALLETCONNECT = 6000;
const REMEMBERED = "walletconnect"; // the topic of the last session
const INVITATIONS = 3; // each is good for five minutes
const RELAY_WITHIN_MS = 12_000; // the client gives up after fifteen, and then does worse

/** @type {Promise<{client: any, encode: any}> | undefined} */
let started;

/**
 * Invites a wallet, and waits until it has connected. `show` is called again when an invitation has run out.
 * Rejects with a code: 4001 declined, 4900 no relay, 4901 the wallet is not on this chain, 8000 nobody came.
 * @param {Options} options
 * @param {(invitation: Invitation) => void} show
 * @returns {Promise<Provider>}
 */
export async function pair(options, show) {
  const { client, encode } = await start(options);
  const chain = { chains: [`eip155:${options.chainId}`], methods: METHODS, events: ["accountsChanged", "chainChanged"] };
  for (let left = INVITATIONS; ; left--) {
    const { uri, approval } = await reached(client, client.connect({ optionalNamespaces: { eip155: chain } }));
    show({ uri, qr: draw(encode(uri, { border: 4 })), link: `metamask://wc?uri=${encodeURIComponent(uri)}` });
    try {
      const { topic } = await approval();
      if (!accounts(client, topic, options.chainId).length) {
        client.disconnect({ topic, reason: { code: ENDED_BY_WALLETCONNECT, message: "No account on the chain." } }).catch(() => {});
        throw fault(WRONG_CHAIN, "The wallet shares no account on this chain.");
      }
      localStorage.setItem(REMEMBERED, topic);
      return provider(client, topic, options.chainId);
    } catch (error) {
      // Of a timeout the client keeps a rejection of its own, which nobody would handle. Of the rest, such as a bare object
      // when somebody declines, it keeps nothing, and whoever asked again would start the clock anew.
      if (error instanceof Error) approval().catch(() => {});
      if (plain(error).code !== EXPIRED || left === 1) throw plain(error);
    }
  }
}

/**
 * The wallet that was connected when the page was closed, if it still is. Loads nothing where there never was one.
 * @param {Options} options
 * @returns {Promise<Provider | null>}
 */
export async function resume(options) {
  const topic = localStorage.getItem(REMEMBERED);
  if (!topic) return null;
  const { client } = await start(options);
  return accounts(client, topic, options.chainId).length ? provider(client, topic, options.chainId) : null;
}

/** @param {Options} options */
function start({ projectId, relayUrl, name, url }) {
  started ??= (async () => {
    const { SignClient, encode } = await import("./walletconnect-2.21.8.js");
    const metadata = { name, description: name, url, icons: [] };
    const client = await SignClient.init({ projectId, relayUrl, metadata, telemetryEnabled: false, logger: "silent" });
    // Reown tells wallets through a hidden frame where a request comes from. Beside another relay it would not answer,
    // and every request would wait five seconds for it.
    if (!new URL(relayUrl).hostname.endsWith(".walletconnect.org")) client.core.verify.register = async () => "";
    return { client, encode };
  })();
  started.catch(() => { started = undefined; });
  return started;
}

/**
 * @param {any} client
 * @param {string} topic
 * @param {number} chainId
 * @returns {Provider}
 */
function provider(client, topic, chainId) {
  const gone = new Promise((_, reject) => {
    const end = (/** @type {any} */ event) => event.topic === topic && reject(fault(UNAUTHORIZED, "The wallet has ended the connection."));
    client.on("session_delete", end);
    client.on("session_expire", end);
  });
  gone.catch(() => {});

  let over = false; // known from a request that ended with the session, before the client has put the session away
  async function ask(/** @type {string} */ method, /** @type {any} */ params) {
    const here = accounts(client, topic, chainId);
    if (over || !here.length) throw fault(UNAUTHORIZED, "The wallet has ended the connection.");
    if (method === "eth_requestAccounts" || method === "eth_accounts") return here;
    if (method === "eth_chainId") return `0x${chainId.toString(16)}`;
    if (method === "wallet_switchEthereumChain" && BigInt(params[0].chainId) === BigInt(chainId)) return null;
    if (method === "wallet_switchEthereumChain") throw fault(UNKNOWN_CHAIN, "The wallet was asked for another chain.");
    if (!METHODS.includes(method) || !client.session.get(topic).namespaces.eip155.methods.includes(method)) {
      throw fault(UNSUPPORTED, `The wallet does not answer ${method}.`);
    }
    // Before anything is sent: what is sent late could be signed after the page has said that it failed.
    if (!client.core.relayer.connected) await reached(client, client.core.relayer.transportOpen());
    return client.request({ topic, chainId: `eip155:${chainId}`, request: { method, params } });
  }
  return {
    request: ({ method, params = [] }) => Promise.race([gone, ask(method, params)]).catch((error) => {
      over ||= error?.code === ENDED_BY_WALLETCONNECT;
      throw plain(error);
    }),
  };
}

/** The accounts of a session on a chain; none when the session is over. */
function accounts(/** @type {any} */ client, /** @type {string} */ topic, /** @type {number} */ chainId) {
  const session = client.session.keys.includes(topic) ? client.session.get(topic) : null;
  if (!session || session.expiry * 1000 < Date.now()) return [];
  const prefix = `eip155:${chainId}:`;
  /** @type {string[]} */
  const all = session.namespaces.eip155?.accounts ?? [];
  return all.filter((account) => account.startsWith(prefix)).map((account) => account.slice(prefix.length));
}

/** @template T @param {any} client @param {Promise<T>} answer @returns {Promise<T>} */
async function reached({ core: { relayer } }, answer) {
  const late = new Promise((_, reject) => { setTimeout(reject, RELAY_WITHIN_MS); });
  try {
    return await Promise.race([answer.catch(() => late), /** @type {Promise<never>} */ (late)]);
  } catch {
    relayer.transportClose(); // else the client knocks at the relay many times a second, and never gets in again
    throw fault(NO_RELAY, "WalletConnect's relay does not answer.");
  }
}

/** Dark on white whatever the page's colours are, since not every camera reads the reverse. */
function draw(/** @type {{size: number, data: boolean[][]}} */ { size, data }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const modules = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join("");
  const attributes = { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": "QR code for your wallet", "shape-rendering": "crispEdges" };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  for (const [d, fill] of [[`M0 0h${size}v${size}h-${size}z`, "#fff"], [modules, "#000"]]) {
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", d);
    path.setAttribute("fill", fill);
    svg.append(path);
  }
  return svg;
}

const fault = (/** @type {number} */ code, /** @type {string} */ message) => Object.assign(new Error(message), { code });

/** An error with the code of EIP-1193; WalletConnect's are bare objects with codes of its own, or none. */
function plain(/** @type {any} */ error) {
  const message = String(error?.message ?? error);
  if (REJECTED_BY_WALLETCONNECT.includes(error?.code)) return fault(REJECTED, message);
  if (error?.code === ENDED_BY_WALLETCONNECT) return fault(UNAUTHORIZED, message);
  if (!error?.code && /expired/i.test(message)) return fault(EXPIRED, message);
  return Object.assign(new Error(message), { code: error?.code, data: error?.data });
}
