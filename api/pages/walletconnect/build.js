// Bundles WalletConnect's client into one file for the payment page, with a list of what is in it and its licences.
// The same lock gives the same bytes on every machine. `node build.js [folder]` writes both files there.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const NAME = "walletconnect-2.21.8";
const PERMISSIVE = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "(Apache-2.0 AND MIT)"];

const folder = resolve(process.argv[2] ?? join(HERE, "../static/built"));
const { metafile, outputFiles } = await build({
  absWorkingDir: HERE,
  entryPoints: ["entry.js"],
  outfile: `${NAME}.js`,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "eof", // some packages carry the code of others, whose notices are nowhere else
  banner: { js: `/*! Licences: ${NAME}.licences.txt */` },
  metafile: true,
  write: false,
});
writeFileSync(join(folder, `${NAME}.js`), outputFiles[0].contents);
writeFileSync(join(folder, `${NAME}.licences.txt`), licences(bundled()));

/** The folders of the packages that something in the bundle comes from, in one order on every machine. */
function bundled() {
  const inputs = Object.values(metafile.outputs)[0].inputs;
  const kept = Object.keys(inputs).filter((path) => inputs[path].bytesInOutput > 0);
  const roots = kept.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  return [...new Set(roots)].filter((root) => root !== undefined).sort();
}

/** Which licence each package has, then every licence once, below the packages that carry it. */
function licences(/** @type {string[]} */ roots) {
  const list = [];
  /** @type {Map<string, string[]>} */
  const texts = new Map();
  for (const root of roots) {
    const { name, version, license } = JSON.parse(readFileSync(join(HERE, root, "package.json"), "utf8"));
    if (!PERMISSIVE.includes(license)) throw new Error(`${name} ${version} has the licence ${license}: is it permissive? Then add it to build.js, else take the package out.`);
    list.push(`${name} ${version}: ${license}`);
    const files = readdirSync(join(HERE, root)).filter((file) => /^(licen[cs]e|copyright|notice)/i.test(file)).sort();
    const text = files.map((file) => readFileSync(join(HERE, root, file), "utf8").replace(/\s+$/gm, "").trim()).join("\n\n");
    texts.set(text, [...(texts.get(text) ?? []), name]);
  }
  const sections = [...texts].map(([text, names]) => `${"-".repeat(80)}\n${names.join(", ")}\n\n${text || "(its package holds no text of its licence)"}\n`);
  return `${NAME}.js is made of:\n\n${list.join("\n")}\n\n${sections.join("\n")}`;
}
