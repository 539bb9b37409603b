# iostrata: `make demo` records and analyzes a sample workload, `make test` runs every test. Both install missing packages.

# Build products and downloads stay outside the checkout, so that other checkouts reuse them.
export IOSTRATA_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/iostrata
export CARGO_TARGET_DIR ?= $(IOSTRATA_CACHE)/target

# Always one profile and the whole workspace: any other choice of features or profile compiles polars again.
CARGO_BUILD = cargo build --release --workspace --locked
PYTHON      = $(IOSTRATA_CACHE)/venv/bin/python
# Loading BPF needs root; without root and sudo the tests that need it are skipped with that reason.
SUDO        = $(if $(filter 0,$(shell id -u)),,$(shell command -v sudo))

.PHONY: help build-all setup setup-lint setup-demo setup-bench setup-soak setup-figures build demo test fuzz lint test-unit test-extending test-e2e test-kernels soak repeat bench bench-analyze bench-record bench-writeback bench-smoke docs figures
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup-lint:
	@scripts/setup.sh build test lint

setup: ## Install the packages for building and testing
	@scripts/setup.sh build test

setup-demo:
	@scripts/setup.sh build

setup-figures:
	@scripts/setup.sh figures

setup-bench:
	@scripts/setup.sh build bench

setup-soak:
	@scripts/setup.sh build test soak

build: setup-demo ## Build both programs
	$(CARGO_BUILD)

demo: build ## Record a small workload on a loop device and print its summary
	@scripts/demo.sh

test: setup lint test-unit test-extending bench-smoke test-e2e ## Run every test

lint: setup-lint ## Check formatting, clippy, shell scripts and dependencies
	cargo fmt --all --check
	rustfmt --check --edition 2024 fuzz/src/lib.rs fuzz/targets/*.rs
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	scripts/dependencies.sh
	shellcheck -x scripts/*.sh .ci/run fuzz/rustc-wrapper tests/vm/*.sh tests/vm/*/*.sh

test-unit: setup build-all ## Run the tests of the crates, without privileges
	cargo test --release --workspace --locked

test-extending: setup build-all ## Apply, build and test the example patches of docs/extending.md
	SUDO="$(SUDO)" PYTHON="$(PYTHON)" scripts/extending.sh

# With tests: the features of their dependencies differ, and a separate build would compile these twice.
build-all: setup
	$(CARGO_BUILD) --all-targets

test-e2e: setup build-all ## Run the end-to-end tests on this machine and in virtual machines with older kernels
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release \
		PYTHONDONTWRITEBYTECODE=1 scripts/test-e2e.sh $(PYTHON) -m pytest -p no:cacheprovider -rs $(PYTEST_ARGS)

test-kernels: setup build-all ## Run only the tests in virtual machines: Debian kernels 5.10, 6.1 and 6.12
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest -p no:cacheprovider -rs tests/e2e/test_kernels.py tests/e2e/test_differential_kernels.py

repeat: setup build-all ## Run TESTS (default: marked moments) TIMES times (30) with BUSY busy processes (0): they must pass under any load
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release \
		PYTHONDONTWRITEBYTECODE=1 scripts/repeat.sh $(or $(TIMES),30) $(or $(BUSY),0) $(PYTHON) -m pytest -p no:cacheprovider -q -x $(or $(TESTS),-m moments tests/e2e)

soak: setup-soak build-all ## Run the long form of the crash, resource, load and reference tests (about two hours)
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release IOSTRATA_SOAK=1 \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest -p no:cacheprovider -rs -s $(PYTEST_ARGS) $(addprefix tests/e2e/,test_survive.py test_powercut.py test_disk.py test_memory.py test_processes.py test_month.py test_budget.py test_load.py test_whole.py \
		test_stressors.py soak_rings.py)

fuzz: setup build-all ## Fuzz the inputs of the analyzer, each of TARGETS for SECONDS (60); the long form is SECONDS=3600
	@scripts/fuzz.sh $(or $(SECONDS),60) $(TARGETS)

bench: bench-analyze bench-record bench-writeback ## Run all benchmarks

BENCH_ANALYZE = $(PYTHON) -B bench/analyze.py --analyze $(CARGO_TARGET_DIR)/release/iostrata-analyze \
	--generate $(CARGO_TARGET_DIR)/release/iostrata-generate --decode $(CARGO_TARGET_DIR)/release/examples/decode

bench-analyze: setup build-all ## Measure the analysis of 1, 10 and 100 million events, compared with DuckDB and Polars
	$(BENCH_ANALYZE) $(BENCH_ARGS)

bench-record: setup-bench build ## Measure the recording overhead, compared with bpftrace and perf (about ten minutes)
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/record.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata

bench-writeback: setup-bench build ## Measure the overhead of dirty page attribution, for a buffered write of 1 GiB (about two minutes)
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/writeback.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata

bench-smoke: setup build-all ## Run each benchmark for a few seconds, as a functional test
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/record.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata --smoke
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/writeback.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata --smoke
	$(BENCH_ANALYZE) --smoke

docs: ## Generate docs/reference/schema.md and docs/reference/csv.md from the declarations
	UPDATE_DOCS=1 cargo test --release --workspace --locked --test it docs

figures: setup-figures $(if $(RESULTS),,build) ## Draw the figures of RESULTS, or of the recorded captures in tests/fixtures
	PYTHON=$(PYTHON) $(if $(RESULTS),notebooks/run $(RESULTS),scripts/figures.sh)
