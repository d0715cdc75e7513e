# Two commands do everything: `make demo` and `make test`. Each sets up what it needs first.
#
# constraints.txt pins what was tested. With a GPU, or with versions of your own, name another file:
#     make demo CONSTRAINTS=/dev/null        (the newest releases that pyproject.toml allows)

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test isa lint types slow validators docs clean

demo: $(READY)
	$(BIN)/m2diff demo --out demo

test: $(READY) lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

slow: $(READY)
	$(BIN)/python -m pytest -m slow

validators: $(READY)  # dciodvfy and the BIDS validator, for the tests that ask them
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[validators]"

docs: $(READY)  # the documentation site, in site/
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Convolutions differ from CPU to CPU: the tests that train, with oneDNN held to one set of instructions after the other.
ISAS ?= AVX2 AVX512_CORE_BF16 $(shell grep -qs amx_bf16 /proc/cpuinfo && echo AVX512_CORE_AMX)

isa: $(READY)
	for isa in $(ISAS); do \
	    echo "ONEDNN_MAX_CPU_ISA=$$isa"; \
	    ONEDNN_MAX_CPU_ISA=$$isa OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" \
	        tests/nn tests/training tests/benchmarking/test_benchmark_run.py || exit 1; \
	done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

$(READY): pyproject.toml $(wildcard $(CONSTRAINTS))
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo site .pytest_cache .mypy_cache .ruff_cache
