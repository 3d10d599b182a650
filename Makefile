# make build, run, test, bench: see README.md. The work is done by the scripts in .ci/, which say what they do.

SHELL := bash
CARGO_TARGET_DIR ?= target
BINARY := $(CARGO_TARGET_DIR)/release/thuban

.PHONY: help build run test check clients schemathesis prometheus load counts deploy cluster chaos kafka-tls fmt lint deny doc bench bench-full bench-cluster compare fuzz-full crash-full ci

help:
	@echo 'make build          $(BINARY), everything included'
	@echo 'make run            build it and start one node (ARGS="--http 127.0.0.1:7900" and the like)'
	@echo 'make cluster        MariaDB, Kafka, three nodes and HAProxy on loopback, until Ctrl-C'
	@echo 'make test           every test: rust, the example clients, the API contract, Prometheus, deploy/, a cluster'
	@echo 'make check          formatting, clippy, each crate alone, dependencies, docs'
	@echo 'make ci             what CI runs: check, test and the release build'
	@echo 'make bench          the benchmark and its table; bench-full: the long one; bench-cluster: of three nodes'
	@echo 'make compare        Thuban beside etcd and ZooKeeper: a table, and $(CARGO_TARGET_DIR)/compare.html'
	@echo 'make clients        the example clients in every language; schemathesis, prometheus, load: one suite each'
	@echo 'make counts         instructions of the hot paths against what was recorded (ARGS=--record: record them)'
	@echo 'make deploy         what is in deploy/: Dockerfile, Compose, Helm chart, systemd, proxies, alerts, board'
	@echo 'make fmt            format; lint, deny, doc: one check each'
	@echo 'make chaos          every fault of a cluster, with honest clients and an oracle'
	@echo 'make kafka-tls      the tests of the shared log in a build that speaks TLS to Kafka (OpenSSL)'
	@echo 'make fuzz-full      the fuzzing of make test, for long (FUZZ_SECONDS, PROPTEST_CASES)'
	@echo 'make crash-full     the kill loop of make test, for long (CRASH_KILLS)'

build:
	@.ci/install build
	cargo build --release --package server --bin thuban

run: build
	$(BINARY) serve $(ARGS)

cluster: build
	@.ci/install kafka mariadb haproxy
	@exec python3 deploy/local/cluster.py --binary $(BINARY) $(ARGS)

test:
	@.ci/suite rust clients contract prometheus load deploy cluster

check:
	@.ci/suite format lint features deny doc

clients prometheus load deploy lint deny doc:
	@.ci/suite $@

counts:
	@COUNTS='$(ARGS)' .ci/suite $@

schemathesis:
	@.ci/suite contract

fmt:
	cargo fmt --all

bench: build
	cargo run --release --package loadtest -- bench $(ARGS)

bench-cluster: build
	@.ci/install kafka mariadb haproxy
	cargo run --release --package loadtest -- cluster $(ARGS)

compare: build
	@.ci/install etcd zookeeper
	cargo run --release --package loadtest -- compare --with etcd,zookeeper \
	  --json $(CARGO_TARGET_DIR)/compare.json --html $(CARGO_TARGET_DIR)/compare.html $(ARGS)

bench-full: build
	cargo run --release --package loadtest -- bench --full $(ARGS)

chaos kafka-tls:
	@.ci/suite $@

fuzz-full:
	@.ci/suite fuzz-long

crash-full:
	@.ci/suite crash-long

ci:
	@.ci/run
