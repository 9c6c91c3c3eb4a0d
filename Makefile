# Two commands do everything, set-up included:  make demo   make test
VENV ?= .venv
# Processes that run tests, each with a Hub of its own
WORKERS ?= 2
# The first of these that runs and is 3.10 to 3.12; choose another with: make demo PYTHON=/path/to/python
PYTHON ?= $(firstword $(foreach name,python3.12 python3.11 python3.10 python3 python,$(shell \
	$(name) -c 'import sys, venv, ensurepip; (3, 10) <= sys.version_info[:2] <= (3, 12) and print("$(name)")' 2>/dev/null)))

ifeq ($(origin PYTHON),command line)
ifneq ($(wildcard $(VENV)/bin/python),)
ifneq ($(shell $(PYTHON) --version),$(shell $(VENV)/bin/python --version))
$(error $(VENV) was made with $(shell $(VENV)/bin/python --version), not with that of PYTHON=$(PYTHON): give another VENV, or run make clean first)
endif
endif
endif

.PHONY: help demo tour test lint coverage dist docs peer-tests benchmark compatibility clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/installed  ## render a small corpus, train an AST on it, evaluate, write report and model: runs/ast_irmas_demo
	$(VENV)/bin/accelerate launch recipes/ast_irmas.py --demo

tour: $(VENV)/installed  ## run docs/tour.ipynb from start to end and keep what it shows: under 5 minutes
	$(VENV)/bin/python scripts/run_tour.py

test: lint docs  ## check the style and the pages' links, then run all tests
	$(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 20

lint: $(VENV)/installed  ## check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/codespell hf_audio recipes scripts docs spaces *.md
	$(VENV)/bin/mypy

docs: $(VENV)/installed  ## build the site of docs/ into site/; a broken link or any other warning is an error
	$(VENV)/bin/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --quiet docs site

coverage: $(VENV)/installed  ## run all tests and report which lines they run, in build/coverage/ too
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage html --quiet
	$(VENV)/bin/coverage report

dist: $(VENV)/installed  ## build sdist and wheel into dist/, check them, and run the wheel in an environment of its own
	rm -rf dist build/lib build/bdist.*
	$(VENV)/bin/python -m build --outdir dist
	$(VENV)/bin/twine check --strict dist/*
	$(VENV)/bin/python scripts/check_wheel.py dist

peer-tests: $(VENV)/installed  ## transformers' own common tests, from the package index, on our models and extractors
	$(VENV)/bin/python scripts/peer_tests.py

benchmark: $(VENV)/installed  ## measure against the stock way, on this machine
	$(VENV)/bin/python scripts/benchmark_features.py
	$(VENV)/bin/python scripts/benchmark_extractors.py
	$(VENV)/bin/python scripts/benchmark_training.py

compatibility: $(VENV)/installed  ## run every card's code in the releases of transformers that docs/using.md names
	$(VENV)/bin/python tests/compatibility.py

# An environment keeps the Python that it was made with: another one's libraries beside it would break it
$(VENV)/installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --upgrade --quiet pip
	$(VENV)/bin/python -m pip install --editable ".[demo,test]"
	@touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.12 with venv found; install one (Debian: apt install python3-venv) or name it: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

clean:  ## remove the environment and what runs left behind
	rm -rf $(VENV) .compatibility site jupyter_execute runs corpora build *.egg-info
