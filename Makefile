# Everything runs from .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that share the tests. Two, since that is what they are measured with; `make test JOBS=0` runs all in one.
JOBS ?= 2

.PHONY: play test test-slow test-avx2 check bench clean

play: $(STAMP)
	$(BIN)/nextframe play

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

# Bits may depend on the instruction set, so what holds here is also asked of the one that most laptops have (x86 only).
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2

test-avx2: $(STAMP)
	$(AVX2) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m "bitexact and not slow"

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	bash tools/lab/links.sh
	MYPYPATH=build/src $(BIN)/mypy -p nextframe

bench: $(STAMP)
	$(BIN)/nextframe bench

clean:
	rm -rf $(VENV) out build *.egg-info

# On Linux without CUDA the CPU build of torch is enough and far smaller; an installed torch is kept as it is.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check $${NEXTFRAME_TORCH:-torch==2.13.0}
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)
