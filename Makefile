# Everything a newcomer needs: `make demo`, `make test`. `make help` lists the rest.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
BENCH := build/bench
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help setup demo test lint typecheck format debian bench-setup quality speed test-full test-live clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

setup: $(READY)  ## a virtual environment with the package and its development tools

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is missing; give another with 'make PYTHON=python3 ...' (3.11 or newer)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	@touch $@

demo: setup  ## a spoken sentence over a simulated 1200 bit/s link with losses: demo/received.wav
	$(BIN)/python scripts/demo.py

test: setup  ## all tests
	$(BIN)/python -m pytest

lint: setup  ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

typecheck: setup  ## mypy, strict
	$(BIN)/mypy

format: setup  ## put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench-setup: $(BENCH)/.ready  ## a second environment with the quality measures

$(BENCH)/.ready: pyproject.toml constraints.txt benchmarks/no-deps.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BENCH)/bin/python -m pip install --quiet --no-deps --requirement benchmarks/no-deps.txt
	@touch $@

quality: bench-setup  ## speech quality of the codec and its peers, CLIPS=DIR: docs/quality.md
	OMP_NUM_THREADS=1 $(BENCH)/bin/python -m benchmarks.quality --docs $(if $(CLIPS),--clips $(CLIPS))

test-full: setup  ## the large codecs against their references, REFERENCE=DIR: docs/codecs.md
	LINKCODEC_REFERENCE=$(REFERENCE) $(BIN)/python -m pytest --log-cli-level=INFO tests/linkcodec/qwen12hz/test_full.py

test-live: setup  ## a call from a browser in real time, on a machine that is not busy
	LINKCODEC_LIVE=1 $(BIN)/python -m pytest tests/app/test_gateway.py

speed: bench-setup  ## time per frame of codecs: docs/speed.md
	$(BENCH)/bin/python -m benchmarks.codec_speed --docs

debian:  ## Debian packages for live sound and for the quality measures' peers
	apt-get update --quiet && apt-get install --yes --quiet $(shell sed 's/\#.*//' debian.txt)

clean:  ## remove what was built
	rm -rf $(VENV) $(BENCH) build/lib build/bdist.* dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
