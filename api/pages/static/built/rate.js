const EVENTS = "/api/economics/cascade/events";
const PARTS = ["now", "course-words", "reasons"];
const SPREAD_MS = 1500;
const AGAIN_MS = 5000;
const element = (id) => (document.getElementById(id));
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const shown = () => element("now").dataset.tick ?? "";
let told = shown();
let following = false;
const written = ({ maximumFractionDigits: 2, useGrouping: "always" });
const { lang } = document.documentElement;
const plain = new Intl.NumberFormat(lang, written);
const signed = new Intl.NumberFormat(lang, { ...written, signDisplay: "exceptZero" });
const time = new Intl.DateTimeFormat(lang, { timeZone: "UTC", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
function show(id, value, format = plain) {
    element(id).textContent = value === null ? "–" : format.format(Number(value)).replace("-", "−");
}
function tell(city) {
    show("level", city.consciousness_level);
    show("coherence", city.tessere_coherence);
    show("recognition", city.recognition_per_hour);
    show("acceleration", city.acceleration, signed);
    element("silent").hidden = city.newest_report !== null;
    element("newest").hidden = city.newest_report === null;
    if (city.newest_report !== null)
        element("newest-time").textContent = time.format(new Date(city.newest_report));
}
function say(live) {
    element("live").hidden = !live;
    element("lost").hidden = live;
}
function listen() {
    const source = new EventSource(EVENTS);
    source.addEventListener("open", () => say(true));
    source.addEventListener("cascade", (event) => {
        const city = JSON.parse(event.data);
        tell(city);
        told = city.tick ?? "";
        void follow();
    });
    source.addEventListener("error", () => {
        say(false);
        if (source.readyState === EventSource.CLOSED)
            setTimeout(listen, AGAIN_MS);
    });
}
async function follow() {
    if (following)
        return;
    following = true;
    while (shown() < told && !document.hidden) {
        await pause(Math.random() * SPREAD_MS);
        await refresh().catch(() => pause(AGAIN_MS));
    }
    following = false;
}
async function refresh() {
    const response = await fetch(location.href, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok)
        throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const before = element("now").dataset.rate;
    if (document.querySelector("picture")) {
        for (const id of PARTS)
            replace(id, fresh);
        for (const picture of fresh.querySelectorAll("picture"))
            redraw(picture);
    }
    else {
        for (const id of ["now", "past"])
            replace(id, fresh);
    }
    document.title = fresh.title;
    if (element("now").dataset.rate === before)
        return;
    element("now").classList.add("moved");
    element("announcement").textContent = element("price").textContent;
}
function replace(id, fresh) {
    element(id).replaceWith((fresh.getElementById(id)));
}
function redraw(fresh) {
    const { children } = element(fresh.id);
    [...fresh.children].forEach((made, n) => {
        for (const { name, value } of made.attributes)
            children[n].setAttribute(name, value);
    });
}
document.addEventListener("visibilitychange", () => { void follow(); });
listen();
export {};
