# Two commands: `make demo` and `make test`. Both set up all they need, into .venv.
#
# `make check` is the part of `make test` that takes under a minute; `make test-long` runs what `make test` leaves out.
#
# The environment is made by uv, which is installed into .venv itself; versions are locked with hashes.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
UV_VERSION = 0.13.8
# Modules are compiled once, not by each process that a test starts.
export PYTHONDONTWRITEBYTECODE =
# Tests wait for databases and for processes of their own about half of the time: two workers to a processor.
TEST_WORKERS ?= $(shell .venv/bin/python -c 'import os; print((os.cpu_count() or 2) * 2)')
# A file's tests stay together. The slowest files begin first (tests/support/scope.py), not those with the most tests.
PYTEST = .venv/bin/pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations=20
# How much `make test-long` runs: `all`, or `ci`, which takes every variant once and a few mutations.
PART ?= all
MUTATIONS_all =
MUTATIONS_ci = --every 45

.PHONY: demo test test-long check lint types imports tidy bench lock clean

demo: .venv/.run-time
	.venv/bin/safelight demo $(ARGS)

check: .venv/.development
	@$(MAKE) --no-print-directory -j 2 types lint imports tidy

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types:
	.venv/bin/mypy

imports:
	.venv/bin/lint-imports

tidy:
	.venv/bin/pytest -q tests/project/test_tidy.py

test: check
	$(PYTEST) $(ARGS)

test-long: .venv/.development
	TEST_SCOPE=$(PART) $(PYTEST) $(ARGS)
	.venv/bin/python -m tests.mutations $(MUTATIONS_$(PART))
	$(if $(filter all,$(PART)),$(MAKE) --no-print-directory bench)

bench: .venv/.run-time
	home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && export SAFELIGHT_HOME="$$home" && \
	.venv/bin/safelight bench engine && .venv/bin/safelight bench doctor && .venv/bin/safelight bench waiting

# All extras, and what the repository's own packages need; these themselves are installed from their folders.
COMPILE = .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-package safelight --no-emit-package safelight-local --all-extras pyproject.toml
DEVELOPMENT = --group dev --group packages/safelight-local/pyproject.toml:test

lock: .venv/.uv
	$(COMPILE) --upgrade -o requirements.lock
	$(COMPILE) --upgrade $(DEVELOPMENT) --constraint requirements.lock -o requirements-dev.lock

.venv/.uv:
	@test -n "$(PYTHON)" || { echo "safelight needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/.run-time: .venv/.uv requirements.lock pyproject.toml packages/safelight-local/pyproject.toml
	VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --editable . --editable packages/safelight-local
	@touch $@

.venv/.development: .venv/.run-time requirements-dev.lock
	VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --compile-bytecode --require-hashes -r requirements-dev.lock
	@touch $@

clean:
	rm -rf .venv
