# One entry point.  `make demo` and `make test` make the environment first, if need be.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# PyTorch is outside the lock file, since its builds differ from machine to machine; pip takes the
# one it is told of (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS).  `make test TORCH=` does without.
TORCH ?= torch==2.13.*
TORCH_STAMP := $(VENV)/.torch
# One BLAS thread: the linear algebra here is faster so, and results repeat.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help install torch demo test test-fast coverage lint types floors core docs bench validate all clean

help:
	@echo "make demo    run the main job: SGD on handwritten digits against theory -> reports/digits/"
	@echo "make test    run every test, the doctests included"
	@echo "make coverage   count how often stated intervals hold the truth, 2000 times each"
	@echo "make all     lint, types, floors, tests, docs"
	@echo "make bench   run the benchmarks and print their tables"
	@echo "make validate   reproduce published numbers, digit for digit"

install: $(STAMP)

# uv where it can be had, else pip: the same hash-checked lock file either way, and byte code, which
# pip writes unasked: where Python may not keep it, each process would compile SciPy and numba anew.
$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; then \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes \
	    -r requirements.lock && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable . ; \
	else \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --no-deps --editable . ; \
	fi
	touch $(STAMP)

ifneq ($(strip $(TORCH)),)
torch: $(TORCH_STAMP)
else
torch: install
endif

# What the lock file pins stays as it is.
$(TORCH_STAMP): $(STAMP)
	@if $(BIN)/python -m pip freeze --exclude-editable > $(VENV)/constraints.txt && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --constraint $(VENV)/constraints.txt "$(TORCH)"; \
	then touch $@; \
	else echo "torch could not be installed: its tests are skipped, and counted as skipped"; fi

demo: install
	$(BIN)/fracsde demo digits

# One process per core; a file stays in one process, which compiles its kernels once.
test: torch
	$(BIN)/python -m pytest -n auto --dist loadfile

test-fast: torch
	$(BIN)/python -m pytest -m "not slow"

# All 2000 repetitions of every row of the table of intervals, and 2000 more on fresh seeds: about
# forty minutes of one core.  `make test` repeats a quarter of them.
coverage: install
	$(BIN)/python -m pytest tests/test_coverage.py -m slow --whole -n auto --dist load

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

floors: install
	$(BIN)/lint-imports

# The README's example, as a user who installs no extra runs it.
core: install
	.ci/core

docs: torch
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: torch
	for file in benchmarks/bench_*.py; do \
	  $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; \
	done

validate: install
	$(BIN)/python -m validation.run

all: lint types floors test docs

clean:
	rm -rf $(VENV) .numba_cache docs/_build .pytest_cache .mypy_cache .ruff_cache
