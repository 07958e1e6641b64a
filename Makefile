# Everything runs in .venv, made from constraints.txt on the first use.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.complete
# a file's tests stay together, and share what they start
CORES := -n logical --maxprocesses 4 --dist loadfile

# make gpu sets nothing up: the Python that was said, else that of .venv where it is complete, else python3
GPU_PYTHON := $(if $(filter file,$(origin PYTHON)),$(if $(wildcard $(STAMP)),$(BIN)/python,$(PYTHON)),$(PYTHON))

.PHONY: help setup demo test test-all check check-infra bench gpu dist clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /' | sed 's/^/make /'

setup: $(STAMP)  ## make .venv with the tested versions

$(STAMP): constraints.txt pyproject.toml
	@echo "setting up .venv from constraints.txt (some minutes, about 2 GB)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; say which: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: setup  ## run the main job on generated videos, to a two-stream result (about 10 minutes)
	@$(BIN)/kinebert demo --output demo
	@echo "these commands are in .venv: source .venv/bin/activate"

test: setup  ## pass the tests (about 10 minutes on two cores)
	@echo "running the fast tests; 'slow' and 'gpu' are markers for the others (-m slow)"
	@$(BIN)/python -m pytest -q $(CORES)
	@echo "passed. Next:"
	@echo "  make demo                                   the whole job on generated videos"
	@echo "  source .venv/bin/activate"
	@echo "  kinebert index folder VIDEOS --output manifest.parquet    your own videos, one sub-folder per class"
	@echo "  mlflow ui --backend-store-uri sqlite:///$(CURDIR)/demo/mlflow.db    the runs, after the demo"

test-all: setup  ## pass the slow tests too: every network, whole extractions, killed jobs (hours)
	@$(BIN)/python -m pytest -q -m "not gpu"

check: setup  ## lint, types, and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# what a machine has no program for is skipped, and said with what installs it; the extra's own programs must be there.
# Whole clusters are of make test-all
check-infra: .venv/.infra  ## check infra/: images, compose and Kubernetes files, scripts, commands, versions
	@KINEBERT_REQUIRE="$${KINEBERT_REQUIRE:+$$KINEBERT_REQUIRE,}infra" $(BIN)/python -m pytest -q -rs -m "not gpu" \
		$(addprefix --ignore tests/infra/,$(RUNNING)) tests/infra

# these run the files themselves, for 10 to 20 minutes each: make test-all
RUNNING := cluster test_two_nodes.py test_real_slurm.py

.venv/.infra: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[infra]'
	@touch $@

bench: setup  ## print the tables of tests/benchmarks
	@for script in tests/benchmarks/*.py; do echo "== $$script"; \
		$(BIN)/python -m tests.benchmarks.$$(basename $$script .py) || exit 1; done

gpu:  ## test and measure on a GPU, in 9 minutes and offline (STAGES="tests networks flow feed", PYTHON=python3.12)
	@$(GPU_PYTHON) -m tests.gpu.run $(STAGES) --json gpu.json

dist: setup  ## make a wheel and a source archive in dist/, which know the commit
	@rm -rf build dist *.egg-info
	@$(BIN)/python -c "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')" > /dev/null
	@rm -rf build *.egg-info
	@ls dist/*

clean:  ## remove .venv and what tools left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
