// MetaMask's library on typed data: recovers who signed it, or signs it. JSON on standard input and output.
import { readFileSync } from "node:fs";
import { SignTypedDataVersion, recoverTypedSignature, signTypedData } from "@metamask/eth-sig-util";

const { typed_data: data, signature, key } = JSON.parse(readFileSync(0, "utf8"));
const version = SignTypedDataVersion.V4;
const answer = signature
  ? recoverTypedSignature({ data, signature, version })
  : signTypedData({ privateKey: Buffer.from(key.slice(2), "hex"), data, version });
process.stdout.write(JSON.stringify(answer));
