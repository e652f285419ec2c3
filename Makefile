# One door: `make check` is what CI runs, line for line.
# Every target makes the virtual environment that it needs (.venv) by itself.

PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check lint format types floors docs bench clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.local ## Run a hundred real flow runs through one pinned revision, on this machine
	$(BIN)/pinned-ecs demo --runs 100

test: .venv/.dev ## Run all tests (DESIGN: within 5 minutes on 2 cores)
	$(BIN)/pytest -n 2 --dist loadgroup

check: lint types floors test ## Everything that has to be green

lint: .venv/.dev ## Style, complexity and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev ## Types (mypy, strict)
	$(BIN)/mypy

floors: .venv/.dev ## Imports go down only (import-linter)
	$(BIN)/lint-imports

docs: ## Build the documentation
	@echo "The documentation is plain Markdown: start at docs/index.md"

bench: .venv/.dev ## Measure launches against the embedded ECS
	@echo "There is no benchmark yet: see CHANGELOG.md" && exit 1

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
