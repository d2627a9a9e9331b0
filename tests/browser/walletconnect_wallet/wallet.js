// A wallet at the other end of WalletConnect: it says what it is asked, one JSON a line, and does what stdin says.
// node wallet.js RELAY_URL FD    what it says goes to this file descriptor: to stdout the libraries write their own logs
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { WalletKit } from "@reown/walletkit";
import { Core } from "@walletconnect/core";

const say = (/** @type {object} */ line) => writeSync(Number(process.argv[3]), `${JSON.stringify(line)}\n`);
const core = new Core({ projectId: "0".repeat(32), relayUrl: process.argv[2], telemetryEnabled: false, logger: "silent" });
const metadata = { name: "Phone Wallet", description: "", url: "https://wallet.example", icons: [] };
const kit = await WalletKit.init({ core, metadata });

kit.on("session_proposal", ({ id, params }) => say({ event: "proposal", id, namespaces: params.optionalNamespaces, from: params.proposer.metadata }));
kit.on("session_request", ({ id, topic, params }) => say({ event: "request", id, topic, chain: params.chainId, ...params.request }));
kit.on("session_delete", ({ topic }) => say({ event: "deleted", topic }));

/** @type {Record<string, (order: any) => Promise<unknown>>} */
const orders = {
  pair: ({ uri }) => kit.pair({ uri }),
  approve: async ({ id, namespaces }) => say({ event: "session", topic: (await kit.approveSession({ id, namespaces })).topic }),
  reject: ({ id, reason }) => kit.rejectSession({ id, reason }),
  respond: ({ id, topic, answer }) => kit.respondSessionRequest({ topic, response: { id, jsonrpc: "2.0", ...answer } }),
  disconnect: ({ topic }) => kit.disconnectSession({ topic, reason: { code: 6000, message: "User disconnected." } }),
};
say({ event: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  orders[order.do](order).catch((error) => say({ event: "fault", during: order.do, message: String(error?.message ?? error) }));
}
process.exit(0); // whoever commanded it is gone
