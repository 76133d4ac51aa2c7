# One entry point.  `make demo` and `make test` make the environment first, if need be.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One BLAS thread: the linear algebra here is faster so, and results repeat.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help install demo test test-fast lint types floors docs bench validate all clean

help:
	@echo "make demo    run the main job: SGD on handwritten digits against theory -> reports/digits/"
	@echo "make test    run every test, the doctests included"
	@echo "make all     lint, types, floors, tests, docs"
	@echo "make bench   run the benchmarks and print their tables"
	@echo "make validate   reproduce published numbers, digit for digit"

install: $(STAMP)

# uv where it can be had, else pip: the same hash-checked lock file either way.
$(STAMP): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; then \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable . ; \
	else \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --no-deps --editable . ; \
	fi
	touch $(STAMP)

demo: install
	$(BIN)/fracsde demo digits

# One process per core; a file stays in one process, which compiles its kernels once.
test: install
	$(BIN)/python -m pytest -n auto --dist loadfile

test-fast: install
	$(BIN)/python -m pytest -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

floors: install
	$(BIN)/lint-imports

docs: install
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: install
	for file in benchmarks/bench_*.py; do \
	  $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; \
	done

validate: install
	$(BIN)/python -m validation.run

all: lint types floors test docs

clean:
	rm -rf $(VENV) .numba_cache docs/_build .pytest_cache .mypy_cache .ruff_cache
