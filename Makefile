# iostrata: `make demo` shows it at work, `make test` runs every test. Both install what is missing.

# Everything that is built or fetched stays outside the checkout, so that the next checkout finds it.
export IOSTRATA_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/iostrata
export CARGO_TARGET_DIR ?= $(IOSTRATA_CACHE)/target

# One profile and the whole workspace at once, always: any other choice of features or profile compiles polars again.
CARGO_BUILD = cargo build --release --workspace --locked
PYTHON      = $(IOSTRATA_CACHE)/venv/bin/python
# Loading BPF needs root; where there is neither root nor sudo the tests that need it say so and are skipped.
SUDO        = $(if $(filter 0,$(shell id -u)),,$(shell command -v sudo))

.PHONY: help build-all setup setup-lint setup-demo setup-bench setup-soak setup-figures build demo test fuzz lint test-unit test-e2e test-kernels soak repeat bench bench-analyze bench-record bench-writeback bench-smoke docs figures
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup-lint:
	@scripts/setup.sh build test lint

setup: ## Install what building and testing need
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

test: setup lint test-unit bench-smoke test-e2e ## Run every test

lint: setup-lint ## Formatting, clippy, and what dependencies may be
	cargo fmt --all --check
	rustfmt --check --edition 2024 fuzz/src/lib.rs fuzz/targets/*.rs
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	scripts/dependencies.sh
	shellcheck -x scripts/*.sh .ci/run fuzz/rustc-wrapper tests/vm/*.sh tests/vm/*/*.sh

test-unit: setup build-all ## Tests of the crates, without privilege
	cargo test --release --workspace --locked

# With tests and their dependencies, whose features differ: so that nothing is compiled twice on the way.
build-all: setup
	$(CARGO_BUILD) --all-targets

test-e2e: setup build-all ## End-to-end tests: on this machine, and in virtual machines on older kernels
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release \
		PYTHONDONTWRITEBYTECODE=1 scripts/test-e2e.sh $(PYTHON) -m pytest -p no:cacheprovider -rs $(PYTEST_ARGS)

test-kernels: setup build-all ## Only the virtual machines: Debian's 5.10, 6.1 and 6.12
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest -p no:cacheprovider -rs tests/e2e/test_kernels.py tests/e2e/test_differential_kernels.py

repeat: setup build-all ## Run TESTS (those marked moments) TIMES times (30) beside BUSY busy processes (0): they must pass whatever else the machine does
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release \
		PYTHONDONTWRITEBYTECODE=1 scripts/repeat.sh $(or $(TIMES),30) $(or $(BUSY),0) $(PYTHON) -m pytest -p no:cacheprovider -q -x $(or $(TESTS),-m moments tests/e2e)

soak: setup-soak build-all ## The long form of what a capture must survive, and of what it is held against (about two hours)
	$(SUDO) env "PATH=$(PATH)" IOSTRATA_CACHE=$(IOSTRATA_CACHE) IOSTRATA_BIN=$(CARGO_TARGET_DIR)/release IOSTRATA_SOAK=1 \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest -p no:cacheprovider -rs -s $(PYTEST_ARGS) $(addprefix tests/e2e/,test_survive.py test_powercut.py test_disk.py test_memory.py test_processes.py test_month.py test_budget.py test_load.py test_whole.py \
		test_stressors.py soak_rings.py)

fuzz: setup build-all ## Fuzz what the analyzer reads, each of TARGETS for SECONDS (60); the long form is SECONDS=3600
	@scripts/fuzz.sh $(or $(SECONDS),60) $(TARGETS)

bench: bench-analyze bench-record bench-writeback ## All benchmarks

BENCH_ANALYZE = $(PYTHON) -B bench/analyze.py --analyze $(CARGO_TARGET_DIR)/release/iostrata-analyze \
	--generate $(CARGO_TARGET_DIR)/release/iostrata-generate --decode $(CARGO_TARGET_DIR)/release/examples/decode

bench-analyze: setup build-all ## How fast captures of 1, 10 and 100 million events are analyzed, beside DuckDB and Polars
	$(BENCH_ANALYZE) $(BENCH_ARGS)

bench-record: setup-bench build ## What recording costs, beside bpftrace and perf (about ten minutes)
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/record.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata

bench-writeback: setup-bench build ## What it costs to know whose dirty pages they are: a buffered GiB (about two minutes)
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/writeback.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata

bench-smoke: setup build-all ## Each for seconds, to see that they run
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/record.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata --smoke
	$(SUDO) env "PATH=$(PATH)" python3 -B bench/writeback.py --iostrata $(CARGO_TARGET_DIR)/release/iostrata --smoke
	$(BENCH_ANALYZE) --smoke

docs: ## Write docs/reference/schema.md and docs/reference/csv.md from the declarations
	UPDATE_DOCS=1 cargo test --release --workspace --locked --test it docs

figures: setup-figures $(if $(RESULTS),,build) ## Draw the figures of RESULTS, or of the recorded captures in tests/fixtures
	PYTHON=$(PYTHON) $(if $(RESULTS),notebooks/run $(RESULTS),scripts/figures.sh)
