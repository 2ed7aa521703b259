# make demo      installs, runs the whole method, prints the table and the path of the report
# make test      installs if necessary, runs all tests that are not slow
# make test-all  all tests
# make check     before a commit: format, lint, types, import directions, tests
# make experiments  all experiments, into docs/results; continues after an interruption (more than five CPU-hours)
# make bench     speed of the env, compared with the text task
# make format    format the sources
# make files     update docs/files.md, the list of source files
# make transcripts  play the transcripts of docs/tasks again
# make docs      build the documentation site into build/site, without network
# make clean     remove build outputs (runs/, .venv and build/editable stay: .venv points to the latter)

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin

# The constraints of the interpreter's version, or the newest ones.
INTERPRETER := $(firstword $(wildcard $(BIN)/python) $(PYTHON))
VERSION := $(shell $(INTERPRETER) -c 'import sys; print("py%d%d" % sys.version_info[:2])' 2>/dev/null)
CONSTRAINTS ?= $(or $(wildcard constraints/$(VERSION).txt),$(lastword $(sort $(wildcard constraints/py*.txt))))
STAMP := $(VENV)/.installed

# One thread per process: the second core is used by a second process, which is many times faster for small models.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1

.PHONY: demo experiments test test-all check bench format lint types imports install files transcripts docs clean

install: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "selfreg_gym needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; say which one to use: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV): some minutes; 2.6 GB with a CPU build of PyTorch, 5.8 GB with the CUDA build'
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/selfreg run --preset tiny --out runs/demo

experiments: $(STAMP)
	@for name in $$($(BIN)/selfreg list experiments --json | $(BIN)/python -c 'import json, sys; print(*(one["name"] for one in json.load(sys.stdin)["experiments"]))'); do \
	    $(BIN)/selfreg experiment $$name || exit; done

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

check: lint types imports test

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports --no-logo

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

files: $(STAMP)
	$(BIN)/python docs/files.py

transcripts: $(STAMP)
	$(BIN)/python docs/transcripts.py

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'the documentation: build/site/index.html'

bench: $(STAMP)
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean:
	rm -rf build/lib build/bdist.* dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	find selfreg_gym agents envs tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
