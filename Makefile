# Every chore is one command: `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install quickstart quickstart-down test test-fast test-slow lint format generate check-generated lock \
        bench bench-quality bench-search bench-facets bench-buckets bench-http bench-decode bench-ingest bench-ingest-ray bench-listing bench-memory bench-attack \
        bench-duplicates bench-duplicate-keypoints bench-duplicate-scans bench-duplicates-scale bench-operator bench-frames kill-ingestion kill-scans train-demo-model train-demo-languages \
        cluster cluster-down e2e e2e-kind e2e-cluster clean

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8000
COUNT  ?= 2000
TEST_PROCESSES ?= 2
# Where the quickstart keeps its server's files; the catalogue lies beside the YAML that names it.
QUICKSTART_DATA ?= .lookalike
CATALOGUE       := examples/catalogue

help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Install Lookalike and its tools into .venv, versions as locked

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Lookalike needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "Could not make a virtual environment: on Debian or Ubuntu, apt install python3-venv"; exit 1; }
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip -q 2>/dev/null; \
	  $(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install -q "$$(grep -oE '^uv==[0-9.]+' requirements.lock)"
	$(BIN)/python -m uv pip sync -q --python $(BIN)/python requirements.lock
	$(BIN)/python -m uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

quickstart: install ## Start everything on this machine, index a demo catalogue, answer three queries
	@bash examples/quickstart.sh "$(BIN)" "$(CATALOGUE)" "$(QUICKSTART_DATA)" "$(PORT)" "$(COUNT)"

quickstart-down: install ## Stop what `make quickstart` left running
	$(BIN)/lookalike down --data-dir $(QUICKSTART_DATA)

test: install ## Run all tests, in two processes side by side (TEST_PROCESSES=0: in one)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) $(PYTEST_ARGS)

SLOW := ray or browser or slow or apiserver
# Each process collects for itself: of all files, that takes it half a minute.
SLOW_FILES = $(shell grep -rlE 'mark\.(ray|browser|slow|apiserver)\b' tests --include='test_*.py' | sort)

test-fast: install ## Run the tests that start neither Ray, nor a browser, nor an API server
	$(BIN)/python -m pytest -m "not ($(SLOW))" $(PYTEST_ARGS)

test-slow: install ## Run the others, in two processes side by side
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "$(SLOW)" $(SLOW_FILES) $(PYTEST_ARGS)

lint: install ## Style, types, import contracts, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory check-generated

format: install ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: install ## Write the CRDs and the field reference from the types
	$(BIN)/python -m lookalike_crds.generate

check-generated: install
	$(BIN)/python -m lookalike_crds.generate --check

lock: ## Resolve requirements.lock anew
	$(BIN)/python -m uv pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --quiet --custom-compile-command "make lock" -o requirements.lock

cluster: install ## Bring up a real one-node Kubernetes (as root on Debian; no Docker needed)
	$(BIN)/python -m e2e.cluster up

cluster-down: install ## Take it down; nothing stays but the cache of what was built
	$(BIN)/python -m e2e.cluster down

e2e: install ## The end-to-end tests on that node
	$(BIN)/python -m pytest e2e -m "node or apiserver" $(PYTEST_ARGS)

e2e-kind: install ## The same on kind (needs Docker, kind, kubectl, Helm): builds, loads, tests, deletes
	@bash e2e/kind.sh

e2e-cluster: install ## The same on any cluster: make e2e-cluster KUBECONFIG=… OPERATOR_IMAGE=… SERVING_IMAGE=…
	@test -n "$(KUBECONFIG)" -a -n "$(OPERATOR_IMAGE)" -a -n "$(SERVING_IMAGE)" \
	  || { echo "Say which cluster, and which images it can pull: make e2e-cluster KUBECONFIG=… OPERATOR_IMAGE=… SERVING_IMAGE=…"; exit 1; }
	LOOKALIKE_E2E_KUBECONFIG="$(KUBECONFIG)" LOOKALIKE_E2E_OPERATOR_IMAGE="$(OPERATOR_IMAGE)" \
	  LOOKALIKE_E2E_SERVING_IMAGE="$(SERVING_IMAGE)" $(BIN)/python -m pytest e2e/tests -m node $(PYTEST_ARGS)

bench: bench-quality bench-search bench-facets bench-http bench-ingest bench-memory ## Run every benchmark

bench-quality: install ## Retrieval quality of the demo model on held-out products, beside baselines
	$(BIN)/python bench/quality.py

bench-search: install ## The index beside the bare engine and exact search: 100k and 1M vectors
	$(BIN)/python bench/search.py --million

bench-facets: install ## Facets of 100k documents beside the bare engine's own calls
	$(BIN)/python bench/facets.py

bench-buckets: install ## Clients of buckets side by side: listing and fetching
	$(BIN)/python bench/buckets.py
	$(BIN)/python bench/service_listings.py

BENCH_PEERS := build/bench-peers
# mate-backgrounds: apt install mate-backgrounds, or --photographs FOLDER. imagehash is a peer only.
bench-duplicates: install ## Copies of photographs: recall of each edit, false verdicts, beside peers
	@test -d $(BENCH_PEERS) || $(BIN)/python -m uv pip install -q --target $(BENCH_PEERS) --no-deps imagehash PyWavelets
	PYTHONPATH=$(BENCH_PEERS) $(BIN)/python bench/duplicates.py $(BENCH_ARGS)

bench-duplicate-keypoints: install ## SIFT and ORB for finding copies: recall and processor time of each
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python bench/duplicate_keypoints.py $(BENCH_ARGS)

bench-duplicates-scale: install ## Hash joins and scans of many documents
	PYTHONPATH=. $(BIN)/python bench/duplicates_scale.py $(BENCH_ARGS)

bench-duplicate-scans: install ## A scan for duplicates beside preparing its pictures; copies found
	PYTHONPATH=. $(BIN)/python bench/duplicate_scans.py $(BENCH_ARGS)

bench-http: install ## An HTTP query beside the same work called in a loop, and beside other servers
	$(BIN)/python bench/http_overhead.py
	$(BIN)/python bench/http_peers.py $(BENCH_ARGS)

bench-decode: install ## Decoding for a model: images/s of a core, and how near scaled pictures are
	$(BIN)/python bench/decode.py

bench-ingest: install ## Ingestion beside its ideal rate
	$(BIN)/python bench/ingest.py

bench-ingest-ray: install ## Ingestion on Ray beside a Job, and how many cores feed one GPU
	$(BIN)/python bench/ingest_ray.py

kill-ingestion: install ## Kill ingestion 100 times, and read 1,000 damaged files (seeded; long)
	LOOKALIKE_KILLS=100 LOOKALIKE_MUTANTS=1000 LOOKALIKE_AWAY=60 $(BIN)/pytest -q \
	  tests/ingest/test_kills.py tests/ingest/test_faulty_buckets.py tests/ingest/test_shared_listing.py

kill-scans: install ## Kill a duplicate scan at KILLS random moments (50)
	LOOKALIKE_SCAN_KILLS=$(or $(KILLS),50) $(BIN)/pytest -q tests/scans/test_scan.py -k killed

bench-listing: install ## A rerun over unchanged keys by 1, 2, 4 pods (KEYS="1000000" for more of them)
	$(BIN)/python bench/listing.py $(if $(KEYS),--keys $(KEYS))

bench-memory: install ## The memory of a serving pod, process by process (Linux)
	$(BIN)/python bench/memory.py

bench-attack: install ## Ordinary queries beside image bombs, half-sent headers and slow bodies (Linux)
	$(BIN)/python bench/attack.py

bench-frames: install ## How smoothly the page scrolls through 1,000 pictures (needs Chromium)
	$(BIN)/python bench/frames.py

bench-operator: install ## 1,000 collections and 1,000 retrievers on a real API server
	$(BIN)/python bench/reconcile.py

train-demo-model: install ## Train the bundled demo model from nothing, in English and then in the other languages
	$(BIN)/python bench/train_demo_model.py
	$(BIN)/python bench/train_demo_languages.py

train-demo-languages: install ## Teach the bundled demo model the words of five languages again
	$(BIN)/python bench/train_demo_languages.py

clean: ## Remove what was built here (not the catalogue or the data)
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
