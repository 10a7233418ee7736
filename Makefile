# Every target does the set-up it needs; `make up` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# label-studio-ml, for its test, apart from what its pins do not go with.
ML     := $(VENV)/label-studio-ml
# Tests of one file share what they start, so files and not tests are dealt out, in the order of tests/conftest.py.
JOBS   ?= 2
SPREAD := -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: help up test test-fast browser lint format types check screenshots clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "regiontext needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet -e '.[all,dev]'
	@touch $@

$(ML)/.installed: tests/label-studio-ml.txt $(STAMP)
	@rm -rf $(ML)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --target $(ML) -r $<
	@touch $@

install: $(STAMP)  ## make .venv and install everything into it

up: $(STAMP)  ## Label Studio, the model and the backend, running and connected
	@$(BIN)/regiontext up $(ARGS)

# One thread for each of them, or they wait for each other.
test test-fast: export OMP_NUM_THREADS ?= 1

test: export REGIONTEXT_TEST_LABEL_STUDIO_ML ?= $(CURDIR)/$(ML)
test: $(STAMP) $(ML)/.installed lint types  ## everything: lint, types, unit, contract and browser tests
	@$(BIN)/python -m pytest $(SPREAD) $(ARGS)

test-fast: $(STAMP)  ## the quick tests only (no browser, no Label Studio, no model)
	@$(BIN)/python -m pytest -m "not browser and not label_studio and not model and not fuzz" $(SPREAD) $(ARGS)

browser: $(STAMP)  ## only the browser tests
	@$(BIN)/python -m pytest -m browser $(ARGS)

lint: $(STAMP)  ## ruff: lint and format check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }

format: $(STAMP)  ## ruff: fix and format
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

types: $(STAMP)  ## mypy --strict on regiontext/ and backend/
	@$(BIN)/mypy

check: lint types test-fast  ## what to run before a commit

screenshots: $(STAMP)  ## remake the pictures of the docs from a real run
	@REGIONTEXT_SCREENSHOTS=docs/images $(BIN)/python -m pytest -m browser -q

clean:  ## remove caches (never data)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
