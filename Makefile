# Every command a developer needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes. Each starts its own Kafka, Redis and API server, so more than the machine has cores only cost.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup setup-local lock demo up test test-fast e2e lint types imports format docs bench bench-operator testbed clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environments -------------------------------------------------------------------------------------------------
# Two stamps: what runs the product (demo, up), and that plus the developer's tools (test, lint, ...).
# pip installs exactly one thing, the pinned installer; uv then installs from hashed locks.
$(BIN)/uv: requirements/installer.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	@touch $@

$(VENV)/.local: $(BIN)/uv requirements/local.txt pyproject.toml
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/local.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/uv requirements/dev.txt pyproject.toml
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.local $@

setup: $(VENV)/.dev  ## make .venv with everything that development needs
setup-local: $(VENV)/.local

lock: $(BIN)/uv  ## renew the hashed locks in requirements/
	@for extra in gateway client operator; do \
	  VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --python-version 3.11 --extra $$extra pyproject.toml -o requirements/$$extra.txt || exit 1; done
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --extra local pyproject.toml requirements/build.in -o requirements/local.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 --extra local --extra operator --group dev pyproject.toml -o requirements/dev.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 requirements/installer.in -o requirements/installer.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --python-version 3.11 requirements/build.in -o requirements/build.txt

# --- run it -------------------------------------------------------------------------------------------------------
demo: setup-local  ## the whole story on this machine: connect, charge, command, kill a gateway, account for everything
	$(BIN)/chargegateway demo

up: setup-local  ## the same system, staying up, for stations and backends of your own
	$(BIN)/chargegateway up

# --- judge it -----------------------------------------------------------------------------------------------------
test: setup lint types imports testbed  ## everything: lint, types, import rules, all tests that need no node
	$(BIN)/python -m pytest -m "not node_e2e" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-fast: setup  ## the pure tests only
	$(BIN)/python -m pytest -q -m "not kafka and not redis and not system and not node and not kubernetes" tests/contract tests/gateway/core tests/operator_core tests/client

lint: setup  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## mypy strict
	$(BIN)/mypy

imports: setup  ## the architecture as import rules
	$(BIN)/lint-imports --no-cache

e2e: setup  ## a real Kubernetes of one node: images built, pods run, stations connected (root, Go)
	$(BIN)/python -m tests.testbed install test node chart
	$(BIN)/python -m pytest -m node_e2e tests/e2e

format: setup  ## ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## renew what is generated in docs/ (settings, JSON Schemas, tables)
	$(BIN)/python -c 'import pathlib, ocpp_gateway.settings as s; pathlib.Path("docs/settings.md").write_text(s.reference())'
	$(BIN)/python -c 'import pathlib, ocpp_operator.settings as s; pathlib.Path("docs/operator-settings.md").write_text(s.reference())'
	$(BIN)/python -m tests.operator_core.publish
	$(BIN)/python -m tests.chart.publish
	$(BIN)/python -m tests.contract.publish
	$(BIN)/python -m tests.examples.page

testbed: setup  ## fetch the real components that the tests use (Kafka, Redis, npm stations), once
	$(BIN)/python -m tests.testbed install

bench: setup testbed  ## measure against the peers; writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

bench-operator: setup testbed  ## one operator, 200 resources, 1,000 pods without machines; the sweep of a million entries (40 minutes)
	$(BIN)/python -m tests.testbed install scale
	$(BIN)/python -m benchmarks.operator_scale
	$(BIN)/python -m benchmarks.sweep

clean:  ## remove the virtual environment and caches (the testbed cache stays)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
