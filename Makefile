# Every target sets up what it needs. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup setup-real up test promql-scripts lint format golden docs bench boards drill clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing; install Python 3.11+ or set PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $$($(PYTHON) --version) is too old; install Python 3.11+ or set PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing what observe and its tests need (some minutes on a slow line)"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[server,analysis,exporters,dev]'
	@touch $@

setup: $(STAMP)  ## create .venv, install, compile the kernels into their cache
	@$(BIN)/python -m observe.compile_kernels

setup-real: setup  ## get the real components that tests need (as root on Debian; else says what is missing)
	$(BIN)/python -m tests.real.provision

up: setup  ## run the product on this machine with the demo service (ARGS='--listen 127.0.0.1:9901')
	@$(BIN)/observe up --demo $(ARGS)

test: setup setup-real  ## run every test that this machine can run
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -p no:randomly -m 'not calm'
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -p no:randomly -m calm

promql-scripts: setup  ## Prometheus' own test scripts, from a copy of it that you have: PROM_SRC=FOLDER
	PROM_SRC="$(PROM_SRC)" $(BIN)/python -m pytest -q -s -p no:randomly tests/promql/upstream_scripts.py

lint: setup  ## ruff, mypy (strict), import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

golden: setup  ## rewrite the golden expositions of the exporters; read the diff
	GOLDEN_UPDATE=1 $(BIN)/python -m pytest -q -p no:randomly tests/exporters -k golden

boards: setup  ## build the Grafana boards and check them
	$(BIN)/python -m observe boards build
	$(BIN)/python -m observe boards check

docs: setup  ## write the generated pages of docs/
	$(BIN)/python -m observe.reference commands > docs/commands.md
	$(BIN)/python -m observe.reference metrics > docs/metrics.md

bench: setup  ## measure against peers in the same run; prints ratios
	$(BIN)/python -m pytest -q -s -p no:randomly -p no:xdist -W ignore benchmarks

drill: setup  ## hundreds of kills, ten demo incidents, a quiet hour, quiet weeks and faults (an hour of work)
	$(BIN)/python -m tests.drill.metrics --kills 300
	$(BIN)/python -m tests.drill.signals --kills 300
	$(BIN)/python -m tests.drill.quiet --hours 1
	$(BIN)/python -m tests.drill.rules
	$(BIN)/python -m tests.drill.demo --starts 10

clean:  ## remove what the targets made
	rm -rf $(VENV) build dist *.egg-info
