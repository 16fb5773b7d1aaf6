# Everything is fetched into this folder: .venv/ (packages, from requirements.lock) and .cache/ (Kafka's jars).
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
UV := $(BIN)/uv
# Where the tests' Kafka keeps its jars.
export TOCSIN_CACHE := $(CURDIR)/.cache
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
# `make run FILES="/var/log/auth.log"` reads files of your own instead of the example service.
FILES ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench docs lock broker clean

help: ## show what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# What the worker needs, and no more: enough for `make run`.
.venv/worker: requirements.lock pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --constraints requirements.lock --editable '.[worker]'
	@touch $@

# Everything, each file checked against its hash.
.venv/all: requirements.lock pyproject.toml | $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirements requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@ .venv/worker

run: .venv/worker ## run the main job: an example service and the worker; or FILES="…"
ifeq ($(strip $(FILES)),)
	@$(BIN)/python examples/service.py --path - --rate 200 --seconds 12 | $(BIN)/tocsin run $(ARGS) -
else
	@$(BIN)/tocsin run $(ARGS) $(FILES)
endif

test: .venv/all ## run all tests, on a real Kafka
	$(BIN)/pytest $(ARGS)

lint: .venv/all ## check style, types, imports, the lock and the rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/tocsin lint --fail-on info rules
	$(BIN)/tocsin test rules
	@mkdir -p .cache && cp requirements.lock .cache/requirements.lock
	@$(UV) pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes --quiet --no-header \
		--output-file .cache/requirements.lock
	@grep -v '^#' requirements.lock | diff - .cache/requirements.lock >/dev/null \
		|| { echo 'requirements.lock does not fit pyproject.toml: make lock'; exit 1; }

format: .venv/all ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/all ## run the benchmarks; each prints ratios measured in one run
	$(BIN)/python -m benchmarks $(ARGS)

docs: .venv/all ## build the manual into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: $(UV) ## write requirements.lock anew
	$(UV) pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes --upgrade --quiet \
		--output-file requirements.lock

broker: .venv/all ## run a Kafka for development on 127.0.0.1:9092
	$(BIN)/tocsin broker $(ARGS)

clean: ## remove everything that was fetched or built
	rm -rf .venv .cache .state site
