# make run    serve the bundled model in the foreground; ARGS adds options, see `jaxchat serve --help`
# make test   lint, types, protocol checks, all tests and the share of lines that they run
# make exhaustive  the tests that repeat on more families, sizes and processes what make test shows on some
# make quick  lint, types and the tests of what changed, in under three minutes
# make lint   without the tests
# make sanitize  the tests of the C++ kernels with AddressSanitizer and UndefinedBehaviorSanitizer
# make proto  regenerate jaxchat/v1 from proto/
# make bench  measure beside the peers; ARGS="--install-peers" installs these first
# make clients  drive the server with other people's packages; ARGS names some, or is "--write docs/clients.md"
# make ray    serve the bundled model under Ray, on a cluster of nodes on this machine, and end processes of it
# make release  build the distributions into dist/, install them on every Python and use them; ARGS="3.12" takes one
# make docs   build the documentation site into site/; a warning is an error
# make docs-serve  serve it, and build again when a page changes
# make docs-test  build it, check its links, its code blocks and what it quotes, and run the notebooks and examples
# make aot    compile for TPUs without having one, check the programs, write docs/tpu.md; takes half an hour
# make aot-gpu  the same for an H200, without a document

# A command, or a series such as 3.12; empty means the newest supported Python that runs here.
PYTHON ?=
VENV ?= .venv
GRPC_PORT ?= 50051
REST_PORT ?= 8000
ARGS ?=
BUF_VERSION := 1.75.0
BUF := .npm/node_modules/.bin/buf
BIN := $(VENV)/bin
DOCS_PORT ?= 8080
AOT_VENV ?= .venv-aot
GPU_VENV ?= .venv-gpu
RAY_VENV ?= .venv-ray
VLLM_VERSION := 0.29.0

# Two workers: much of a test is start-up or waiting, on one core.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder
PINS := pyproject.toml $(wildcard constraints/*.txt)

.PHONY: run test exhaustive quick lint buf pytest sanitize proto baseline bench clients ray aot aot-gpu clean venv
.PHONY: docs docs-serve docs-test release aot-venv gpu-venv

# Runs every time, so that PYTHON is compared with an environment that is there already.
venv:
	@tools/environment.sh check $(VENV) $(PYTHON)

# Stamps: installing again is quick to skip.
$(VENV)/.run-stamp: $(PINS) | venv
	tools/environment.sh install $(VENV) --editable .
	touch $@

$(VENV)/.dev-stamp: $(PINS) | venv
	tools/environment.sh install $(VENV) --editable '.[dev]'
	touch $@ $(VENV)/.docs-stamp $(VENV)/.run-stamp

$(VENV)/.docs-stamp: $(PINS) | venv
	tools/environment.sh install $(VENV) --editable '.[docs]'
	touch $@ $(VENV)/.run-stamp

# `exec`: signals reach the server itself, and make leaves no orphan.
run: $(VENV)/.run-stamp
	@exec $(BIN)/jaxchat serve --grpc-port $(GRPC_PORT) --rest-port $(REST_PORT) $(ARGS)

test: lint pytest

exhaustive: $(VENV)/.dev-stamp
	$(BIN)/python -m pytest -m exhaustive $(PARALLEL)

quick: lint
	$(BIN)/python -m tools.quick

lint: $(VENV)/.dev-stamp buf
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Lines are counted from Python 3.12 on, where that is cheap (`core` in pyproject.toml).
pytest: $(VENV)/.dev-stamp
	@rm -f .coverage
	@cover=$$($(BIN)/python -c 'import sys; print("--cov --cov-report=" if sys.version_info >= (3, 12) else "")') && \
	  set -x && $(BIN)/python -m pytest -m "not exhaustive" $(PARALLEL) $$cover
	@if [ -f .coverage ]; then \
	  echo "lines of jaxchat and serving that the tests run: $$($(BIN)/coverage report --format=total) %"; \
	fi

sanitize: $(VENV)/.dev-stamp
	$(BIN)/python -m tools.sanitize

$(BUF):
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-fund --no-audit --prefix .npm @bufbuild/buf@$(BUF_VERSION); \
	else \
	  echo "SKIPPED: buf lint and breaking (npm is not installed)"; \
	fi

# Against the protocol as last released: `make baseline` moves it on, on purpose only.
buf: $(BUF)
	@if [ -x $(BUF) ]; then \
	  $(BUF) lint && $(BUF) breaking --against proto/baseline.binpb && echo "buf: protocol is clean"; \
	fi

baseline: $(BUF)
	$(BUF) build -o proto/baseline.binpb

proto: $(VENV)/.dev-stamp
	$(BIN)/python -m tools.proto

bench: $(VENV)/.dev-stamp
	$(BIN)/python -m tools.bench $(ARGS)

# Clients are installed into separate environments in .clients/.
clients: $(VENV)/.dev-stamp
	$(BIN)/python -m tools.clients $(ARGS)

# The variable hides an advertisement for another program.
docs: $(VENV)/.docs-stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.docs-stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr localhost:$(DOCS_PORT)

docs-test: $(VENV)/.dev-stamp
	$(BIN)/python -m pytest tests/test_docs.py tests/test_extending.py tests/test_notebooks.py tests/examples tests/tools/docs

release: $(VENV)/.dev-stamp
	$(BIN)/python -m tools.release $(ARGS)

# Ray Serve LLM needs vLLM's classes of requests, and nothing else of vLLM.
$(RAY_VENV)/.stamp: $(PINS) tools/ray_requirements.txt
	tools/environment.sh check $(RAY_VENV) $(PYTHON)
	tools/environment.sh install $(RAY_VENV) --editable . --requirement tools/ray_requirements.txt
	tools/environment.sh install $(RAY_VENV) --no-deps vllm==$(VLLM_VERSION)
	touch $@

# One process, a group of two, and the same without Ray's ingress.
ray: $(RAY_VENV)/.stamp
	$(RAY_VENV)/bin/python -m tools.ray_cluster --processes 1 $(ARGS)
	$(RAY_VENV)/bin/python -m tools.ray_cluster --processes 2 $(ARGS)
	RAY_SERVE_ENABLE_HA_PROXY=1 RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING=1 \
	  $(RAY_VENV)/bin/python -m tools.ray_cluster --processes 1 $(ARGS)

# The TPU compiler (half a gigabyte) in an environment of its own, for the same jax. It must not look for TPUs.
$(AOT_VENV)/.stamp: $(PINS) | aot-venv
	tools/environment.sh install $(AOT_VENV) --editable '.[tpu-fast]'
	touch $@

# Every time, as `venv`: PYTHON decides which jax compiles.
aot-venv:
	@tools/environment.sh check $(AOT_VENV) $(PYTHON)

aot: $(AOT_VENV)/.stamp
	JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 ALLOW_MULTIPLE_LIBTPU_LOAD=1 \
	  $(AOT_VENV)/bin/python -m tools.aot --write docs/tpu.md $(ARGS)

# The same for an H200, with the CUDA libraries (4.6 GB) in place of one.
$(GPU_VENV)/.stamp: $(PINS) | gpu-venv
	tools/environment.sh install $(GPU_VENV) --editable '.[cuda13]'
	touch $@

gpu-venv:
	@tools/environment.sh check $(GPU_VENV) $(PYTHON)

aot-gpu: $(GPU_VENV)/.stamp
	LD_LIBRARY_PATH=$$(printf '%s:' $(CURDIR)/$(GPU_VENV)/lib/python3*/site-packages/nvidia/*/lib) \
	  JAX_PLATFORMS=cpu $(GPU_VENV)/bin/python -m tools.aot.gpu $(ARGS)

clean:
	rm -rf build dist site *.egg-info .clients .npm .pytest_cache .pytest_home .mypy_cache .ruff_cache .hypothesis .coverage
