import { refresh } from "./live.js";
const POLL_MS = 2000;
const CALM_POLL_MS = 10_000;
const CALM_AFTER_MS = 120_000;
const NEAR_MS = 180_000;
const LATE_MS = 120_000;
const LEGACY_AFTER_MS = 300;
const element = (id) => (document.getElementById(id));
const say = (id, text = "") => { element(id).textContent = text; };
const phase = () => element("order").dataset.phase;
const isOpen = () => /open|part/.test(phase() ?? "");
const json = (id) => JSON.parse(element(id).textContent ?? "");
const data = json("page");
const words = json("words");
const deadline = Date.now() + data.seconds_left * 1000;
let busy = false;
let sent = false;
let stirred = Date.now();
let asking = false;
let again = false;
let streaming = false;
let timer = 0;
function show() {
    const open = isOpen();
    element("pay").hidden = !open || sent;
    element("pay").ariaBusy = String(busy);
    if (!open) {
        sent = false;
        say("step");
        say("problem");
    }
    document.querySelectorAll("[data-script]").forEach((part) => part.removeAttribute("hidden"));
    for (const time of document.querySelectorAll("time")) {
        const style = (time.closest("#clock") ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
        time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang, style);
    }
}
async function look() {
    if (await refresh(location.href))
        stirred = Date.now();
    show();
}
const isFinal = () => /fulfilled|reversed|renewed/.test(phase() ?? "") || (phase() === "expired" && Date.now() > deadline + LATE_MS);
async function poll() {
    if (isFinal())
        return;
    again = asking;
    if (asking)
        return;
    asking = true;
    clearTimeout(timer);
    const reached = await look().then(() => true, () => false);
    element("lost").hidden = reached;
    asking = false;
    if (again)
        return poll();
    const calm = streaming || Date.now() - stirred > CALM_AFTER_MS;
    timer = setTimeout(poll, reached && calm ? CALM_POLL_MS : POLL_MS);
}
function follow() {
    if (isFinal())
        return;
    const source = new EventSource(`${data.order}/events?last_event_id=${data.newest}`);
    source.onopen = () => { streaming = true; };
    source.onerror = () => { streaming = false; };
    for (const type of data.events) {
        source.addEventListener(type, async () => {
            await poll();
            if (isFinal())
                source.close();
        });
    }
    timer = setTimeout(poll, POLL_MS);
}
function tick() {
    const left = Math.ceil((deadline - Date.now()) / 1000);
    if (!isOpen() || left * 1000 > NEAR_MS)
        return;
    element("clock").className = "near";
    const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (left === 0)
        void poll();
    say("clock", left > 0 ? words.left.replace("{time}", time) : words.over);
}
async function pay(choose) {
    if (busy || sent)
        return;
    busy = true;
    stirred = Date.now();
    say("problem");
    show();
    try {
        const { payFrom, explain } = await import("./wallet.js");
        try {
            const { landed } = await payFrom(await choose(), { data, words, say, look });
            sent = Boolean(landed);
            say("step", landed && words.sent);
            landed?.catch(fail).then(poll);
        }
        catch (error) {
            fail(error);
        }
        function fail(error) {
            sent = false;
            say("problem", explain(error, words));
            say("step");
            show();
        }
    }
    catch {
        say("problem", words.offline);
    }
    busy = false;
    show();
    void poll();
}
function discover() {
    const found = new Map();
    const offer = (id, wallet) => {
        const made = button(wallet);
        found.set(id, made);
        element("wallets").append(made);
        hint();
    };
    const hint = () => {
        for (const id of ["no-wallet", "open-metamask"])
            element(id).hidden = found.size > 0;
    };
    addEventListener("eip6963:announceProvider", (event) => {
        const { info, provider } = (event).detail ?? {};
        if (!info?.uuid || typeof provider?.request !== "function" || found.has(info.uuid))
            return;
        found.get("")?.remove();
        found.delete("");
        offer(info.uuid, { name: String(info.name).slice(0, 40), icon: info.icon, provider });
    });
    dispatchEvent(new Event("eip6963:requestProvider"));
    const legacy = () => {
        const { ethereum } = (window);
        if (!found.size && ethereum)
            offer("", { name: words.browser_wallet, provider: ethereum });
        hint();
    };
    setTimeout(legacy, LEGACY_AFTER_MS);
    addEventListener("ethereum#initialized", legacy, { once: true });
}
function button({ name, icon, provider }) {
    const made = document.createElement("button");
    const text = document.createElement("span");
    const label = document.createElement("bdi");
    const [before, after] = words.pay_with.split("{name}");
    label.textContent = name;
    text.append(before, label, after);
    if (icon?.startsWith("data:image/")) {
        const image = new Image();
        image.src = icon;
        image.alt = "";
        made.append(image);
    }
    made.type = "button";
    made.append(text);
    made.onclick = () => pay(() => provider);
    return made;
}
document.addEventListener("click", async ({ target }) => {
    const clicked = (target);
    const { copy } = clicked.dataset;
    if (clicked.id === "print")
        print();
    if (clicked.id === "walletconnect")
        void pay(async () => (await import("./pairing.js")).invite(data.walletconnect));
    if (!copy)
        return;
    await navigator.clipboard.writeText(copy);
    clicked.textContent = words.copied;
});
document.addEventListener("visibilitychange", () => {
    if (document.hidden)
        return;
    stirred = Date.now();
    void poll();
});
setInterval(tick, 1000);
tick();
show();
if (!isFinal())
    discover();
follow();
