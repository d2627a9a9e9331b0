// Takes over the parts of a page that change, as the server renders them now: its words are written once, in the templates.

const parts = () => document.querySelectorAll("[data-live]");
const rendered = new Map([...parts()].map((part) => [part.id, part.outerHTML]));

/**
 * Looks at the page anew, and returns whether anything has changed.
 * @param {string} address
 * @returns {Promise<boolean>}
 */
export async function refresh(address) {
  const response = await fetch(address, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(String(response.status));
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  let changed = false;
  for (const old of parts()) {
    const now = fresh.getElementById(old.id);
    if (!now || now.outerHTML === rendered.get(old.id)) continue;
    rendered.set(old.id, now.outerHTML);
    for (const { id } of old.querySelectorAll("details[open]")) now.querySelector(`#${id}`)?.setAttribute("open", "");
    old.replaceWith(now);
    changed = true;
  }
  document.title = fresh.title;
  return changed;
}
