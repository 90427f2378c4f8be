#!/usr/bin/env bash
# `make down`: stops what `make up` started and removes containers, network rules, mounts and cgroups. Data stays;
# `down.sh --data` (`make clean-data`) removes the data of this installation too.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_root
if as_root test -d "$node_state" && [ ! -x "$binaries/fastable-node" ]; then
    fail "bin/fastable-node is missing, which takes the node down; run ‘make build’ first"
fi
stop_daemon "the node" "$node_state/node.pid" "$binaries/fastable-node"
if [ -x "$binaries/fastable-node" ] && as_root test -d "$node_state"; then
    step "Removing containers, network rules, mounts and cgroups of ‘$instance’"
    as_root "$binaries/fastable-node" teardown --instance "$instance" --state-dir "$node_state" --run-dir "$node_run"
fi
stop_daemon "the controller" "$controller_state/controller.pid" "$binaries/fastable-controller"

if [ "${1:-}" = --data ]; then
    step "Removing the data of ‘$instance’"
    if [ -x "$binaries/fastable-node" ] && as_root test -d "$node_state"; then
        as_root "$binaries/fastable-node" teardown --data --instance "$instance" --state-dir "$node_state" --run-dir "$node_run"
    fi
    as_root rm -rf --one-file-system "/var/lib/fastable/$instance" "$node_run"
    rm -rf --one-file-system "${controller_state%/controller}"
    if [ -x "$binaries/fastable" ]; then "$binaries/fastable" logout --name "$instance" >/dev/null 2>&1 || true; fi
fi
