# Words: report test check bench validate dashboard docs install clean (bare `make` says what they do)

PYTHON ?= python3
PLAN ?= quick
PORT ?= 5000
BIN := .venv/bin
NARROW := $(if $(VARIANTS),--variants '$(VARIANTS)') $(if $(TASKS),--tasks '$(TASKS)') $(if $(SEEDS),--seeds '$(SEEDS)') \
          $(if $(DEVICE),--device $(DEVICE)) $(if $(WORKERS),--workers $(WORKERS))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install report test check bench validate dashboard docs clean

help:
	@echo 'make report     run the plan and write its report (PLAN=quick VARIANTS= TASKS= SEEDS= DEVICE= WORKERS=)'
	@echo 'make dashboard  serve the MLflow pages over runs/ on 127.0.0.1 (PORT=5000)'
	@echo 'make test       install what tests need and run them'
	@echo 'make check      ruff (lint, format) and mypy'
	@echo 'make bench      measure the suite itself: ratios, interleaved, medians'
	@echo 'make validate   measure the report'\''s statistics on planted truth, and kill runs to see that nothing is lost'
	@echo 'make docs       write the documentation to site/, with all that it needs in it'
	@echo 'make install    make .venv and install the suite there (the others do this first)'
	@echo 'make clean      remove .venv and caches; runs/ stays'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	@touch $@

install: .venv/installed

report: install
	@$(BIN)/suite run $(PLAN) $(NARROW)

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m tests.bench

validate: .venv/installed-test
	$(BIN)/python -m pytest -n 2 -m slow
	$(BIN)/python -m tests.validate
	$(BIN)/python -m tests.clones
	$(BIN)/python -m tests.kills

docs: .venv/installed-docs
	$(BIN)/python -m mkdocs build --strict

dashboard: install
	@$(BIN)/suite dashboard --port $(PORT)

clean:
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find suite plugins tasks reports tests -name __pycache__ -prune -exec rm -rf {} +
