# One door: `make check` is what CI runs, line for line.
# Every target makes the virtual environment that it needs (.venv) by itself.

PYTHON ?= python3
ZIZMOR_OPTIONS ?= --offline
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check lint lint-workflows format types layers docs bench clean
.PHONY: faults coverage
.PHONY: test-ui test-docs test-walkthroughs test-packaging test-wheel test-matrix screenshots

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.local ## Run a hundred real flow runs through one pinned revision, on this machine
	$(BIN)/pinned-ecs demo --runs 100

test: .venv/.dev ## Run all tests (DESIGN: within 5 minutes on 2 cores)
	$(BIN)/pytest -n 3 --dist loadgroup

coverage: .venv/.dev ## The same, measuring branch coverage; fails below the floor (pyproject.toml)
	rm -rf build/coverage
	$(BIN)/coverage run -m pytest -n 3 --dist loadgroup
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

check: lint types layers test ## Everything that has to be green

lint: .venv/.dev lint-workflows ## Style, complexity, formatting and workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-workflows: .venv/.dev ## Workflows (zizmor; ZIZMOR_OPTIONS= asks GitHub as well)
	$(BIN)/zizmor --no-progress $(ZIZMOR_OPTIONS) .github

format: .venv/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev ## Types (mypy, strict)
	$(BIN)/mypy

layers: .venv/.dev ## Imports go down only (import-linter)
	$(BIN)/lint-imports

docs: .venv/.docs ## Build the documentation into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test-docs: .venv/.docs ## Run every snippet of the documentation that is not marked
	$(BIN)/pytest tests/docs

test-walkthroughs: .venv/.dev ## Play the demo, the CI/CD guide and what else takes long
	$(BIN)/pytest -n 2 -m walkthrough

test-ui: .venv/.ui ## Drive the block's form in headless Chromium
	$(BIN)/pytest tests/ui

screenshots: .venv/.ui ## The same, and renew the pictures in docs/images
	SCREENSHOTS=1 $(BIN)/pytest tests/ui
	$(BIN)/python -m tests.docs.picture docs/images/demo.svg "make demo" $(BIN)/pinned-ecs demo

test-packaging: .venv/.dev ## Build wheel and sdist, check and install them
	$(BIN)/pytest tests/packaging

test-wheel: .venv/.dev ## Run all tests against the built wheel instead of this folder
	$(BIN)/python -m tests.packaging.matrix here

test-matrix: .venv/.dev ## Run the tests on the oldest and the newest of what is supported
	$(BIN)/python -m tests.packaging.matrix oldest newest

faults: .venv/.dev ## Live through the fault matrix, 200 runs a row (ARGS=--soak: the soak)
	$(BIN)/python -m tests.faults $(ARGS)

bench: .venv/.dev ## Measure launches against the embedded ECS
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove what the other targets have made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
		{ echo "Prefect 2.20 needs Python 3.10 to 3.12: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/.local: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[local]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/.local

.venv/.docs: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

.venv/.ui: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[ui]'
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
		{ echo "make test-ui needs Chromium: apt-get install chromium" >&2; exit 1; }
	@touch $@
