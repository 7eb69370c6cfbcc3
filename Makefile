# Everything a contributor needs; needs Python 3.11 or newer and make, and installs the rest into .venv.

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed
PANEL := panel/dist-page/index.html
PANEL_SOURCES := $(shell find panel/src panel/page -type f) $(wildcard panel/*.json panel/*.ts)

.PHONY: help quickstart panel screenshots test test-containers check format migration bench lock db-lint clean

help:
	@echo 'make quickstart       install, start the stack, show the main job'
	@echo 'make test             install, run every test'
	@echo 'make panel            build the settings panel'
	@echo 'make screenshots      take the pictures of the guides anew'
	@echo 'make check            formatting, lint, types, the migration'
	@echo 'make format           mend formatting and what ruff and sqlfluff can mend'
	@echo 'make migration        write the migration of this version from supabase/schemas'
	@echo 'make bench            measure speed (ONLY=name for one figure)'
	@echo 'make test-containers  run the integration tests on container images (needs Docker)'
	@echo 'make db-lint          supabase db lint and db advisors (needs root on Debian)'
	@echo 'make lock             choose dependency versions anew'

quickstart: $(INSTALLED) $(PANEL)
	$(BIN)/supa-llm demo

panel: $(PANEL)

screenshots: $(INSTALLED) $(PANEL)
	$(BIN)/python -m tests.panel.screenshots

test: $(INSTALLED) $(PANEL)
	$(BIN)/python -m pytest $(ARGS)

test-containers: $(INSTALLED)
	$(BIN)/python -m tests.containers tests/database tests/integration $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	@# Without the migration, which is the schema files over again.
	$(BIN)/sqlfluff lint supabase/schemas supabase/seed.sql
	$(BIN)/mypy
	$(BIN)/python hatch_build.py check
	$(BIN)/python hatch_build.py test
	$(BIN)/python -m tools.migration --check

format: $(INSTALLED)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/sqlfluff fix supabase/schemas supabase/seed.sql
	$(BIN)/python hatch_build.py format

migration: $(INSTALLED)
	$(BIN)/python -m tools.migration

bench: $(INSTALLED)
	$(BIN)/python -m bench

db-lint: $(INSTALLED)
	.ci/db-lint

# Versions and hashes of all dependencies, for every platform, without saying where to get them.
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv
	.venv/lock/bin/uv pip compile pyproject.toml --group dev --extra demo --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-config --no-header --quiet \
		--upgrade --output-file requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'supa-llm needs Python 3.11 or newer with its venv module (Debian: python3-venv).'; exit 1; }
	@echo 'Installing into .venv …'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(PANEL): $(INSTALLED) $(PANEL_SOURCES)
	@echo 'Building the settings panel …'
	@$(BIN)/python hatch_build.py build
	@touch $@

clean:
	rm -rf .venv panel/node_modules panel/dist panel/dist-page
