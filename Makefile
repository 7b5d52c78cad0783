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

.PHONY: app bench test results clean
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

# make results: the paper's experiments in small, on N held-out questions for the bundled model, into docs/results.
# It goes on where it was stopped; `rm -r runs/results` starts anew. MI: questions for mutual information, which is slow.
N ?= 300
MI ?= 60
PROCESSES ?= 2
EXPERIMENTS := methods ablations alignment diversity first-stage
ask = OMP_NUM_THREADS=1 $(BIN)/accelerate launch --multi_gpu --num_machines 1 --num_processes $(PROCESSES) \
	--mixed_precision no --dynamo_backend no -m trimviz evaluate --data tiny --limit 32 --n $(2) --out runs/results/$(1)
ALL = $(shell $(BIN)/trimviz methods --json | $(BIN)/python -c 'import json, sys; print(*[m["key"] for m in json.load(sys.stdin)])')

results: .venv/test
	$(call ask,methods,$(N)) --keep 192,128,64,32 $(ALL:%=--method %)
	$(call ask,ablations,$(N)) --keep 64 --method trimtokenator:stages=swapped --method trimtokenator:stages=alignment \
		--method trimtokenator:stages=diversity --method trimtokenator
	$(call ask,alignment,$(MI)) --keep 64 --method trimtokenator:align=mi --method trimtokenator \
		--method trimtokenator:align=cos
	$(call ask,diversity,$(N)) --keep 64 --method trimtokenator:diversity=l2 --method trimtokenator
	$(call ask,first-stage,$(N)) --keep 192,128,64,32 --method trimtokenator --n1 0.9,0.8,0.75,0.7
	for name in $(EXPERIMENTS); do mkdir -p docs/results/$$name && \
		cp runs/results/$$name/settings.json runs/results/$$name/summary.csv runs/results/$$name/tables.* docs/results/$$name; done
	cp runs/results/methods/report.html docs/results/methods
	{ cat docs/results/about.md; for name in $(EXPERIMENTS); do \
		printf '\n## %s\n\n' $$name; cat docs/results/$$name/tables.md; done; } > docs/results/README.md

# What checks the scripts; node comes from PyPI, so nothing of the system's is used.
.venv/web/done: tools/web/package.json | .venv/test
	@mkdir -p .venv/web && cp $< .venv/web/
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm install --prefix .venv/web --silent --no-audit --no-fund --no-package-lock
	@touch .venv/web/done

# Measures one model anew and writes docs/performance.md, from it and what was kept; on cores with nothing else to do.
# On a GPU: make bench BENCH_MODEL=random:llava-next-7b BENCH_NAME=h100; results of several machines stand together.
BENCH_MODEL ?= random:mid
BENCH_NAME ?= cpu
RESULTS := docs/results-bench
BENCH = $(BIN)/python -m trimviz bench

bench: .venv/test
	@mkdir -p $(RESULTS)
	$(BENCH) engine --model $(BENCH_MODEL) --tokens 16 --rounds 5 --json > $(RESULTS)/$(BENCH_NAME)-engine.json
	$(BENCH) select --json > $(RESULTS)/$(BENCH_NAME)-select.json
	$(BENCH) table --json > $(RESULTS)/$(BENCH_NAME)-table.json
	$(BENCH) pair --model $(BENCH_MODEL) --json > $(RESULTS)/$(BENCH_NAME)-pair.json
	$(BENCH) latency --model $(BENCH_MODEL) --json > $(RESULTS)/$(BENCH_NAME)-latency.json
	$(BENCH) memory --model $(BENCH_MODEL) --json > $(RESULTS)/$(BENCH_NAME)-memory.json
	$(BENCH) cost --model $(BENCH_MODEL) --json > $(RESULTS)/$(BENCH_NAME)-cost.json
	$(BENCH) app --json > $(RESULTS)/$(BENCH_NAME)-app.json
	$(BENCH) report $(RESULTS)/*.json --out docs/performance.md

.venv/test: $(PARTS) | .venv/torch
	@$(PIP) --editable ".[app,dev,evaluate,lmms]"
	@$(PIP) --no-deps lmms-eval
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
