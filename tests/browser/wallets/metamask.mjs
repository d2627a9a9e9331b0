// MetaMask's own provider, put into the page as its extension does it: one stream to the background, many channels in it.
import { initializeProvider } from "@metamask/providers";
import ObjectMultiplex from "@metamask/object-multiplex";
import { Duplex, pipeline } from "readable-stream";

const CHANNEL = "metamask-provider";

/** The stream to the background. What is written there comes back as answers and notifications, in their order. */
class Background extends Duplex {
  /** @param {string} bridge the window's function that takes a message as JSON, and gives a JSON array of them */
  constructor(bridge) {
    super({ objectMode: true });
    this.bridge = bridge;
  }

  _read() {}

  async _write(chunk, _encoding, written) {
    written();
    for (const data of JSON.parse(await window[this.bridge](JSON.stringify(chunk.data)))) {
      this.push({ name: chunk.name, data });
    }
  }
}

/** The console, but for MetaMask's own echo of each refusal: pages are watched for warnings, and that one is no page's. */
const logger = {
  ...console,
  warn: (text, ...more) => (String(text).startsWith("MetaMask - RPC Error") ? console.debug : console.warn)(text, ...more),
};

/** @param {{bridge: string, info: import("@metamask/providers").BaseProviderInfo}} settings */
export function install({ bridge, info }) {
  const background = new Background(bridge);
  const channels = new ObjectMultiplex();
  pipeline(background, channels, background, (error) => console.error("MetaMask lost its background", error));
  initializeProvider({ connectionStream: channels.createStream(CHANNEL), providerInfo: info, logger });
}
