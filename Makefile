# The commands that people run. They use .venv if it is there, else the Python that is active.
BIN := $(if $(wildcard .venv/bin/python),.venv/bin/,)

.PHONY: setup test slow lint tables docs

setup:  ## a virtual environment with everything that the tests need
	python3 -m venv .venv
	.venv/bin/pip install -e ".[dev]"

test:  ## the tests, a few minutes on two cores
	$(BIN)pytest

slow:  ## the long tests, which train for minutes each
	$(BIN)pytest -m slow

lint:  ## format the code, then check style, types, and which room imports which
	$(BIN)ruff format
	$(BIN)ruff check
	$(BIN)mypy
	$(BIN)python tools/architecture.py --check

tables:  ## tables, numbers, the notebook and the picture of the rooms, made anew from their sources
	$(BIN)python tools/results.py --write
	$(BIN)python tools/notebook.py --write
	$(BIN)python tools/architecture.py --write

docs:  ## the documentation as a site in site/, built strictly; needs pip install -e ".[docs]"
	$(BIN)python tools/documentation.py
