# make app: the app on port 7860 with the bundled model.  make test: everything that is checked.
# Both make what they need on the first call (an environment in .venv, missing system packages) and little afterwards.
# pip's own settings apply: PIP_EXTRA_INDEX_URL=<PyTorch's CPU index> spares Linux the CUDA libraries.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PORT ?= 7860
BIN := .venv/bin
WEB := PATH="$(CURDIR)/$(BIN):$$PATH" .venv/web/node_modules/.bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PARTS := constraints.txt pyproject.toml

.PHONY: app test clean
.DELETE_ON_ERROR:

app: .venv/app
	$(BIN)/python app.py --model tiny --device cpu --port $(PORT) $(ARGS)

test: .venv/test .venv/web/done
	@.ci/system chromium:chromium pdftotext:poppler-utils
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(WEB)/biome check --config-path=tools/web trimviz/ui tests/lens
	$(WEB)/tsc --project tools/web/tsconfig.json
	$(BIN)/python -m pytest $(ARGS)

# What checks the scripts; node comes from PyPI, so nothing of the system's is used.
.venv/web/done: tools/web/package.json | .venv/test
	@mkdir -p .venv/web && cp $< .venv/web/
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm install --prefix .venv/web --silent --no-audit --no-fund --no-package-lock
	@touch .venv/web/done

.venv/test: $(PARTS) | .venv/torch
	@$(PIP) --editable ".[app,dev,evaluate]"
	@touch .venv/test .venv/app

.venv/app: $(PARTS) | .venv/torch
	@$(PIP) --editable ".[app]"
	@touch .venv/app

# First and alone, so that nothing else decides which torch comes.
.venv/torch: constraints.txt | .venv/pyvenv.cfg
	@echo "Installing the versions of constraints.txt into .venv; the first time this takes some minutes."
	@$(PIP) torch
	@touch .venv/torch

.venv/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "trimviz needs Python 3.11 or newer; install it, or name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/system --always python3-venv
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
