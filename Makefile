# connage: build, try, test. `make` alone says what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
MODULE := target/release/libconnage.so
FAULTY := target/test-faults/release/libconnage.so
SOURCES := $(shell find src -name '*.rs') Cargo.toml Cargo.lock

.PHONY: help run test lint bench bench-quick soak upstream fuzz build servers unit e2e python clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## set up, build, start a server with the module, and show it evicting a connection
	@scripts/servers.sh redis-7.0
	@scripts/demo.sh

test: build $(FAULTY) servers ## set up, and run all tests: the engine, end to end on every server, the Python client
	@scripts/setup.sh test
	$(MAKE) --no-print-directory unit e2e python

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

unit: ## the engine alone
	cargo test --locked --lib

e2e: ## the module in real servers
	cargo test --locked --release --test e2e

lint: ## formatting, clippy, shell scripts
	@scripts/setup.sh build
	cargo fmt --all --check
	cargo clippy --locked --all-targets --all-features -- -D warnings

clean: ## remove what was built and fetched
	cargo clean
	rm -rf .servers
