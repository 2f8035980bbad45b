# The front door. Every target sets itself up: Python 3.11 or newer and git are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GENERATE_VENV := .venv-generate
GENERATE_READY := $(GENERATE_VENV)/.ready

# Real data for tests and the demo, when a copy lies beside the checkout or the caller names one.
DECIDER_DATA_DIR ?= $(abspath $(wildcard ../shared/data))
ifneq ($(strip $(DECIDER_DATA_DIR)),)
export DECIDER_DATA_DIR
endif

.PHONY: help run test test-core check bench reference generate setup clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(READY) ## Make the environment in .venv

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Decider needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@

run: $(READY) ## Run the demo: a real e-mail trial, from import to durable gRPC decisions
	@$(BIN)/decider demo

test: $(READY) ## Run all tests, the core also without the compiler and with bounds checks
	$(BIN)/python -m pytest
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest tests/core
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest tests/core

test-core: $(READY)
	$(BIN)/python -m pytest tests/core

check: $(READY) $(GENERATE_READY) ## Lint, types, layers, protobuf rules, generated code up to date, no speed lost
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/architecture
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against '.git#ref=HEAD,subdir=proto'
	$(GENERATE_VENV)/bin/python proto/generate.py --check
	$(BIN)/decider bench --short --against benchmarks/reference.json

bench: $(READY) ## Measure every case beside its baseline: one table, and whether the goals hold
	$(BIN)/decider bench

reference: $(READY) ## Record the ratios that `make check` holds, after a change that is meant
	$(BIN)/decider bench --short --record benchmarks/reference.json

generate: $(GENERATE_READY) ## Make src/decider/v1 from proto/
	$(GENERATE_VENV)/bin/python proto/generate.py

$(GENERATE_READY): pyproject.toml
	$(PYTHON) -m venv $(GENERATE_VENV)
	$(GENERATE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'grpcio-tools==1.71.2' 'mypy-protobuf==3.6.0'
	@touch $@

clean: ## Remove the environments and what tests leave
	rm -rf $(VENV) $(GENERATE_VENV) .mypy_cache .ruff_cache .benchmarks .hypothesis
