"""`ape run verification_input`: what explorers compile gives the deployed router, and needs no other file."""

import json
import subprocess

from tests.conftest import ROOT

# As an explorer does: no imports are read, only what the input holds.
COMPILE = """
const input = require("node:fs").readFileSync(0, "utf8");
const solc = require("solc");
process.stdout.write(JSON.stringify({ version: solc.version(), ...JSON.parse(solc.compile(input)) }));
"""


def test_compiles_to_the_deployed_router(operators, tmp_path):
    outcome = operators.run("verification_input", "--record", str(operators.record_path))
    assert outcome.code == 0, outcome.output
    folder = tmp_path / "137.verification"
    form = json.loads((folder / "form.json").read_text())
    standard_input = (folder / "standard-input.json").read_text()
    compiled = subprocess.run(["node", "-e", COMPILE], cwd=ROOT, input=standard_input, capture_output=True, text=True)
    output = json.loads(compiled.stdout)
    source, name = form["contract_name"].split(":")
    creation_code = output["contracts"][source][name]["evm"]["bytecode"]["object"]
    arguments = (folder / "constructor-arguments.txt").read_text().strip()

    sent = operators.rpc("eth_getTransactionByHash", operators.record["transaction_hash"])["input"]
    assert sent == operators.record["salt"] + creation_code + arguments
    deployed = operators.rpc("eth_call", {"data": "0x" + creation_code + arguments}, "latest")
    assert deployed == operators.rpc("eth_getCode", form["address"], "latest")
    assert output["version"].startswith(form["compiler_version"].removeprefix("v"))
    assert form["chain_id"] == 137
    assert str(ROOT) not in standard_input  # no path of this machine


def test_a_router_of_other_sources_is_not_passed_off_as_ours(operators):
    record = operators.record
    record["router"] = operators.partner
    operators.record_path.write_text(json.dumps(record))

    outcome = operators.run("verification_input", "--record", str(operators.record_path))

    assert (outcome.code, "check out the commit" in outcome.output) == (1, True)
