// Asks for a wallet on another device: shows what it scans, or what opens it on this one, until it has connected.
import { pair, resume } from "./walletconnect.js";

/**
 * @param {import("./walletconnect.js").Options} options
 * @returns {Promise<import("./pay.js").Provider>}
 */
export async function invite(options) {
  const known = await resume(options);
  if (known) return known;
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("pairing"));
  const link = /** @type {HTMLAnchorElement} */ (document.getElementById("pairing-link"));
  const givenUp = new Promise((_, reject) => { dialog.onclose = () => reject(Object.assign(new Error(), { code: 4001 })); });
  let waiting = true;
  const paired = pair(options, (invitation) => {
    if (!waiting) return; // whoever has closed the dialog is not asked again
    invitation.qr.setAttribute("aria-labelledby", "pairing-title");
    document.getElementById("pairing-qr")?.replaceChildren(invitation.qr);
    link.href = invitation.link;
    if (!dialog.open) dialog.showModal();
  });
  try {
    return await /** @type {Promise<import("./pay.js").Provider>} */ (Promise.race([paired, givenUp]));
  } finally {
    waiting = false;
    dialog.onclose = null;
    dialog.close();
  }
}
