import { refresh } from "./live.js";
const RATE = "/api/economics/cascade/events";
const TYPING_MS = 300;
const dollars = (document.getElementById("usd"));
let timer = 0;
let tick = "";
function look() {
    const address = new URL(location.href);
    if (dollars?.value)
        address.searchParams.set("usd", dollars.value);
    refresh(address.href).catch(() => { });
}
dollars?.addEventListener("input", () => {
    const own = (document.querySelector('[name=package][value=own]'));
    if (own)
        own.checked = true;
    clearTimeout(timer);
    timer = setTimeout(look, TYPING_MS);
});
new EventSource(RATE).addEventListener("cascade", ({ data }) => {
    const now = JSON.parse(data).tick;
    if (tick && now !== tick)
        look();
    tick = now;
});
