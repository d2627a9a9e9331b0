const METHODS = ["eth_sendTransaction", "eth_signTypedData_v4", "wallet_sendCalls", "wallet_getCapabilities", "wallet_getCallsStatus"];
const [REJECTED, UNAUTHORIZED, UNSUPPORTED, NO_RELAY, WRONG_CHAIN, UNKNOWN_CHAIN, EXPIRED] = [4001, 4100, 4200, 4900, 4901, 4902, 8000];
const REJECTED_BY_WALLETCONNECT = [5000, 5001, 5002, 5003];
const ENDED_BY_WALLETCONNECT = 6000;
const REMEMBERED = "walletconnect";
const INVITATIONS = 3;
const RELAY_WITHIN_MS = 12_000;
let started;
export async function pair(options, show) {
    const { client, encode } = await start(options);
    const chain = { chains: [`eip155:${options.chainId}`], methods: METHODS, events: ["accountsChanged", "chainChanged"] };
    for (let left = INVITATIONS;; left--) {
        const { uri, approval } = await reached(client, client.connect({ optionalNamespaces: { eip155: chain } }));
        show({ uri, qr: draw(encode(uri, { border: 4 })), link: `metamask://wc?uri=${encodeURIComponent(uri)}` });
        try {
            const { topic } = await approval();
            if (!accounts(client, topic, options.chainId).length) {
                client.disconnect({ topic, reason: { code: ENDED_BY_WALLETCONNECT, message: "No account on the chain." } }).catch(() => { });
                throw fault(WRONG_CHAIN, "The wallet shares no account on this chain.");
            }
            localStorage.setItem(REMEMBERED, topic);
            return provider(client, topic, options.chainId);
        }
        catch (error) {
            if (error instanceof Error)
                approval().catch(() => { });
            if (plain(error).code !== EXPIRED || left === 1)
                throw plain(error);
        }
    }
}
export async function resume(options) {
    const topic = localStorage.getItem(REMEMBERED);
    if (!topic)
        return null;
    const { client } = await start(options);
    return accounts(client, topic, options.chainId).length ? provider(client, topic, options.chainId) : null;
}
function start({ projectId, relayUrl, name, url }) {
    started ??= (async () => {
        const { SignClient, encode } = await import("./walletconnect-2.21.8.js");
        const metadata = { name, description: name, url, icons: [] };
        const client = await SignClient.init({ projectId, relayUrl, metadata, telemetryEnabled: false, logger: "silent" });
        if (!new URL(relayUrl).hostname.endsWith(".walletconnect.org"))
            client.core.verify.register = async () => "";
        return { client, encode };
    })();
    started.catch(() => { started = undefined; });
    return started;
}
function provider(client, topic, chainId) {
    const gone = new Promise((_, reject) => {
        const end = (event) => event.topic === topic && reject(fault(UNAUTHORIZED, "The wallet has ended the connection."));
        client.on("session_delete", end);
        client.on("session_expire", end);
    });
    gone.catch(() => { });
    let over = false;
    async function ask(method, params) {
        const here = accounts(client, topic, chainId);
        if (over || !here.length)
            throw fault(UNAUTHORIZED, "The wallet has ended the connection.");
        if (method === "eth_requestAccounts" || method === "eth_accounts")
            return here;
        if (method === "eth_chainId")
            return `0x${chainId.toString(16)}`;
        if (method === "wallet_switchEthereumChain" && BigInt(params[0].chainId) === BigInt(chainId))
            return null;
        if (method === "wallet_switchEthereumChain")
            throw fault(UNKNOWN_CHAIN, "The wallet was asked for another chain.");
        if (!METHODS.includes(method) || !client.session.get(topic).namespaces.eip155.methods.includes(method)) {
            throw fault(UNSUPPORTED, `The wallet does not answer ${method}.`);
        }
        if (!client.core.relayer.connected)
            await reached(client, client.core.relayer.transportOpen());
        return client.request({ topic, chainId: `eip155:${chainId}`, request: { method, params } });
    }
    return {
        request: ({ method, params = [] }) => Promise.race([gone, ask(method, params)]).catch((error) => {
            over ||= error?.code === ENDED_BY_WALLETCONNECT;
            throw plain(error);
        }),
    };
}
function accounts(client, topic, chainId) {
    const session = client.session.keys.includes(topic) ? client.session.get(topic) : null;
    if (!session || session.expiry * 1000 < Date.now())
        return [];
    const prefix = `eip155:${chainId}:`;
    const all = session.namespaces.eip155?.accounts ?? [];
    return all.filter((account) => account.startsWith(prefix)).map((account) => account.slice(prefix.length));
}
async function reached({ core: { relayer } }, answer) {
    const late = new Promise((_, reject) => { setTimeout(reject, RELAY_WITHIN_MS); });
    try {
        return await Promise.race([answer.catch(() => late), (late)]);
    }
    catch {
        relayer.transportClose();
        throw fault(NO_RELAY, "WalletConnect's relay does not answer.");
    }
}
function draw({ size, data }) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const modules = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join("");
    const attributes = { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": "QR code for your wallet", "shape-rendering": "crispEdges" };
    for (const [name, value] of Object.entries(attributes))
        svg.setAttribute(name, value);
    for (const [d, fill] of [[`M0 0h${size}v${size}h-${size}z`, "#fff"], [modules, "#000"]]) {
        const path = document.createElementNS(svg.namespaceURI, "path");
        path.setAttribute("d", d);
        path.setAttribute("fill", fill);
        svg.append(path);
    }
    return svg;
}
const fault = (code, message) => Object.assign(new Error(message), { code });
function plain(error) {
    const message = String(error?.message ?? error);
    if (REJECTED_BY_WALLETCONNECT.includes(error?.code))
        return fault(REJECTED, message);
    if (error?.code === ENDED_BY_WALLETCONNECT)
        return fault(UNAUTHORIZED, message);
    if (!error?.code && /expired/i.test(message))
        return fault(EXPIRED, message);
    return Object.assign(new Error(message), { code: error?.code, data: error?.data });
}
