# Commands for contributors. They need Python 3.11 or newer, and install the rest.

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed
LIBRARIES := .venv/libraries
PANEL := panel/dist-page/index.html
PANEL_SOURCES := $(shell find panel/src panel/page -type f) $(wildcard panel/*.json panel/*.ts)

.PHONY: help quickstart panel screenshots unit lint test test-libraries test-containers check format docs site migration freeze bench dist lock db-lint policies clean

help:
	@echo 'make quickstart       install, start a local stack, run the end-to-end demo'
	@echo 'make unit             run the unit tests (no stack, no panel build)'
	@echo 'make lint             check formatting, lint and types in seconds'
	@echo 'make test             install, run every test'
	@echo 'make check            lint, the site, the panel and its component tests, the migration'
	@echo 'make format           fix formatting and what ruff and sqlfluff can fix'
	@echo 'make docs             write docs/providers.md and docs/cli.md from their sources'
	@echo 'make site             build the guides as a searchable site in site/'
	@echo 'make migration        write the first migration, or compare later ones with supabase/schemas'
	@echo 'make policies          weaken the policies one at a time, and list what catches it in docs/policies.md'
	@echo 'make freeze           freeze the migration of this version for its release'
	@echo 'make panel            build the settings panel'
	@echo 'make screenshots      take the screenshots of the guides'
	@echo 'make bench            measure speed (ONLY=name for one figure)'
	@echo 'make test-libraries   run the tests of libraries with the oldest openai package'
	@echo 'make test-containers  run the integration tests on container images (needs Docker)'
	@echo 'make db-lint          run supabase db lint and db advisors (needs root on Debian)'
	@echo 'make dist             build the packages of a release into dist/'
	@echo 'make lock             lock the dependencies (ARGS=--upgrade: in their newest versions)'

quickstart: $(INSTALLED) $(PANEL)
	$(BIN)/supa-llm demo

panel: $(PANEL)

screenshots: $(INSTALLED) $(PANEL)
	$(BIN)/python -m tests.panel.screenshots

unit: $(INSTALLED)
	$(BIN)/python -m pytest tests/unit $(ARGS)

# Two processes, each with its own stack. The tests of a file share fixtures, so they run in one process.
test: $(INSTALLED) $(PANEL)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

# LlamaIndex and instructor do not take the newest openai package, so they have a lock of their own.
test-libraries: $(LIBRARIES)/installed
	PYTHONPATH=src:cli $(LIBRARIES)/bin/python -m pytest tests/providers/libraries \
		tests/providers/test_openai_client.py tests/unit/test_dropin*.py $(ARGS)

test-containers: $(INSTALLED)
	$(BIN)/python -m tests.containers tests/database tests/integration $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/sqlfluff lint --processes 0 supabase/schemas supabase/migrations supabase/seed.sql supabase/tests
	$(BIN)/mypy

check: lint site
	$(BIN)/python hatch_build.py check
	$(BIN)/python hatch_build.py test
	$(BIN)/python -m tools.migration --check
	$(BIN)/python -m tools.providers --check
	$(BIN)/python -m tools.cli --check

format: $(INSTALLED)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/sqlfluff fix supabase/schemas supabase/seed.sql supabase/tests
	$(BIN)/python hatch_build.py format

docs: $(INSTALLED)
	$(BIN)/python -m tools.providers
	$(BIN)/python -m tools.cli

# Strict: a broken link fails.
site: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

migration: $(INSTALLED)
	$(BIN)/python -m tools.migration

policies: $(INSTALLED)
	$(BIN)/python -m tools.mutants

freeze: $(INSTALLED)
	$(BIN)/python -m tools.migration --freeze

bench: $(INSTALLED)
	$(BIN)/python -m bench

dist: $(INSTALLED)
	$(BIN)/python -m tools.dist

db-lint: $(INSTALLED)
	.ci/db-lint

# Locks versions and hashes of all dependencies, for every platform and independent of the package index.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-config --no-header --quiet $(ARGS)
lock: $(INSTALLED)
	$(LOCK) --group dev --extra demo --output-file requirements.lock
	$(LOCK) --group libraries --output-file requirements-libraries.lock

$(INSTALLED): requirements.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'supa-llm needs Python 3.11 or newer with its venv module (Debian: python3-venv).'; exit 1; }
	@echo 'Installing into .venv …'
	@$(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock | $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r /dev/stdin
	@$(BIN)/uv pip install --quiet --no-config --python .venv --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --no-config --python .venv --no-deps --no-build-isolation --editable .
	@touch $@

$(LIBRARIES)/installed: requirements-libraries.lock $(INSTALLED)
	@echo 'Installing libraries into $(LIBRARIES) …'
	@$(BIN)/python -m venv --clear --without-pip $(LIBRARIES)
	@$(BIN)/uv pip install --quiet --no-config --python $(LIBRARIES) --only-binary :all: --require-hashes \
		-r requirements-libraries.lock
	@touch $@

$(PANEL): $(INSTALLED) $(PANEL_SOURCES)
	@echo 'Building the settings panel …'
	@$(BIN)/python hatch_build.py build
	@touch $@

clean:
	rm -rf .venv site panel/node_modules panel/dist panel/dist-page
