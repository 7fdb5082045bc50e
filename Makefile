# One environment in .venv, made from constraints.txt; every target finds or makes it.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
TORCH ?= cpu
BIN := .venv/bin
CPU_WHEELS := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive

.PHONY: help book site test edition crate bench lab check clean
help:            ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: .venv/.book   ## run what is stale at the quick profile, then render the site
	@$(BIN)/causalnb book

site: .venv/.book   ## render the site from the runs that are there
	@$(BIN)/causalnb book --no-execute

test: .venv/.test   ## the whole test suite
	@$(BIN)/python -m pytest -n auto --dist loadfile

edition: .venv/.book   ## execute every chapter at the laptop profile (real data, hours) and publish it
	@for file in notebooks/[0-9]*.md; do $(BIN)/causalnb run $$(basename $$file | cut -c1-2) --profile laptop --publish || exit 1; done

crate: .venv/.book   ## the edition as one RO-Crate, from the published executions and the site
	@$(PIP) -e '.[crate]'
	@$(BIN)/causalnb book --no-execute && $(BIN)/causalnb crate

bench: .venv/.base   ## ours against the simple way and the public call, side by side
	@$(BIN)/python -m benchmarks

lab: .venv/.lab   ## open the text notebooks as notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir notebooks

check: .venv/.dev   ## style and types
	@$(BIN)/ruff check . && $(BIN)/mypy

clean:           ## remove the site and the generated pages
	@rm -rf _build book/_generated

# On Linux a plain torch is the CUDA build of several GB: the CPU wheel is asked for first, and found wherever pip looks.
.venv/.base: constraints.txt pyproject.toml
	@for python in $$(ls -d $(BIN)/python 2>/dev/null || echo $(PYTHON)); do \
	  found=$$($$python -c 'import sys; v = sys.version_info; print("it is Python %d.%d.%d" % v[:3]); sys.exit(v[:2] < (3, 11))' 2>/dev/null) \
	  || { echo "Python 3.11 or newer is needed, and $$python is not that ($${found:-it does not run}): remove .venv if it is there, and name another, for example PYTHON=python3.12." >&2; exit 1; }; done
	@echo "making the environment in .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if [ "$(TORCH)" = cpu ] && [ "$$(uname -s)" = Linux ]; then \
	  $(PIP) --no-deps --retries 0 --extra-index-url $(CPU_WHEELS) torch torchvision 2>/dev/null || $(PIP) --no-deps torch torchvision; fi
	@$(PIP) -e .
	@touch $@

.venv/.book: .venv/.base
	@$(PIP) -e '.[book]'
	@touch $@

.venv/.test: .venv/.book
	@$(PIP) -e '.[book,test,browser,cluster,crate]'
	@touch $@

.venv/.dev: .venv/.test
	@$(PIP) -e '.[dev]'
	@touch $@

.venv/.lab: .venv/.base
	@$(PIP) -e '.[lab]'
	@mkdir -p .venv/share/jupyter/lab/settings
	@echo '{"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Jupytext Notebook", "myst": "Jupytext Notebook"}}}' > .venv/share/jupyter/lab/settings/overrides.json
	@touch $@
