# Each of these needs nothing but Python and a network: the first one sets up .venv itself.
#
#   make test                 linters, type checker, tests, doctests, README and examples
#   make test-lowest          the quick tests of what meets a dependency, with the lowest versions
#   make test-newest          the same tests with the newest versions
#   make demo                 train a small separator and write what it separates to demo-output/
#   make demo DATA=folder     the same on your own tracks; OUT=folder writes somewhere else
#   make docs                 the pages, in docs/_build/html; every example runs
#   make figures              write the measured figures into README.md and docs/measurements.md
#   make lint, make format    check the code, or reformat it
#   make clean                remove what the other targets wrote, the environments excepted
#
# PYTHON chooses the interpreter of a new environment, PYTEST_ARGS replaces the arguments of pytest:
#   make test PYTEST_ARGS="-k chunker -x"

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo-output
PYTEST_ARGS ?= -n 2 --durations=10 --cov

BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
DOCS_STAMP := $(VENV)/.stamp-docs
INSTALL := -m pip --disable-pip-version-check install -qq
CODE := sksep tests conftest.py $(wildcard examples benchmarks docs)
# Tests of what meets each dependency: its arrays, files, estimators, figures and commands.
QUICK := $(addsuffix .py,$(addprefix tests/test_, \
    accelerate baselines chunker cli composition datasets_loaders effects estimator_checks \
    griffin_lim metrics_bss_eval metrics_sdr persistence plotting_audio plotting_scores \
    plotting_spectra project search_backends spectral stems tracks unet_separator))

.PHONY: test test-lowest test-newest lint format demo docs figures clean
.DELETE_ON_ERROR:

# Two pytest workers share the cores, so each of them runs torch on one thread.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

test-lowest test-newest: test-%: .venv-%/.stamp
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest -n 2 --durations=5 -m "not slow" $(QUICK)

lint: $(STAMP)
	$(BIN)/python -m ruff check $(CODE)
	$(BIN)/python -m ruff format --check $(CODE)
	$(BIN)/python -m mypy
	$(BIN)/codespell $(CODE) $(wildcard *.md .github)
	$(BIN)/lint-imports --no-cache --no-logo

format: $(STAMP)
	$(BIN)/python -m ruff check --fix $(CODE)
	$(BIN)/python -m ruff format $(CODE)

demo: $(STAMP)
	$(BIN)/python examples/demo.py --output "$(OUT)" $(if $(DATA),--data "$(DATA)")

# The examples run side by side, one to a core.
docs: $(DOCS_STAMP)
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m sphinx -W --keep-going -n -q docs docs/_build/html
	@echo "The pages are in docs/_build/html; open index.html."

figures: $(STAMP)
	$(BIN)/python docs/measured.py --write

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable ".[docs]"
	@touch $@

# torch goes first and by its exact version, so that no other package can choose another one.
$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV); the first time this takes a few minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --constraint constraints.txt torch
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable ".[test,lint]"
	@touch $@

.venv-lowest/.stamp .venv-newest/.stamp: .venv-%/.stamp: pyproject.toml constraints-%.txt
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python $(INSTALL) --constraint constraints-$*.txt torch
	.venv-$*/bin/python $(INSTALL) --constraint constraints-$*.txt --editable ".[test]"
	@touch $@

clean:
	rm -rf demo-output build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	rm -rf docs/_build docs/_generated docs/gallery docs/api/generated
	find sksep tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
