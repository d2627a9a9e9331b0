// headless-web3-provider as its makers run it, in Node, but with a page that lies behind standard input and output.
// The first line in holds the settings, each further one a call; the first line out holds what the page has to run.
import { createInterface } from "node:readline";
import headless from "headless-web3-provider"; // CommonJS: Node sees no names in it

const { injectHeadlessWeb3Provider, Web3RequestKind } = headless;
const tell = (/** @type {object} */ message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** @type {unknown[]} */
let events = [];
let script = "";
const page = {
  exposeFunction: async () => {}, // the window's function is there already
  addInitScript: async (run, value) => { script = `(${run})(${JSON.stringify(value)});`; },
  evaluate: async (_run, [method, values]) => { if (method === "emit") events.push(values); },
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { key, networks, node } = JSON.parse((await lines.next()).value);
const [first, ...others] = networks.map(Number);
const settings = { permitted: Object.values(Web3RequestKind).filter((kind) => kind !== Web3RequestKind.Accounts) };
const wallet = await injectHeadlessWeb3Provider(page, [key], first, node, settings);
others.forEach((network) => wallet.addNetwork(network, node));
tell({ script });

for await (const line of lines) {
  events = [];
  try {
    const result = await wallet.request(JSON.parse(line));
    tell({ result, events });
  } catch ({ code = -32603, message, data = null }) {
    tell({ error: { code, message: String(message), data }, events });
  }
}
