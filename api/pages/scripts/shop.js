// The page that asks what to buy: shows what an amount brings while it is typed, and prices as the rate moves.
import { refresh } from "./live.js";

const RATE = "/api/economics/cascade/events";
const TYPING_MS = 300;

const dollars = /** @type {HTMLInputElement | null} */ (document.getElementById("usd"));
let timer = 0;
let tick = "";

function look() {
  const address = new URL(location.href);
  if (dollars?.value) address.searchParams.set("usd", dollars.value);
  refresh(address.href).catch(() => {}); // what stands there stays good: the order itself has the price
}

dollars?.addEventListener("input", () => {
  const own = /** @type {HTMLInputElement | null} */ (document.querySelector('[name=package][value=own]'));
  if (own) own.checked = true;
  clearTimeout(timer);
  timer = setTimeout(look, TYPING_MS);
});
new EventSource(RATE).addEventListener("cascade", ({ data }) => {
  const now = JSON.parse(data).tick;
  if (tick && now !== tick) look();
  tick = now;
});
