// The payment page: keeps what the server rendered fresh, and hands the prepared calls to a wallet.
import { Problem, allowance, balance, connect, discover, exists, explain, mined, select, send } from "./wallet.js";

/**
 * @typedef {import("./wallet.js").Wallet} Wallet
 * @typedef {import("./wallet.js").Provider} Provider
 * @typedef {{code: string, address: string, decimals: number}} Token
 * @typedef {{order_id: string, returned: boolean, seconds_left: number, network: import("./wallet.js").Network, token: Token, amount: string,
 *   calls: import("./wallet.js").Call[]}} Terms
 */

const POLL_MS = 2000;
const CALM_POLL_MS = 10_000;
const CALM_AFTER_MS = 180_000;
const NEAR_MS = 180_000;
const LATE_MS = 120_000; // a payment of the last second is seen after the order has expired

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const say = (/** @type {string} */ id, text = "") => { element(id).textContent = text; };
const status = () => element("order").dataset.status;

/** @type {Terms} */
const terms = JSON.parse(element("wallet").textContent ?? "");
const deadline = Date.now() + terms.seconds_left * 1000; // by the server's clock: this one may be wrong

let busy = false;
let sent = terms.returned; // from Stripe's page
let stirred = Date.now();
let asking = false;
let timer = 0;

function show() {
  element("pay").hidden = status() !== "open" || sent;
  element("wallets").setAttribute("aria-busy", String(busy));
  if (status() === "open") return;
  sent = false;
  say("step");
  say("problem");
}

// How the order stands

async function fetchOrder() {
  const response = await fetch(`/api/payments/orders/${terms.order_id}`, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

/** Takes over the page as the server renders it now: its words are written once, in the template. */
async function refresh() {
  const response = await fetch(location.href, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(String(response.status));
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const id of ["order", "status", "details"]) {
    element(id).replaceWith(/** @type {HTMLElement} */ (fresh.getElementById(id)));
  }
  document.title = fresh.title;
  stirred = Date.now();
  show();
}

/** What may change of a payment, as the template writes it. */
function mark(/** @type {any} */ payment) {
  return payment.transaction + (Number(payment.returned) ? `-${payment.returned}` : "");
}

function isFinal() {
  const late = Date.now() > deadline + LATE_MS && !terms.returned;
  return status() === "fulfilled" || status() === "reversed" || (status() === "expired" && late);
}

async function poll() {
  if (asking || isFinal()) return;
  asking = true;
  clearTimeout(timer);
  try {
    const order = await fetchOrder();
    const credit = order.credit === "in_review" ? [order.credit] : [];
    const version = [order.status, ...credit, ...order.payments.map(mark)].join(" ");
    if (version !== element("order").dataset.version) await refresh();
    element("lost").hidden = true;
  } catch {
    element("lost").hidden = false;
  }
  asking = false;
  timer = setTimeout(poll, Date.now() - stirred > CALM_AFTER_MS ? CALM_POLL_MS : POLL_MS);
}

function tick() {
  const left = Math.ceil((deadline - Date.now()) / 1000);
  if (status() !== "open" || left * 1000 > NEAR_MS) return;
  element("clock").className = "near";
  say("clock", left > 0 ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left at this price.` : "The time is over.");
}

// Paying

/** @param {Provider} provider */
async function pay(provider) {
  if (busy || sent) return;
  busy = true;
  stirred = Date.now();
  say("problem");
  show();
  try {
    say("step", "Connect this page in your wallet.");
    const account = await connect(provider);
    await select(provider, terms.network);
    await approveAndPay(provider, account);
  } catch (error) {
    sent = false;
    say("problem", explain(error));
    say("step");
  }
  busy = false;
  show();
}

/**
 * @param {Provider} provider
 * @param {string} account
 */
async function approveAndPay(provider, account) {
  const [approve, payment] = terms.calls;
  const { network, token } = terms;
  await mustBeOpen();
  await mustBeThisChain(provider, payment.to);
  await mustHaveEnough(provider, account);
  if (await allowance(provider, token.address, account, payment.to) < BigInt(terms.amount)) {
    say("step", `1/2 ${approve.label}: confirm in your wallet.`);
    const approval = await send(provider, network, account, approve);
    say("step", `1/2 Approval sent, waiting for ${network.chainName}.`);
    await mined(provider, approval, slow);
    await mustBeOpen();
  }
  say("step", `2/2 ${payment.label}: confirm in your wallet.`);
  const hash = await send(provider, network, account, payment);
  sent = true;
  show();
  say("step", `2/2 Payment sent, waiting for ${network.chainName}. You may close this page.`);
  void poll();
  await mined(provider, hash, slow);
  void poll();
}

function slow() {
  say("step", `${terms.network.chainName} is taking longer than usual. If you cancelled in your wallet, reload this page.`);
}

/** Another page or device may have paid meanwhile; a second payment would only burn the fee. */
async function mustBeOpen() {
  const order = await fetchOrder().catch(() => {
    throw new Problem("There is no connection to us at the moment, so nothing was paid. Try again shortly.");
  });
  if (order.status === "open") return;
  await refresh().catch(() => {}); // then the next poll does it
  throw new Problem("This order can no longer be paid.");
}

/**
 * An approval for an address where no contract is would be a gift to whoever puts one there.
 * @param {Provider} provider
 * @param {string} router
 */
async function mustBeThisChain(provider, router) {
  if (await exists(provider, router)) return;
  throw new Problem(`The payment contract is not on the ${terms.network.chainName} that your wallet is connected to. Check the`
    + " network's RPC address in your wallet's settings, then try again. Nothing was paid.");
}

/**
 * @param {Provider} provider
 * @param {string} account
 */
async function mustHaveEnough(provider, account) {
  const { code, address } = terms.token;
  const held = await balance(provider, address, account);
  const missing = BigInt(terms.amount) - held;
  if (missing <= 0n) return;
  const other = code === "USDC" ? " USDC.e is another token and does not count." : "";
  throw new Problem(`Your account holds ${display(held)} ${code} on ${terms.network.chainName}: ${display(missing)} ${code} are missing.`
    + ` Add them or choose another account, then try again.${other}`);
}

/** @param {bigint} units */
function display(units) {
  const one = 10n ** BigInt(terms.token.decimals);
  const fraction = String(units % one).padStart(terms.token.decimals, "0").replace(/0+$/, "");
  const whole = String(units / one).replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction ? `${whole}.${fraction.padEnd(2, "0")}` : whole;
}

// The wallets, by the names they give themselves: text and nothing else

/** @param {Wallet[]} wallets */
function offer(wallets) {
  element("no-wallet").hidden = wallets.length > 0;
  element("wallets").replaceChildren(...wallets.map(button));
}

/** @param {Wallet} wallet */
function button({ name, icon, provider }) {
  const made = document.createElement("button");
  const text = document.createElement("span");
  const label = document.createElement("bdi");
  label.textContent = name;
  text.append("Pay with ", label);
  if (icon?.startsWith("data:image/")) {
    const image = new Image();
    image.src = icon;
    image.alt = "";
    made.append(image);
  }
  made.type = "button";
  made.append(text);
  made.addEventListener("click", () => pay(provider));
  return made;
}

const until = /** @type {HTMLTimeElement} */ (document.querySelector("#clock time"));
until.textContent = new Date(until.dateTime).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  stirred = Date.now();
  void poll();
});
setInterval(tick, 1000);
tick();
show();
discover(offer);
void poll();
