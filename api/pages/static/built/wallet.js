const [REJECTED, ALREADY_ASKED] = [4001, -32002];
const CANNOT = [4200, -32601, -32004];
const UNSIGNED = /undeployed|delegated/;
const POLL_MS = 1500;
const SLOW_AFTER_MS = 60_000;
class Problem extends Error {
    constructor(name, values = {}) {
        super(name);
        this.values = values;
    }
}
const [SIGN, BATCH] = [1, 2];
const failed = new WeakMap();
export async function payFrom(provider, page) {
    const { data, words, say } = page;
    say("step", words.connect);
    const [account] = await provider.request({ method: "eth_requestAccounts" });
    if (!account)
        throw new Problem("locked");
    await select(provider, data.network);
    say("step", words.look);
    const plan = await planFor(account, page);
    const { method, typed_data, send_to, token } = plan;
    if (!typed_data || !send_to)
        return sendCalls(provider, page, account, plan);
    say("step", method === "permit" ? words.sign_permit : words.sign);
    const signature = await attempt(provider, words, SIGN, { method: "eth_signTypedData_v4", params: [account, JSON.stringify(typed_data)] });
    const answer = signature && await ask(send_to, page, { payer: account, signature, token }).catch((error) => {
        if (!UNSIGNED.test(error.message))
            throw error;
    });
    if (!answer)
        return sendCalls(provider, page, account, plan);
    if (method !== "permit")
        return {};
    say("step", words.confirm_pay);
    return { landed: mined(provider, await send(provider, page, account, answer), page) };
}
async function attempt(provider, words, way, call) {
    if (failed.get(provider) >= way)
        return;
    return provider.request(call).catch((error) => {
        if (CANNOT.includes(code(error)))
            return;
        if (words[code(error)])
            throw error;
        failed.set(provider, way);
        throw new Problem("next_way");
    });
}
async function sendCalls(provider, page, account, { calls }) {
    const { say, words, data: { network, router } } = page;
    if (!(await exists(provider, router)))
        throw new Problem("elsewhere");
    if (calls.length > 1 && (await batches(provider, network, account))) {
        say("step", words.confirm);
        const batch = { version: "2.0.0", chainId: network.chainId, from: account, atomicRequired: true, calls: calls.map(bare) };
        const sent = await attempt(provider, words, BATCH, { method: "wallet_sendCalls", params: [batch] });
        if (sent)
            return { landed: batched(provider, sent.id) };
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
async function planFor(account, page, strict = true) {
    const plan = await ask(`${page.data.order}/wallet?payer=${account}`, page);
    if (strict && plan.obstacle)
        throw obstacle(plan.obstacle);
    return plan;
}
function obstacle({ reason, holdings = [] }) {
    if (reason !== "insufficient_balance" || !holdings.length)
        return new Problem(reason);
    const list = (key) => holdings.map((one) => `${one[key]} ${one.token}`);
    return new Problem("short", { held: list("held_display"), missing: list("missing_display") });
}
async function ask(path, page, body) {
    const given = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const lost = body ? "unsure" : "offline";
    const response = await fetch(path, { ...given, signal: AbortSignal.timeout(20_000) }).catch(() => {
        throw new Problem(lost);
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok)
        return answer;
    if (answer.reason)
        throw obstacle(answer);
    if (response.status !== 409)
        throw new Problem(lost);
    await page.look().catch(() => { });
    throw new Problem("closed");
}
async function send(provider, { data }, account, call) {
    await select(provider, data.network);
    return provider.request({ method: "eth_sendTransaction", params: [{ from: account, ...bare(call) }] });
}
const bare = ({ to, data, value }) => ({ to, data, value });
async function select(provider, network) {
    const here = async () => BigInt(await provider.request({ method: "eth_chainId" })) === BigInt(network.chainId);
    const change = () => provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId: network.chainId }] });
    if (await here())
        return;
    try {
        await change().catch(async (error) => {
            if ([REJECTED, ALREADY_ASKED].includes(code(error)))
                throw error;
            await provider.request({ method: "wallet_addEthereumChain", params: [network] });
            if (!(await here()))
                await change();
        });
    }
    catch (error) {
        if (code(error) === ALREADY_ASKED)
            throw error;
    }
    if (!(await here()))
        throw new Problem("4901");
}
async function exists(provider, contract) {
    return provider.request({ method: "eth_getCode", params: [contract, "latest"] }).then((found) => found?.length > 2, (error) => CANNOT.includes(code(error)));
}
async function batches(provider, { chainId }, account) {
    const can = await provider.request({ method: "wallet_getCapabilities", params: [account, [chainId]] }).catch(() => ({}));
    return can?.[chainId]?.atomic?.status === "supported";
}
async function mined(provider, hash, { say, words }) {
    const receipt = () => provider.request({ method: "eth_getTransactionReceipt", params: [hash] }).catch(() => null);
    const { status } = await until(receipt, () => say("step", words.slow));
    if (BigInt(status) !== 1n)
        throw new Problem("failed");
}
async function batched(provider, id) {
    const over = async () => {
        const { status } = await provider.request({ method: "wallet_getCallsStatus", params: [id] }).catch(() => ({ status: 100 }));
        return status >= 200 && status;
    };
    if ((await until(over)) >= 300)
        throw new Problem("failed");
}
async function until(question, slow = () => { }) {
    const late = setTimeout(slow, SLOW_AFTER_MS);
    try {
        for (;;) {
            const answer = await question();
            if (answer)
                return answer;
            await new Promise((resume) => { setTimeout(resume, POLL_MS); });
        }
    }
    finally {
        clearTimeout(late);
    }
}
export function explain(error, words) {
    const said = String(error?.message);
    if (error instanceof Problem)
        return (words[said] ?? words.closed).replace(/{(\w+)}/g, (_, name) => error.values[name].join(words[name]).replace(/[.,]/g, (name) => words[name]));
    return /insufficient funds/i.test(said) ? words.no_pol : words[code(error)] ?? words.odd;
}
const code = (error) => error?.data?.originalError?.code ?? (/user (rej|den)/i.test(error?.message) ? REJECTED : error?.code);
