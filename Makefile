# One door: `make check` is what CI runs, line for line.
# Every target makes the virtual environment that it needs by itself: .venv has Prefect 2, .venv3
# has Prefect 3. They get the versions of locks/; `make LOCKED=no ...` takes the newest that fit.

PYTHON ?= python3
ZIZMOR_OPTIONS ?= --offline
BIN := .venv/bin
BIN3 := .venv3/bin
LOCKED ?= yes
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' prefect_ecs_pinned/__init__.py)
.DEFAULT_GOAL := help
# Python keeps its bytecode, as it does by default: to rewrite the assertions of all tests anew
# takes each process of theirs 3 s of CPU.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help demo test check lint lint-workflows format types layers docs bench clean
.PHONY: publish-docs pictures-worker
.PHONY: faults coverage drawing prose
.PHONY: demo-worker test-prefect3 test-all types-prefect3 lock
.PHONY: test-ui test-docs test-walkthroughs test-packaging rehearse-release test-wheel test-matrix screenshots

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.local ## Run a hundred real flow runs through one pinned revision, on this machine
	$(BIN)/pinned-ecs demo --runs 100 $(ARGS)

demo-worker: .venv3/.local ## The same through a worker of Prefect 3 (ARGS="--worker ecs": ECSWorker)
	$(BIN3)/pinned-ecs demo --runs 100 $(ARGS)

test: .venv/.dev ## Run the tests of Prefect 2 and of the shared layers (4 minutes)
	$(BIN)/pytest -n 4 --dist loadgroup

test-prefect3: .venv3/.dev ## Run the tests of Prefect 3: the worker, and what both majors share
	$(BIN3)/pytest -n 4 --dist loadgroup $(wildcard tests/worker) tests/majors tests/runs \
		tests/test_layers.py tests/local/test_runner.py tests/local/test_server.py \
		tests/aws/test_clients.py tests/aws/test_launching.py tests/aws/test_watching.py

test-all: test test-prefect3 ## Run the tests in both environments

coverage: .venv/.dev ## The same, measuring branch coverage; fails below the floor (pyproject.toml)
	rm -rf build/coverage
	$(BIN)/coverage run -m pytest -n 4 --dist loadgroup
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

check: lint types types-prefect3 layers test-all ## Everything that has to be green

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

types-prefect3: .venv3/.dev ## Types of what is made of Prefect 3
	$(BIN3)/mypy --follow-imports silent prefect_ecs_pinned/majors.py \
		prefect_ecs_pinned/collection.py prefect_ecs_pinned/faces/*.py prefect_ecs_pinned/worker/*.py \
		prefect_ecs_pinned/operations/pools/*.py

layers: .venv/.dev ## Imports go down only (import-linter)
	$(BIN)/lint-imports

prose: .venv/.docs ## Lint README, docs, help texts, messages and docstrings for plain words
	$(BIN)/python docs/hooks/prose

docs: .venv/.docs prose ## Lint the prose, and build the documentation into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

publish-docs: .venv/.docs ## Commit this version's site to the branch gh-pages (git push origin gh-pages)
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mike deploy --update-aliases --alias-type copy \
		--title "$(VERSION)" "$(basename $(VERSION))" latest
	$(BIN)/mike set-default latest

drawing: .venv/.dev ## Renew the drawing of the imports in docs/concepts/layers.md
	$(BIN)/python docs/hooks/imports.py

test-docs: .venv/.docs .venv3/.dev ## Run every snippet of the documentation that is not marked
	$(BIN)/pytest tests/docs
	$(BIN3)/pytest tests/docs/test_snippets.py

test-walkthroughs: .venv/.dev ## Play the demo, the CI/CD guide and what else takes long
	$(BIN)/pytest -n 2 -m walkthrough

test-ui: .venv/.ui .venv/.docs .venv3/.dev ## Drive both forms and the documentation in headless Chromium
	$(BIN)/pytest tests/ui

screenshots: .venv/.ui .venv/.docs .venv3/.dev ## The same, and renew docs/images and build/screenshots
	SCREENSHOTS=1 $(BIN)/pytest tests/ui
	$(BIN)/python -m tests.docs.picture docs/images/demo.svg "make demo" $(BIN)/pinned-ecs demo

pictures-worker: .venv3/.dev ## Renew the picture of `make demo-worker` in docs/images
	$(BIN3)/python -m tests.docs.picture docs/images/demo-worker.svg "make demo-worker" \
		$(BIN3)/pinned-ecs demo

test-packaging: .venv/.dev ## Build wheel and sdist, check and install them
	$(BIN)/pytest tests/packaging

rehearse-release: .venv/.dev ## Build twice, upload to a local index, install from it (both majors)
	$(BIN)/python -m tests.packaging.release --install

test-wheel: .venv/.dev ## Run all tests against the built wheel instead of this folder
	$(BIN)/python -m tests.packaging.matrix here

test-matrix: .venv/.dev ## Run the tests on the oldest and the newest of what is supported
	$(BIN)/python -m tests.packaging.matrix oldest newest

faults: .venv/.dev .venv3/.dev ## Live through the fault matrix, block and worker (ARGS=--soak: the soak)
	$(BIN)/python -m tests.faults --face block $(ARGS)
	$(BIN3)/python -m tests.faults --face worker $(ARGS)

bench: .venv/.dev .venv3/.dev ## Measure launches against the embedded ECS
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove what the other targets have made
	rm -rf .venv .venv3 .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: .venv/bin/python ## Renew locks/: the newest versions that go together, for each major
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group lock
	$(COMPILE) --python-version 3.10 --group prefect2 --group docs --group ui \
		--output-file locks/prefect2.txt
	$(COMPILE) --python-version 3.11 --group prefect3 --output-file locks/prefect3.txt

COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal \
	--custom-compile-command "make lock" --extra local --group dev --group lock
# $(1): bin of the environment; $(2): Prefect's major; $(3): groups. The lock names a version for
# each distribution, so that pip has nothing to search for.
install = $(1)/python -m pip install --quiet --upgrade 'pip>=25.1' && \
	$(1)/python -m pip install --quiet $(if $(filter yes,$(LOCKED)),--constraint locks/prefect$(2).txt) \
	--group prefect$(2) $(foreach group,$(3),--group $(group)) --editable '.[local]'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
		{ echo "Prefect 2.20 needs Python 3.10 to 3.12: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv3/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Prefect 3.9 needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv3

.venv/.local: pyproject.toml locks/prefect2.txt | .venv/bin/python
	$(call install,$(BIN),2,)
	@touch $@

.venv/.dev: pyproject.toml locks/prefect2.txt | .venv/bin/python
	$(call install,$(BIN),2,dev)
	@touch $@ .venv/.local

.venv/.docs: pyproject.toml locks/prefect2.txt | .venv/bin/python
	$(call install,$(BIN),2,docs)
	@touch $@

.venv/.ui: pyproject.toml locks/prefect2.txt | .venv/bin/python
	$(call install,$(BIN),2,ui)
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
		{ echo "make test-ui needs Chromium: apt-get install chromium" >&2; exit 1; }
	@touch $@

.venv3/.local: pyproject.toml locks/prefect3.txt | .venv3/bin/python
	$(call install,$(BIN3),3,)
	@touch $@

.venv3/.dev: pyproject.toml locks/prefect3.txt | .venv3/bin/python
	$(call install,$(BIN3),3,dev)
	@touch $@ .venv3/.local
