const parts = () => document.querySelectorAll("[data-live]");
const rendered = new Map([...parts()].map((part) => [part.id, part.outerHTML]));
export async function refresh(address) {
    const response = await fetch(address, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok)
        throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    let changed = false;
    for (const old of parts()) {
        const now = fresh.getElementById(old.id);
        if (!now || now.outerHTML === rendered.get(old.id))
            continue;
        rendered.set(old.id, now.outerHTML);
        for (const { id } of old.querySelectorAll("details[open]"))
            now.querySelector(`#${id}`)?.setAttribute("open", "");
        old.replaceWith(now);
        changed = true;
    }
    document.title = fresh.title;
    return changed;
}
