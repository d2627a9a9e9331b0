import { pair, resume } from "./walletconnect.js";
export async function invite(options) {
    const known = await resume(options);
    if (known)
        return known;
    const dialog = (document.getElementById("pairing"));
    const link = (document.getElementById("pairing-link"));
    const givenUp = new Promise((_, reject) => { dialog.onclose = () => reject(Object.assign(new Error(), { code: 4001 })); });
    let waiting = true;
    const paired = pair(options, (invitation) => {
        if (!waiting)
            return;
        invitation.qr.setAttribute("aria-labelledby", "pairing-title");
        document.getElementById("pairing-qr")?.replaceChildren(invitation.qr);
        link.href = invitation.link;
        if (!dialog.open)
            dialog.showModal();
    });
    try {
        return await (Promise.race([paired, givenUp]));
    }
    finally {
        waiting = false;
        dialog.onclose = null;
        dialog.close();
    }
}
