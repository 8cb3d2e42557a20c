# The commands that a contributor and a newcomer need. Everything is built by cargo, and the console that the binary takes
# up by npm; this only names what to run.

CARGO ?= cargo
TARGET ?= $(or $(CARGO_TARGET_DIR),target)
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-stop test test-long fuzz check fmt bench advisories

help: ## show this
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building and testing need (as root on Debian; elsewhere it says what is missing)
	@./.ci/setup

build: ## build the binary, with optimisations, and with the console where there is npm
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web; else echo "npm is missing: the console is left out."; fi
	$(CARGO) build --release --locked

demo: setup build ## set up and leave Postern running on loopback with a demo database; says what to type next
	@$(TARGET)/release/postern dev --detach

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --ignore-scripts

.PHONY: web test-web
web: web/node_modules/.package-lock.json ## build the console, which the next build of the binary takes up
	cd web && npm run --silent build

test-web: web ## drive the console in Chromium, on the real stack
	@./.ci/setup web
	$(CARGO) build --locked --package postern-cli
	cd web && npm test

.PHONY: screenshots
screenshots: web ## take pictures of every page of the console, into web/screenshots
	@./.ci/setup web
	$(CARGO) build --locked --package postern-cli
	cd web && npm run --silent screenshots

demo-stop: ## stop what `make demo` started
	@$(TARGET)/release/postern dev stop

# The black-box tests run the binary.
test: setup web ## run all tests
	$(CARGO) build --locked --package postern-cli
ifdef NEXTEST
	$(CARGO) nextest run --workspace --locked
else
	$(CARGO) test --workspace --locked
endif
	@$(MAKE) --no-print-directory test-web
	@echo "All tests have passed."

test-long: test versions regress leaks waits model fuzz ## run all tests and those that take long: PostgreSQL 13 to 18, its regression suite, all leaks, 1,000 reviews, thousands of stories, each fuzz target for FUZZ_SECONDS
	@echo "All tests have passed, also those that take long."

# A target for each parser of untrusted bytes. `make test` runs each for a second or two.
FUZZ_SECONDS ?= 60
FUZZED := postern-wire postern-tunnel postern-types postern-audit postern-peer postern-dial postern-agent \
	postern-gateway postern-control-plane postern-cli postern-sql postern-policy \
	postern-mask

fuzz: setup ## run each fuzz target for FUZZ_SECONDS (60), from FUZZ_SEED if it is given
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --locked --no-fail-fast --quiet $(addprefix --package ,$(FUZZED)) \
		fuzz_ -- --nocapture

.PHONY: versions
versions: setup ## run drivers, ORMs and the analysis's corpora on PostgreSQL 13, 14, 16, 17 and 18
	$(CARGO) build --locked --package postern-cli
ifdef NEXTEST
	$(CARGO) nextest run --locked --package postern-e2e --test versions --test ephemeral --run-ignored all
else
	$(CARGO) test --locked --package postern-e2e --test versions --test ephemeral -- --include-ignored
endif

.PHONY: regress
regress: setup ## run PostgreSQL's own regression suite directly and through Postern, and compare
	$(CARGO) build --locked --package postern-cli
	@python3 tests/regress/regress.py

.PHONY: waits
waits: setup ## have 1,000 reviews wait at once
	$(CARGO) build --locked --package postern-cli
	$(CARGO) test --locked --package postern-e2e --test reviews -- --ignored

.PHONY: leaks
leaks: setup ## try each leak in each form under each role, and 5,000 random queries, from RANDOM_SEED if it is given
	$(CARGO) build --locked --package postern-cli
	LEAKS_ALL=1 RANDOM_QUERIES=5000 $(CARGO) test --locked --package postern-e2e --test leaks --test differential

.PHONY: model
model: setup ## compare the control plane's transitions with a model, in MODEL_CASES (2,000) random stories on each store
	MODEL_CASES=$${MODEL_CASES:-2000} $(CARGO) test --locked --package postern-control-plane --test model

check: web/node_modules/.package-lock.json ## format, lints and documentation, as a change must have them
	cd web && npm run --silent check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --workspace --no-deps --locked --document-private-items
	@command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check --hide-inclusion-graph bans licenses sources

advisories: ## look for known vulnerabilities in dependencies (fetches the advisory database)
	@command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check --hide-inclusion-graph advisories

fmt: ## format all code
	$(CARGO) fmt --all

bench: ## measure against PgBouncer and a direct connection, and what recording and deciding cost
	@./.ci/setup bench
	$(CARGO) build --release --locked
	python3 tests/bench/bench.py
	@echo; python3 tests/bench/masking.py
	@echo; python3 tests/bench/reviews.py
	@echo; python3 tests/bench/audit.py
	@echo; echo "Recording, microseconds a statement on one thread:"; echo "| protocol | off | on | cost |"; echo "|---|---|---|---|"
	@$(CARGO) test --release --locked --quiet --package postern-agent --lib -- --ignored --nocapture recording_cost | grep '^|'
	@echo; echo "Deciding what is known by its shape or was prepared, microseconds a statement on one thread:"
	@echo "| protocol | everything permitted | policies asked | cost |"; echo "|---|---|---|---|"
	@$(CARGO) test --release --locked --quiet --package postern-agent --lib -- --ignored --nocapture deciding_cost | grep '^|'
	@echo; echo "Deciding by the starter policies, microseconds a statement on one thread:"
	@echo "| statement | new | its analysis | the policies | known by its shape |"; echo "|---|---|---|---|---|"
	@$(CARGO) test --release --locked --quiet --package postern-policy --test deciding -- --ignored --nocapture | grep '^|'
	@echo; echo "Masking, nanoseconds on one thread:"
	@$(CARGO) test --release --locked --quiet --package postern-mask --test cost -- --ignored --nocapture 2>&1 | grep '^|'
