# `make demo` and `make test` do all set-up; stamps inside .venv let them start at once from then on.
# Written for GNU make 3.81 (macOS) and later, and for the tools of Linux and BSD alike.

PYTHON ?=
PYTEST_FLAGS ?= -n auto --maxprocesses=4
DOCTOR_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := python -m pip --disable-pip-version-check
MATHJAX := book/node_modules/.package-lock.json
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

unexport PYTHONPATH PYTHONHOME  # they would mix other packages into .venv
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format docs claims nightly figures book doctor-bench constraints clean

help:  ## list what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/with-all  ## set up, and compare batch, mini-batch and stochastic gradient descent
	$(BIN)/descend compare

test: lint $(MATHJAX)  ## set up, and run everything that CI runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/with-dev  ## the part of the tests that runs nothing: style, types, import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/with-dev  ## bring every file into the style that lint asks for
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/with-all  ## write docs/problems.md, with what the doctor says of a sick run of each problem
	$(BIN)/descend list checks --markdown --examples > docs/problems.md

doctor-bench: $(VENV)/with-dev  ## train runs with and without bugs, and count how often the doctor is right
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.doctor $(DOCTOR_FLAGS)

claims: $(VENV)/with-dev  ## measure the numbers of the book, all but the slow ones, and compare with their bands
	OMP_NUM_THREADS=1 $(BIN)/python -m book claims

nightly: $(VENV)/with-dev  ## measure the slow claims of the book too, the doctor's corpus among them
	OMP_NUM_THREADS=1 $(BIN)/python -m book claims --slow

figures: $(VENV)/with-dev  ## draw the figures of the book again
	OMP_NUM_THREADS=1 $(BIN)/python -m book figures

book: $(VENV)/with-book $(MATHJAX)  ## build the site of the course, with every chapter executed, and check its links
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -c book -b html -q -j auto -W --keep-going . build/book
	$(BIN)/python -m book.links build/book
	$(BIN)/python -m book.browser build/book
	@echo "Open build/book/index.html"

constraints: $(BIN)/python  ## renew constraints.txt with the newest versions that go together
	$(BIN)/python -m venv --clear $(VENV)/fresh
	$(VENV)/fresh/bin/$(PIP) install '.[dev]'
	{ echo '# Versions tested together, renewed by "make constraints": no addresses, nothing for one platform only.'; \
	  $(VENV)/fresh/bin/$(PIP) freeze --all --exclude descend --exclude pip \
	  | sed -e 's/+.*//' -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton/d'; } > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt
	rm -r $(VENV)/fresh

clean:  ## remove .venv and whatever else can be made again; runs are kept
	rm -rf $(VENV) build book/node_modules docs/reference
	rm -rf dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/with-%: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/$(PIP) install --editable '.[$*]' --constraint constraints.txt
	@touch $@

$(MATHJAX): book/package-lock.json  # stands after what installs npm into .venv
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix book --ignore-scripts --no-audit --no-fund
	@touch $@

$(BIN)/python:
	@for python in $(PYTHONS); do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "descend needs Python 3.11 or later, which was not found as: $(PYTHONS)." >&2; \
	    echo "Install it, or say where it is: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python" >&2; \
	    exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip' 2>/dev/null; then \
	    $(call debian,`$$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'`); \
	fi; \
	$$python -m venv --clear $(VENV)

# Shell commands that install Debian packages, as root or by sudo, or say why they cannot.
debian = \
	as_root=; if [ `id -u` -ne 0 ]; then as_root=sudo; fi; \
	if ! command -v apt-get >/dev/null || ! command -v $${as_root:-true} >/dev/null; then \
	    echo "Missing:" $(1) "- install it with your package manager, then run make again." >&2; \
	    exit 1; \
	fi; \
	echo "Installing with apt-get:" $(1); \
	$$as_root apt-get update --quiet && $$as_root apt-get install --yes --no-install-recommends $(1) || exit 1
