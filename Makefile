# The few verbs of this project. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
TOOLS := .cache/tools
CHART := charts/countersign
CARGO ?= cargo
# The pinned compiler may be there under the name `stable`: then nothing has to be fetched.
PINNED := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
export RUSTUP_TOOLCHAIN := $(shell ! rustup toolchain list 2>/dev/null | grep -q '^$(PINNED)' \
  && rustc +stable --version 2>/dev/null | grep -q ' $(PINNED) ' && echo stable || echo $(PINNED))

.PHONY: help
help: ## list the verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1|\2/' | column -t -s '|'

.PHONY: demo
demo: ## the whole life of a client before your eyes; needs only Rust and a C compiler
	@$(CARGO) run --quiet -- demo

.PHONY: test
test: tools lint unit it gateway chart ## everything: set-up, lint, unit tests, integration tests, gateways, the chart, and stories on real pods where they can run
	@if [ -n "$(E2E_KUBECONFIG)" ] || tests/cluster/cluster.sh possible; then $(MAKE) --no-print-directory e2e; \
	else echo "LEFT OUT: make e2e, the stories on real pods; run it as root, or name a cluster in E2E_KUBECONFIG" >&2; fi

.PHONY: tools
tools: ## install what the tests need into a cache outside the clone
	@tests/setup.sh

.PHONY: lint
lint: lint-deps ## formatting, clippy, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings

.PHONY: lint-deps
lint-deps: tools ## licences, sources and duplicates of the dependencies
	$(TOOLS)/cargo-deny --workspace --log-level error check bans licenses sources

.PHONY: unit
unit: tools ## unit and property tests
	$(TOOLS)/cargo-nextest nextest run --workspace --lib --bins --locked
	@# What only builds with traces have.
	$(TOOLS)/cargo-nextest nextest run --lib --features otlp --locked traces
	@# The examples in the comments of the command line are its --help, not Rust.
	$(CARGO) test -p countersign-core -p countersign-api --doc --locked --quiet

.PHONY: it
it: tools ## integration tests: real API server, Envoy and outside clients; T=<filter> for some of them
	$(TOOLS)/cargo-nextest nextest run --test it --locked $(T)

.PHONY: gateway
gateway: tools ## what Envoy Gateway's own translator makes of the objects that are written for it
	@tests/setup.sh gateway
	$(TOOLS)/cargo-nextest nextest run --profile gateway --test it --locked

.PHONY: chart
chart: tools ## the Helm chart: lint, unit tests, schemas, what it agrees with, and its whole life on a real API server
	@tests/setup.sh chart
	$(CARGO) build --locked --quiet
	@tests/chart/check.sh

.PHONY: chart-docs
chart-docs: tools ## write the chart's schema and README from its values
	@tests/setup.sh chart
	@tests/chart/check.sh write

.PHONY: bench
bench: tools ## measure beside floors, about 15 minutes; ARGS="--only check" for a part, --help for more
	@for tool in wrk h2load; do command -v $$tool >/dev/null || { echo "bench: $$tool is missing (Debian: wrk, nghttp2-client)"; exit 1; }; done
	$(CARGO) build --release --locked --bins
	$(CARGO) build --release --locked --package countersign-benches
	target/release/servers $(or $(ARGS),--write)

MINUTES ?= 10
.PHONY: fuzz
fuzz: ## attack every parser at random, MINUTES=10 each; F=<target> for one of them; needs a nightly compiler
	@tests/setup.sh fuzz
	@tests/fuzz.sh $(MINUTES) $(F)

# Longer than all stories take; what hangs is ended with it. The parsers come after them, MINUTES each.
SOAK_BOUND ?= 3h
SOAK := $(TOOLS)/cargo-nextest nextest run --profile soak --test soak --features test-clock --locked
.PHONY: soak
soak: tools ## faults for hours: crashes, partitions, restores, then `make fuzz` and long `make e2e`; writes docs/soak.md; T=<filter> for some
	@tests/setup.sh soak $(if $(T),,fuzz)
	$(SOAK) --no-run
	@$(if $(T),,rm -rf .cache/soak)
	@rc=0; timeout --signal=INT --kill-after=60s $(SOAK_BOUND) $(SOAK) --no-fail-fast $(T) || rc=$$?; \
	$(SOAK) --run-ignored only write_the_document || rc=$$?; \
	$(if $(T),,$(TOOLS)/cargo-nextest nextest run --profile soak --test it --locked --run-ignored only || rc=$$?; \
	tests/fuzz.sh $(MINUTES) || rc=$$?; tests/cluster/former.sh dev .cache/e2e/images || rc=$$?; \
	$(MAKE) --no-print-directory e2e T='--run-ignored only' || rc=$$?;) exit $$rc

.PHONY: image
image: ## the container image and its SBOM into target/image, without a container program; PROFILE=dev for a quick one
	@tests/setup.sh sbom
	@image/build.sh --profile $(or $(PROFILE),release)

# In a debug build: an optimized one takes as long as everything else together.
E2E := $(TOOLS)/cargo-nextest nextest run --profile e2e --test e2e --locked
.PHONY: e2e
e2e: tools ## stories on real pods: a Kubernetes of its own (as root), or E2E_KUBECONFIG and E2E_IMAGES; T=<filter>
	@tests/setup.sh chart $(if $(E2E_KUBECONFIG),,e2e)
	@$(if $(E2E_KUBECONFIG),,tests/cluster/images.sh $(or $(PROFILE),dev) .cache/e2e/images)
	$(E2E) --no-run
	$(if $(E2E_KUBECONFIG),,tests/cluster/cluster.sh run .cache/e2e) $(E2E) $(T)

.PHONY: fmt
fmt: ## format the source
	$(CARGO) fmt --all

.PHONY: crds
crds: ## write the custom resource definitions from the Rust types
	@mkdir -p crds $(CHART)/files/crds
	$(CARGO) run --quiet -- crd --output crds
	@cp crds/*.yaml $(CHART)/files/crds/

.PHONY: testbed
testbed: tools ## start an API server to try things on; ends with `make testbed-down`
	@tests/testbed.sh up .cache/testbed/hand
	@echo "export KUBECONFIG=$(CURDIR)/.cache/testbed/hand/kubeconfig PATH=$(CURDIR)/$(TOOLS):\$$PATH"

.PHONY: testbed-down
testbed-down: ## end the API server that `make testbed` started
	@tests/testbed.sh down .cache/testbed/hand
