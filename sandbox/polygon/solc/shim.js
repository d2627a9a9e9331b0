#!/usr/bin/env node
// A `solc` command line over the WebAssembly compiler that the npm package `solc` ships.
//
// No package registry carries the native compiler; npm carries this one, and it prints the same bytecode.
// Python's solc wrapper (py-solc-x, used by ape-solidity) finds `solc-v<version>` beside this file through
// SOLCX_BINARY_PATH, forge's settings name it, and both ask it only two things:
//
//     --version
//     --standard-json [--base-path DIR] [--allow-paths DIR,...] [-]      input on stdin, output on stdout
//
// Started as: shim.js <npm package> <full version> [solc arguments...]
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const STDIN = 0;
const ROOT = path.resolve(__dirname, "..", "..", "..");
const NODE_MODULES = path.join(ROOT, "node_modules");
const [packageName, fullVersion, ...args] = process.argv.slice(2);

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

// The version comes from the launcher, because loading 8 MB of WebAssembly to print one line takes a second and
// every compilation asks several times. `loadCompiler` holds the launcher to its word.
function printVersion() {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${fullVersion}.Emscripten.clang\n`);
}

function loadCompiler() {
  const soljson = path.join(NODE_MODULES, packageName, "soljson.js");
  if (!fs.existsSync(soljson)) fail(`${soljson} is missing: run npm ci`);
  // The newest wrapper speaks to the old compilers too; the old wrappers need packages that have faults of their own.
  const wrap = require(path.join(NODE_MODULES, "solc", "wrapper"));
  const compiler = wrap(require(soljson));
  const actual = compiler.version();
  if (!actual.startsWith(`${fullVersion}.`)) fail(`npm package ${packageName} is solc ${actual}, expected ${fullVersion}`);
  return compiler;
}

function parseOptions() {
  let standardJson = false;
  let basePath = process.cwd();
  for (let i = 0; i < args.length; i++) {
    const [option, inlineValue] = args[i].split(/=(.*)/s);
    const value = () => inlineValue ?? args[++i];
    if (option === "--standard-json") standardJson = true;
    else if (option === "--base-path") basePath = path.resolve(value());
    else if (option === "--allow-paths") value(); // imports that py-solc-x resolves are in the input already
    else if (option !== "-") fail(`unrecognised option '${option}'`); // py-solc-x reads this very sentence
  }
  if (!standardJson) fail("this solc knows only --version and --standard-json");
  return { basePath };
}

// The WebAssembly build prints the negative ids of built-in declarations (`msg`, `block`, `this`) as unsigned 32-bit
// numbers. Readers of the AST tell built-ins from sources by that sign, so give it back.
const DECLARATION_IDS = new Set(["id", "referencedDeclaration", "overloadedDeclarations"]);
function withSignedDeclarationIds(key, value) {
  if (!DECLARATION_IDS.has(key)) return value;
  return Array.isArray(value) ? value.map(toInt32) : toInt32(value);
}
function toInt32(value) {
  return Number.isInteger(value) && value > 0x7fffffff && value <= 0xffffffff ? value | 0 : value;
}

function compileStandardJson({ basePath }) {
  // ape-solidity compiles in a temporary copy of the project that leaves node_modules behind, and names that copy as
  // the base path. What is not there is looked for in the project itself.
  const readImport = (name) => {
    const file = [basePath, ROOT].map((folder) => path.resolve(folder, name)).find((candidate) => fs.existsSync(candidate));
    return file ? { contents: fs.readFileSync(file, "utf8") } : { error: `not in ${basePath}, nor in ${ROOT}` };
  };
  // By its number: the mere mention of process.stdin makes the pipe non-blocking, and a large input then fails halfway.
  const input = fs.readFileSync(STDIN, "utf8");
  const output = loadCompiler().compile(input, { import: readImport });
  process.stdout.write(JSON.stringify(JSON.parse(output, withSignedDeclarationIds)));
}

if (args.includes("--version")) printVersion();
else compileStandardJson(parseOptions());
