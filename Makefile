# `make demo` and `make test` do all their own set-up. Everything runs on the Node that npm brings (node_modules/.bin/node).
SHELL := /bin/bash
export PATH := $(CURDIR)/node_modules/.bin:$(CURDIR)/.cache/bin:$(PATH)

.PHONY: help demo test test-cluster check lint format types build bench bench-quick fuzz chaos interop-doc lab deps deps-npm clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: deps ## a cluster, two routers and a client in network namespaces; the whole story, checked step by step
	@node src/cli/main.ts demo

test: deps ## every test; those that need root or a router say so when they cannot run
	@node scripts/test.ts

test-cluster: deps ## the scenarios that can, on the cluster that KUBECONFIG names
	@test -n "$$KUBECONFIG" || { echo 'KUBECONFIG must name the cluster to test on'; exit 1; }
	@BELLHOP_TEST_CLUSTER=yes node node_modules/vitest/vitest.mjs run --no-file-parallelism $(CLUSTER_TESTS)

check: lint types test ## what CI runs

CLUSTER_TESTS = $(addprefix test/e2e/,$(addsuffix .test.ts,cluster-api story range source-address liveness node-speakers layer2))

lint: deps-npm ## biome: style, mistakes, and the directions of imports
	@biome check --error-on-warnings

format: deps-npm ## biome, writing
	@biome check --write

types: deps-npm ## the TypeScript compiler, also for the pure folders without Node's types
	@tsc -p tsconfig.json && tsc -p tsconfig.pure.json

build: deps-npm ## one bundled file, dist/bellhop.mjs
	@node scripts/build.ts

bench: deps ## benchmarks, as ratios against real peers; never part of the tests
	@broken=; for file in bench/*.bench.ts; do \
	  echo "== $$file"; begun=$$SECONDS; \
	  node $$file || broken="$$broken $$file"; \
	  echo "-- $$((SECONDS - begun)) s"; \
	done; [ -z "$$broken" ] || { echo "did not come to their end:$$broken"; exit 1; }

bench-quick: ## the same at a tenth of the size: whether they run, and figures of the right order at best
	@$(QUICK) $(MAKE) --no-print-directory bench

QUICK = BENCH_RUNS=1 BENCH_PEERS=1 BENCH_SENDERS=bellhop,bird BENCH_CHANGES=50 BENCH_WARMUPS=200 BENCH_ROUTES=100000 \
	BENCH_VIPS=0,1000 BENCH_REST_SECONDS=5 BENCH_SERVICES=200 BENCH_NODES=100 BENCH_CREATED=100 BENCH_ROUNDS=1 \
	VIPS=1000 ROUNDS=1 QUESTIONS=300

fuzz: deps-npm ## fuzzing, SECONDS_EACH=60 for each target
	@for file in test/fuzz/*-fuzz.ts; do node $$file --seconds $${SECONDS_EACH:-60} || exit 1; done

chaos: deps ## faults and edits by seed before an oracle of its own: SEED=1, STEPS=30 a round, SECONDS_EACH=60 of rounds
	@node test/e2e/chaos/chaos.ts --seed $${SEED:-1} --steps $${STEPS:-30} --seconds $${SECONDS_EACH:-60}

interop-doc: deps ## every interop test, and docs/interop.md from what came of it
	@node test/interop/write-document.ts

lab: deps ## the demo's world, kept until Ctrl-C, for kubectl and the routers' command lines
	@node src/cli/main.ts lab

deps: ## npm packages, kubectl, helm, and (as root) the Debian packages of the routers
	@scripts/setup.sh debian

deps-npm:
	@scripts/setup.sh

clean: ## what the targets above made
	rm -rf dist coverage .cache node_modules
