# Fastable. The two commands of the README: `make up` and `make test`. `make help` lists the rest.

.PHONY: help up down clean-data build image test test-faults test-large test-vm fuzz lint format bench
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

up: ## build, start a controller and a node, create the project ‘demo’
	@scripts/up.sh

down: ## stop everything ‘make up’ started; data stays
	@scripts/down.sh

clean-data: ## like down, and remove the data too
	@scripts/down.sh --data

build: ## build the programs into bin/
	@scripts/build.sh

image: ## build the vibn-dev image
	@scripts/image.sh

test: ## run the whole test suite
	@scripts/test.sh

test-faults: ## bytes through everything while daemons are killed, again and again
	@FASTABLE_FAULT_ROUNDS=$${FASTABLE_FAULT_ROUNDS:-20} FASTABLE_FAULT_MEGABYTES=$${FASTABLE_FAULT_MEGABYTES:-200} \
		FASTABLE_FAULT_PAUSE_SECONDS=$${FASTABLE_FAULT_PAUSE_SECONDS:-60} scripts/test.sh --filter '^HostTests\.(FaultTests|FileFaultTests|DrainFaultTests|LifecycleFaultTests|OnceTests)'

test-vm: ## the host's tests in a virtual machine with systemd and cgroup v2
	@scripts/test-vm.sh

test-large: ## files and trees of 10 GB through both daemons, whose memory must not grow
	@FASTABLE_LARGE_GIGABYTES=$${FASTABLE_LARGE_GIGABYTES:-10} scripts/test.sh --filter '^HostTests\.(LargeStreamTests|SnapshotTests)'

fuzz: ## search for hostile bytes that break something, ten minutes a target (FUZZ=tar for one)
	@scripts/fuzz.sh

lint: ## check formatting and the scripts
	@scripts/lint.sh

format: ## format the sources
	@swift format --in-place --recursive --parallel --configuration .swift-format Sources Tests Fuzz/Driver Fuzz/Package.swift Package.swift

bench: ## measure, side by side with what you would use instead
	@Benchmarks/run.sh
