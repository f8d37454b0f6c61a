# Everything runs from .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that share the tests. Two, since that is what they are measured with; `make test JOBS=0` runs all in one.
JOBS ?= 2

.PHONY: play test test-slow check bench clean

play: $(STAMP)
	$(BIN)/nextframe play

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

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
