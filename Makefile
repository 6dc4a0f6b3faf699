# The only door, the same for a person and for CI.
#
#   make up      a real Kubernetes with operator, gateway and the plugin hello on it
#   make test    everything that is tested
#   make help    the rest

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Caches lie outside the checkout. What cargo builds is kept by toolchain, lock file and checkout: cargo tells files of
# two checkouts apart by their times only, and would take one's code for the other's. What was not used for two weeks goes.
export KITE_CACHE ?= $(HOME)/.cache/kite
hash = $(firstword $(shell $(1) | sha256sum | cut -c1-12))
ifndef CARGO_TARGET_DIR
export CARGO_TARGET_DIR := $(KITE_CACHE)/target/$(call hash,rustc -vV)-$(call hash,cat Cargo.lock)-$(call hash,pwd)
endif
E2E := $(CARGO_TARGET_DIR)/debug/kite-e2e
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(KITE_CACHE)/cargo-deny-$(CARGO_DENY_VERSION)
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(KITE_CACHE)/cargo-fuzz-$(CARGO_FUZZ_VERSION)
# How long each decoder is fuzzed, and which.
FUZZ_SECONDS ?= 120
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/libfuzzer/fuzz_targets/*.rs)))
# How many cases schemathesis makes up for each operation of the gateway's at most, twice over.
SCHEMATHESIS_EXAMPLES ?= 150
CRATES := kite-api kite-proto kite-plugin-sdk kite-plugin kite-compile-errors kite-conformance kite-operator kite-gateway hello kite-fuzz kite-e2e
ADVISORIES := https://github.com/RustSec/advisory-db
PROTO := sdk/proto
# The protocol as it was accepted last; whatever plugins rely on in it stays.
BASELINE := sdk/proto/baseline.txtpb
# helm believes itself that it is of an older one where it renders without a cluster.
KUBERNETES_VERSION := 1.34.4

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## Build all programs
	@mkdir -p $(KITE_CACHE)/target $(CARGO_TARGET_DIR) && touch $(CARGO_TARGET_DIR)
	@find $(KITE_CACHE)/target -mindepth 1 -maxdepth 1 -mtime +14 -exec rm -rf {} +
	@cargo build --workspace --locked

.PHONY: up
up: ## Start the local cluster with operator, gateway and hello; or deploy to KITE_CONTEXT
	@began=$$(date +%s); $(MAKE) --no-print-directory build; $(E2E) up; echo "make up took $$(($$(date +%s) - began)) s"

.PHONY: down
down: ## Stop the local cluster and remove all that it left
	@[ -x $(E2E) ] || cargo build --workspace --locked
	@$(E2E) down

.PHONY: env
env: ## Print shell exports for the running cluster: eval "$$(make -s env)"
	@cargo build --workspace --locked --quiet
	@$(E2E) env

.PHONY: check
check: build ## Format, lints, generated files, file length, protocol, chart
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	cargo clippy --workspace --test "*" --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet
	cargo test --workspace --locked --quiet --test generated
	$(E2E) lengths
	$(E2E) buf lint $(PROTO)
	$(E2E) buf format --diff --exit-code $(PROTO)
	@$(E2E) buf breaking $(PROTO) --against $(BASELINE) || \
	  { echo 'what plugins rely on has changed: see "How this protocol evolves" in plugin.proto' >&2; exit 1; }
	@cmp -s <($(E2E) buf build $(PROTO) --exclude-source-info -o -#format=binpb) <($(E2E) buf build $(BASELINE) -o -#format=binpb) || \
	  { echo "$(BASELINE) is not what plugin.proto says: run \`make generate\`" >&2; exit 1; }
	$(E2E) helm lint --strict charts/kite-plugins
	$(E2E) helm template kite charts/kite-plugins --namespace default --kube-version $(KUBERNETES_VERSION) > /dev/null

.PHONY: test
test: ## Everything: check, tests, and the whole on a real cluster. ONLY=check,unit,cluster,serial FILTER=name
	@began=$$(date +%s); $(MAKE) --no-print-directory build; echo "=== built in $$(($$(date +%s) - began)) s"
	@$(E2E) test $(if $(ONLY),--only $(ONLY)) $(if $(FILTER),--filter $(FILTER))

# What is done to the operator, and how many specs a walk has.
KITE_FAULT ?= all
KITE_WALK_STEPS ?= 300
.PHONY: chaos
chaos: build ## What breaks operators: every fault at every write, and a walk through KITE_WALK_STEPS (300) specs; writes docs/evidence/chaos.md
	@KITE_FAULT="$(KITE_FAULT)" KITE_WALK_STEPS=$(KITE_WALK_STEPS) $(E2E) chaos

.PHONY: bench
bench: build ## Every figure; writes docs/evidence/bench.md, gateway.md and operator.md. ONLY=criterion,gateway,operator
	@$(E2E) bench $(if $(ONLY),--only $(ONLY))

.PHONY: generate
generate: build ## Write the generated files anew
	@$(E2E) buf breaking $(PROTO) --against $(BASELINE)
	$(E2E) buf build $(PROTO) --exclude-source-info -o $(BASELINE)
	KITE_GENERATE=1 cargo test --workspace --locked --quiet --test generated

# Programs of libFuzzer need options of the compiler that are not stable. What is found new is kept in the cache, beside what stands in
# fuzz/corpus: an input that fails is named, and one that is worth keeping is copied there by hand, minimised.
.PHONY: fuzz
fuzz: ## Fuzz each decoder for FUZZ_SECONDS (120). FUZZ_TARGETS="name name"
	cargo install --locked --quiet --root $(CARGO_FUZZ) cargo-fuzz@$(CARGO_FUZZ_VERSION)
	cp Cargo.lock fuzz/libfuzzer/Cargo.lock
	for target in $(FUZZ_TARGETS); do \
	  mkdir -p $(KITE_CACHE)/fuzz/$$target; \
	  RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)-fuzz $(CARGO_FUZZ)/bin/cargo-fuzz run --fuzz-dir fuzz/libfuzzer --sanitizer none \
	    $$target $(KITE_CACHE)/fuzz/$$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1; \
	done

.PHONY: outside
outside: ## What leaves the repository: each crate builds alone; what the compiler says of wrong uses; schemathesis at length; licences, sources and advisories
	for crate in $(CRATES); do cargo check --locked --quiet --package $$crate --target-dir $(CARGO_TARGET_DIR)-alone; done
	cargo test --locked --quiet --package kite-compile-errors --target-dir $(CARGO_TARGET_DIR)-alone --test wrong
	KITE_SCHEMATHESIS_EXAMPLES=$(SCHEMATHESIS_EXAMPLES) cargo test --workspace --locked --quiet --test forward -- --nocapture schemathesis
	cargo install --locked --quiet --root $(CARGO_DENY) cargo-deny@$(CARGO_DENY_VERSION)
	$(CARGO_DENY)/bin/cargo-deny --all-features check bans licenses sources
	@if git ls-remote --quiet --exit-code $(ADVISORIES) HEAD > /dev/null 2>&1; then \
	  $(CARGO_DENY)/bin/cargo-deny --all-features check advisories; \
	else echo "advisories: NOT CHECKED, the database at $(ADVISORIES) cannot be reached" >&2; fi
