// The payment page: keeps what the server rendered fresh, and offers the wallets that there are.
import { refresh } from "./live.js";

/**
 * @typedef {{request(call: {method: string, params?: unknown[]}): Promise<any>}} Provider EIP-1193
 * @typedef {{name: string, icon?: string, provider: Provider}} Wallet
 * @typedef {{chainId: string, chainName: string}} Network as wallet_addEthereumChain wants it
 * @typedef {{order: string, events: string[], newest: number, seconds_left: number, network: Network, router: string,
 *   walletconnect: any}} Data
 */

const POLL_MS = 2000;
const CALM_POLL_MS = 10_000;
const CALM_AFTER_MS = 120_000;
const NEAR_MS = 180_000;
const LATE_MS = 120_000; // a payment of the last second is seen after the order has expired
const LEGACY_AFTER_MS = 300;

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const say = (/** @type {string} */ id, text = "") => { element(id).textContent = text; };
const phase = () => element("order").dataset.phase;
const isOpen = () => /open|part/.test(phase() ?? "");
const json = (/** @type {string} */ id) => JSON.parse(element(id).textContent ?? "");

/** @type {Data} */
const data = json("page");
/** @type {Record<string, any>} What the page says, in its reader's language. */
const words = json("words");
const deadline = Date.now() + data.seconds_left * 1000; // by the server's clock: this one may be wrong

let busy = false;
let sent = false; // from here; the server has not seen it yet
let stirred = Date.now();
let asking = false;
let again = false; // something happened while we asked
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
    const style = /** @type {any} */ (time.closest("#clock") ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
    time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang, style);
  }
}

// How the order stands

async function look() {
  if (await refresh(location.href)) stirred = Date.now();
  show();
}

const isFinal = () => /fulfilled|reversed|renewed/.test(phase() ?? "") || (phase() === "expired" && Date.now() > deadline + LATE_MS);

async function poll() {
  if (isFinal()) return;
  again = asking;
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  const reached = await look().then(() => true, () => false);
  element("lost").hidden = reached;
  asking = false;
  if (again) return poll();
  const calm = streaming || Date.now() - stirred > CALM_AFTER_MS;
  timer = setTimeout(poll, reached && calm ? CALM_POLL_MS : POLL_MS);
}

/** The stream says when to look; where there is none, the clock does. */
function follow() {
  if (isFinal()) return;
  const source = new EventSource(`${data.order}/events?last_event_id=${data.newest}`);
  source.onopen = () => { streaming = true; };
  source.onerror = () => { streaming = false; };
  for (const type of data.events) {
    source.addEventListener(type, async () => {
      await poll();
      if (isFinal()) source.close();
    });
  }
  timer = setTimeout(poll, POLL_MS);
}

function tick() {
  const left = Math.ceil((deadline - Date.now()) / 1000);
  if (!isOpen() || left * 1000 > NEAR_MS) return;
  element("clock").className = "near";
  const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  if (left === 0) void poll();
  say("clock", left > 0 ? words.left.replace("{time}", time) : words.over);
}

// Paying

/** @param {() => Promise<Provider> | Provider} choose the wallet */
async function pay(choose) {
  if (busy || sent) return;
  busy = true;
  stirred = Date.now();
  say("problem");
  show();
  try {
    const { payFrom, explain } = await import("./wallet.js");
    try {
      const { landed } = await payFrom(await choose(), { data, words, say, look });
      sent = Boolean(landed); // else it is with us, and the server says so
      say("step", landed && words.sent);
      landed?.catch(fail).then(poll);
    } catch (error) {
      fail(error);
    }
    function fail(/** @type {unknown} */ error) {
      sent = false;
      say("problem", explain(error, words));
      say("step");
      show();
    }
  } catch {
    say("problem", words.offline);
  }
  busy = false;
  show();
  void poll();
}

// The wallets, by the names they give themselves: text and nothing else

/** Finds the wallets of this browser (EIP-6963, then `window.ethereum`), and offers them as they are found. */
function discover() {
  /** @type {Map<string, HTMLElement>} Their buttons, which stay where they are: one may be under a finger already. */
  const found = new Map();
  const offer = (/** @type {string} */ id, /** @type {Wallet} */ wallet) => {
    const made = button(wallet);
    found.set(id, made);
    element("wallets").append(made);
    hint();
  };
  const hint = () => {
    for (const id of ["no-wallet", "open-metamask"]) element(id).hidden = found.size > 0;
  };
  addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = /** @type {CustomEvent} */ (event).detail ?? {};
    if (!info?.uuid || typeof provider?.request !== "function" || found.has(info.uuid)) return;
    found.get("")?.remove();
    found.delete("");
    offer(info.uuid, { name: String(info.name).slice(0, 40), icon: info.icon, provider });
  });
  dispatchEvent(new Event("eip6963:requestProvider"));
  const legacy = () => {
    const { ethereum } = /** @type {any} */ (window);
    if (!found.size && ethereum) offer("", { name: words.browser_wallet, provider: ethereum });
    hint();
  };
  setTimeout(legacy, LEGACY_AFTER_MS);
  addEventListener("ethereum#initialized", legacy, { once: true });
}

/** @param {Wallet} wallet */
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
  const clicked = /** @type {HTMLElement} */ (target);
  const { copy } = clicked.dataset;
  if (clicked.id === "print") print();
  if (clicked.id === "walletconnect") void pay(async () => (await import("./pairing.js")).invite(data.walletconnect));
  if (!copy) return;
  await navigator.clipboard.writeText(copy);
  clicked.textContent = words.copied;
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  stirred = Date.now();
  void poll();
});
setInterval(tick, 1000);
tick();
show();
if (!isFinal()) discover();
follow();
