#!/usr/bin/env bash
# `make bench`: brings up an installation of its own, measures it beside Docker and runc in one run, and takes it down again.
# BENCH_RUNS (200) is the number of measured runs of each case, BENCH_ONLY names some cases (`exec,trees`), and BENCH_OUTPUT is the
# file to write instead of docs/benchmarks.md.
export FASTABLE_INSTANCE=${FASTABLE_BENCH_INSTANCE:-bench}
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

# What it measures is not how much a small machine may promise.
export FASTABLE_CAPACITY_CPU=1000 FASTABLE_CAPACITY_MEMORY=1000 FASTABLE_CAPACITY_PIDS=1000
export FASTABLE_API_LISTEN=127.0.0.1:0 FASTABLE_NODE_LISTEN=127.0.0.1:0
scratch=$(mktemp -d)
export FASTABLE_CLI_CONFIG=$scratch/cli.json

stop_docker() {
    local pid
    pid=$(plainly cat "$scratch/docker.pid" 2>/dev/null) || return 0
    as_root kill "$pid" || return 0
    while as_root kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    # The engine mounts its data directory on itself and leaves it so.
    as_root umount "$scratch/docker" 2>/dev/null || true
}

finish() {
    local status=$?
    stop_docker
    "$repository/scripts/down.sh" --data || status=1
    as_root rm -rf --one-file-system "$scratch"
    exit "$status"
}
trap finish EXIT

# As root: who may not open the engine's socket would take a running engine for a missing one.
engine_answers() { as_root env DOCKER_HOST="${DOCKER_HOST:-}" docker info >/dev/null 2>&1; }

# An engine of our own, on a socket of its own, when the programs are there and no engine runs.
start_docker() {
    engine_answers && return 0
    if ! command -v dockerd >/dev/null; then
        step "No Docker engine: its column stays empty. To have it: apt-get install docker.io"
        return 0
    fi
    step "Starting a Docker engine for the comparison"
    export DOCKER_HOST=unix://$scratch/docker.sock
    as_root dockerd --host "$DOCKER_HOST" --data-root "$scratch/docker" --exec-root "$scratch/docker-run" \
        --pidfile "$scratch/docker.pid" --bridge=none --iptables=false >"$scratch/docker.log" 2>&1 &
    local tries=0
    until engine_answers; do
        sleep 0.2
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || { tail -5 "$scratch/docker.log" >&2; unset DOCKER_HOST; return 0; }
    done
}

"$repository/scripts/setup-python.sh"
need_root
"$repository/scripts/up.sh"
start_docker
as_root env FASTABLE_CLI_CONFIG="$FASTABLE_CLI_CONFIG" DOCKER_HOST="${DOCKER_HOST:-}" FASTABLE_BIN_DIR="$binaries" \
    FASTABLE_RUN_DIR="$node_run" FASTABLE_ROOTFS="$("$repository/scripts/image.sh")" \
    FASTABLE_NODE_PID="$(running_pid "$node_state/node.pid" "$binaries/fastable-node")" \
    FASTABLE_CONTROLLER_PID="$(running_pid "$controller_state/controller.pid" "$binaries/fastable-controller")" \
    "$repository/.venv/bin/python" "$repository/Benchmarks/bench.py" \
    --runs "${BENCH_RUNS:-200}" --leftover-runs "${BENCH_LEFTOVER_RUNS:-10000}" --configuration "$configuration" \
    ${BENCH_ONLY:+--only "$BENCH_ONLY"} --output "${BENCH_OUTPUT:-$repository/docs/benchmarks.md}"
