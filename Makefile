# Targets for people; each builds the .venv it needs (torch first, so that no other package chooses one).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SPEECH ?=
OUT ?= runs/demo

.PHONY: demo test test-slow check docs loss-check clean

demo: .venv/demo.stamp
	$(BIN)/wav2vec2 demo --out $(OUT) $(if $(SPEECH),--speech $(SPEECH))

# Hundreds of tests start the commands as people do: without stored bytecode each process compiles the package again.
unexport PYTHONDONTWRITEBYTECODE

# Each process gets one half of the tests and takes from the other's when it is done: what a file prepares for all its
# tests (models, servers) is prepared once, and neither core waits at the end.
test: export OMP_NUM_THREADS = 1
test: .venv/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m "not slow"

test-slow: export OMP_NUM_THREADS = 1
test-slow: .venv/dev.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal -q -m slow

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

# The site, in site/: open site/index.html. A broken link, page or reference stops it.
docs: export OMP_NUM_THREADS = 1
docs: .venv/dev.stamp
	$(BIN)/python -m zensical build --strict --clean

loss-check: .venv/dev.stamp
	$(BIN)/python scripts/loss_check.py

clean:
	rm -rf .venv runs build dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -exec rm -rf {} +

.venv/torch.stamp:
	@test -n "$(PYTHON)" || { echo "needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q torch==2.13.0
	touch $@

.venv/demo.stamp: .venv/torch.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[demo]'
	touch $@

.venv/dev.stamp: .venv/torch.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@ .venv/demo.stamp
