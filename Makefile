# Everything happens in .venv, from hash-locked files. No target needs root, asks anything or leaves something running.
# Written for GNU make 3.81, which is what macOS has: nothing newer here, such as .ONESHELL or $(file).

PYTHON ?= python3
ARGS ?=
# Locked means locked: building a source package would fetch build tools that no lock names. Where a dependency has no
# wheel (Macs with Intel processors: cryptography, argon2), one can decide otherwise: make demo WHEELS=
WHEELS ?= --only-binary=:all:

BIN := .venv/bin
PIP_INSTALL = -m pip install --quiet --progress-bar off --require-hashes $(WHEELS)
SOURCES := dhtchat bootstrap simulations tests docs

# Nothing that happens to be set up on this machine may help or harm.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_TARGET PIP_PREFIX
export PIP_USER := 0
export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo site test bench soak lint format lock clean rebuild

help: ## show this list
	@echo "Two commands are enough: make demo, make test. All of them:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed ## set up, then a bootstrap node and peers that talk to each other, every step checked
	@$(BIN)/dhtchat demo $(ARGS)

test: lint ## set up, then everything a reviewer would run (pytest options: ARGS="-k name")
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup $(ARGS)

lint: .venv/installed .venv/developed ## only format check, lint and types
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy

bench: .venv/installed .venv/developed ## measure: prints its figures and what they are compared with
	@$(BIN)/python -m tests.benchmarks $(ARGS)

soak: .venv/installed .venv/developed ## only the tests that take minutes
	@$(BIN)/python -m pytest -m soak --timeout 0 $(ARGS)

site: .venv/installed .venv/developed ## build the documentation as a site, build/site/index.html
	@$(BIN)/python -m sphinx -q -W --keep-going -n -b html docs build/site
	@echo "built: build/site/index.html"

format: .venv/installed .venv/developed ## format and repair what can be repaired
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

clean: ## remove what the other targets made
	rm -rf .venv .venv-lock dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment -------------------------------------------------------------------------------------------------

# An environment knows its own path and its Python: a copied or moved one, one whose Python is gone, and one with
# another Python than the command names must be rebuilt.
ifneq ($(shell $(BIN)/python -c "print(open('.venv/checkout').read().strip())" 2>/dev/null),$(CURDIR))
STALE := rebuild
else ifneq ($(origin PYTHON),file)
ifneq ($(shell cat .venv/interpreter 2>/dev/null),$(PYTHON))
STALE := rebuild
endif
endif

# From nothing whenever a lock changed, so that a package no lock names cannot linger and hide a missing dependency.
.venv/locked: requirements/base.txt requirements/build.txt $(STALE)
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	  echo "dhtchat needs Python 3.11 or newer; $(PYTHON) --version says: $$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
	  echo "Install one and name it, for instance: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up .venv; the first time this takes a minute."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python $(PIP_INSTALL) -r requirements/base.txt -r requirements/build.txt || { \
	  echo "The dependencies could not be installed: pip says above why (no network, or no wheel for this system?)." >&2; \
	  echo "Without a wheel, and with compilers: make WHEELS= $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "$(PYTHON)" > .venv/interpreter
	@pwd -P > .venv/checkout
	@touch $@

# Editable, without the network. `pip check` fails when pyproject.toml asks for something the locks do not have.
.venv/installed: .venv/locked pyproject.toml dhtchat/__init__.py
	@$(BIN)/python -m pip install --quiet --no-index --no-build-isolation --no-deps --editable .
	@$(BIN)/python -m pip check > .venv/check || { cat .venv/check >&2; exit 1; }
	@touch $@

.venv/developed: .venv/locked requirements/dev.txt
	@$(BIN)/python $(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

# --- the locks -------------------------------------------------------------------------------------------------------

# One lock for all systems and Python versions. Each file is held to the versions of the one before, so that they can
# share an environment. Pins stay as they are unless asked: make lock UPGRADE=--upgrade
UPGRADE ?=
COMPILE = .venv-lock/bin/uv pip compile --quiet --no-config --python .venv-lock/bin/python --python-version 3.11 \
  --universal --generate-hashes --no-header --no-annotate --no-emit-index-url $(UPGRADE)

lock: .venv-lock/ready ## renew requirements/*.txt after a change in pyproject.toml (newest versions: UPGRADE=--upgrade)
	$(COMPILE) pyproject.toml -o requirements/base.txt
	$(COMPILE) pyproject.toml --extra dev --group build -c requirements/base.txt -o requirements/dev.txt
	$(COMPILE) --group build -c requirements/dev.txt -o requirements/build.txt
	$(COMPILE) --group lock -o requirements/lock.txt

.venv-lock/ready: requirements/lock.txt
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/python $(PIP_INSTALL) -r requirements/lock.txt
	@touch $@
