# Two commands are all the set-up there is: `make run` and `make test`. `make help` lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
READY := .venv/.ready
LOCK := $(UV) pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url --no-header --no-annotate

WORKERS := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: run test test-all check setup lock bench clean help

run: setup  ## the main job on the embedded images: data to promoted model
	@$(BIN)/rootstock run

test: setup  ## the test suite, on two cores
	@$(BIN)/pytest $(WORKERS)

test-all: setup  ## the same and the tests that take many minutes
	@$(BIN)/pytest $(WORKERS) -m ""

check: setup  ## formatting, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

setup: $(READY)  ## .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}: make setup PYTHON=/path/to/python3.11")'
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "Not a git repository: lineage needs one. Clone the project, or run 'git init' here."; exit 2; }
	@echo "Setting up .venv (about 7 GB with the CUDA libraries; minutes the first time)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@test -x $(UV) || $(BIN)/python -m pip install -q --disable-pip-version-check uv
	@echo "  packages: downloading what uv has not cached, linking, compiling (silent)"
	@VIRTUAL_ENV=.venv $(UV) pip sync -q --require-hashes --compile-bytecode requirements.lock
	@VIRTUAL_ENV=.venv $(UV) pip install -q --no-deps --no-build-isolation -e .
	@echo "  done"
	@touch $(READY)

bench: setup  ## training side by side with lightly (in .venv/bench and nowhere else); CASES="resnet18-64 …" picks rows
	@$(UV) pip install -q --python $(BIN)/python --no-deps --require-hashes --target .venv/bench -r benchmarks/requirements.lock
	@PYTHONPATH=.venv/bench $(BIN)/python -m benchmarks.throughput $(addprefix --case ,$(CASES))

lock:  ## resolve requirements.lock anew from pyproject.toml
	@test -x $(UV) || { "$(PYTHON)" -m venv .venv && $(BIN)/python -m pip install -q uv; }
	@$(LOCK) --upgrade --group dev --extra s3 --extra postgres --extra export --extra sweep pyproject.toml -o requirements.lock

clean:  ## delete everything a run made, keep the environment and files of your own
	@test -x $(BIN)/python || { echo "No .venv: 'make setup' first; what runs made is found by it."; exit 2; }
	@$(BIN)/python -m flows.project.cleaning

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10
