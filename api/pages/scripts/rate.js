// The page of the rate: shows the city as it is told of, and has the server render the page again when the rate has moved.

/**
 * @typedef {{consciousness_level: string | null, tessere_coherence: string | null, recognition_per_hour: number | null,
 *   acceleration: number | null, newest_report: string | null, usd_per_ducat: string, tick: string | null}} City
 */

const EVENTS = "/api/economics/cascade/events";
const PARTS = ["now", "course-words", "reasons"];
const SPREAD_MS = 1500; // all who look on hear of a new rate at the same moment
const AGAIN_MS = 5000;

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const pause = (/** @type {number} */ ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const shown = () => element("now").dataset.tick ?? "";

let told = shown();
let following = false;

// The city

/** As the server writes amounts in this language: at most two decimals, thousands separated, also where few are. */
const written = /** @type {any} */ ({ maximumFractionDigits: 2, useGrouping: "always" });
const { lang } = document.documentElement;
const plain = new Intl.NumberFormat(lang, written);
const signed = new Intl.NumberFormat(lang, { ...written, signDisplay: "exceptZero" });
const time = new Intl.DateTimeFormat(lang, { timeZone: "UTC", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/**
 * @param {string} id
 * @param {string | number | null} value
 * @param {Intl.NumberFormat} [format]
 */
function show(id, value, format = plain) {
  element(id).textContent = value === null ? "–" : format.format(Number(value)).replace("-", "−");
}

/** @param {City} city */
function tell(city) {
  show("level", city.consciousness_level);
  show("coherence", city.tessere_coherence);
  show("recognition", city.recognition_per_hour);
  show("acceleration", city.acceleration, signed);
  element("silent").hidden = city.newest_report !== null;
  element("newest").hidden = city.newest_report === null;
  if (city.newest_report !== null) element("newest-time").textContent = time.format(new Date(city.newest_report));
}

function say(/** @type {boolean} */ live) {
  element("live").hidden = !live;
  element("lost").hidden = live;
}

function listen() {
  const source = new EventSource(EVENTS);
  source.addEventListener("open", () => say(true));
  source.addEventListener("cascade", (event) => {
    /** @type {City} */
    const city = JSON.parse(event.data);
    tell(city);
    told = city.tick ?? "";
    void follow();
  });
  source.addEventListener("error", () => {
    say(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS); // refused: it does not come back by itself
  });
}

// The rate: its words are written once, in the template

async function follow() {
  if (following) return;
  following = true;
  while (shown() < told && !document.hidden) {
    await pause(Math.random() * SPREAD_MS);
    await refresh().catch(() => pause(AGAIN_MS));
  }
  following = false;
}

async function refresh() {
  const response = await fetch(location.href, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(String(response.status));
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const before = element("now").dataset.rate;
  if (document.querySelector("picture")) {
    for (const id of PARTS) replace(id, fresh);
    for (const picture of fresh.querySelectorAll("picture")) redraw(picture);
  } else {
    for (const id of ["now", "past"]) replace(id, fresh);
  }
  document.title = fresh.title;
  if (element("now").dataset.rate === before) return;
  element("now").classList.add("moved");
  element("announcement").textContent = element("price").textContent;
}

/**
 * @param {string} id
 * @param {Document} fresh
 */
function replace(id, fresh) {
  element(id).replaceWith(/** @type {HTMLElement} */ (fresh.getElementById(id)));
}

/**
 * Keeps the elements of a picture: they show the old one until the new one is there.
 * @param {HTMLPictureElement} fresh
 */
function redraw(fresh) {
  const { children } = element(fresh.id);
  [...fresh.children].forEach((made, n) => {
    for (const { name, value } of made.attributes) children[n].setAttribute(name, value);
  });
}

document.addEventListener("visibilitychange", () => { void follow(); });
listen();
