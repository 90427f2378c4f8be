#!/usr/bin/env bash
# `make up`: everything from a fresh machine to a project in which a command runs. Can be run again at any time.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

api_listen=${FASTABLE_API_LISTEN:-127.0.0.1:7420}
node_listen=${FASTABLE_NODE_LISTEN:-127.0.0.1:7421}
cli=$binaries/fastable
controller_pid=$controller_state/controller.pid
controller_log=$controller_state/controller.log
node_pid=$node_state/node.pid
node_log=$node_state/node.log
node_options=(--instance "$instance" --state-dir "$node_state" --run-dir "$node_run")
certificate=$node_state/identity/certificate.pem
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

start_controller() {
    # A rebuilt program replaces the running one; containers and commands do not notice.
    if is_outdated "$controller_pid" "$binaries/fastable-controller"; then
        stop_daemon "the old controller" "$controller_pid" "$binaries/fastable-controller"
    fi
    running_pid "$controller_pid" "$binaries/fastable-controller" >/dev/null && return 0
    step "Starting the controller"
    # The ports of the last time, when any would do: the node and the CLI know them.
    if [ -s "$endpoints" ]; then
        [ "${api_listen##*:}" != 0 ] || api_listen=$(sed -n 's,.*"apiUrl" *: *"[a-z]*://\([^"]*\)".*,\1,p' "$endpoints")
        [ "${node_listen##*:}" != 0 ] || node_listen=$(sed -n 's,.*"nodeListener" *: *"\([^"]*\)".*,\1,p' "$endpoints")
    fi
    mkdir -p "$controller_state"
    chmod 0700 "$controller_state"
    rm -f "$endpoints"
    setsid "$binaries/fastable-controller" --instance "$instance" --state-dir "$controller_state" \
        --api-listen "$api_listen" --node-listen "$node_listen" >>"$controller_log" 2>&1 </dev/null &
    echo $! >"$controller_pid"
    wait_for "the controller" "$controller_pid" "$binaries/fastable-controller" "$controller_log" test -s "$endpoints"
}

# wait_for WHAT PID_FILE PROGRAM LOG CONDITION…: until the condition holds; the log's last line says why it never will.
wait_for() {
    local what=$1 pid_file=$2 program=$3 log=$4 tries=0
    shift 4
    until "$@" >/dev/null 2>&1; do
        sleep 0.1
        tries=$((tries + 1))
        if ! running_pid "$pid_file" "$program" >/dev/null || [ "$tries" = 1200 ]; then
            plainly tail -5 "$log" >&2
            fail "$what did not start; its log is $log"
        fi
    done
}

# join_node [OPTIONS OF ‘fastable node token’]
join_node() {
    # The token goes through a file, so that no process list shows it.
    "$cli" node token "$@" >"$scratch/join-token"
    as_root "$binaries/fastable-node" join --token-file "$scratch/join-token" --node-name "$instance" "${node_options[@]}"
}

start_node() {
    if is_outdated "$node_pid" "$binaries/fastable-node"; then
        stop_daemon "the old node" "$node_pid" "$binaries/fastable-node"
    fi
    # A certificate is renewed while the daemons run. One that ended while nothing did is replaced.
    if as_root test -s "$certificate" && ! as_root openssl x509 -in "$certificate" -noout -checkend 60 >/dev/null; then
        stop_daemon "the node, whose certificate has ended" "$node_pid" "$binaries/fastable-node"
        join_node --node "$instance"
    fi
    if ! running_pid "$node_pid" "$binaries/fastable-node" >/dev/null; then
        step "Starting the node"
        as_root mkdir -p "$node_state"
        as_root test -s "$certificate" || join_node
        # A session of its own before anything else: sudo's terminal goes away, and its hang-up must not reach the daemon.
        as_root setsid --fork sh -c 'log=$1; echo $$ >"$2"; shift 2; exec "$@" >>"$log" 2>&1 </dev/null' sh \
            "$node_log" "$node_pid" "$binaries/fastable-node" "${node_options[@]}"
        local tries=0
        until running_pid "$node_pid" "$binaries/fastable-node" >/dev/null || [ "$tries" = 600 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
    fi
    wait_for "the node" "$node_pid" "$binaries/fastable-node" "$node_log" node_is_ready
}

node_is_ready() { "$cli" status --json | grep -Eq '"state" ?: ?"ready"'; }

add_image() {
    local rootfs
    rootfs=$("$repository/scripts/image.sh")
    "$cli" image list --json | grep -Fq "$rootfs" && return 0
    step "Registering the vibn-dev image on the node"
    "$cli" image add vibn-dev "inplace:$rootfs"
}

# What asks for a password or can be missing comes before the build, which takes minutes.
need_toolchain
need_root
install_packages "$repository"/scripts/packages-{build,run}.list
"$repository/scripts/build.sh"
need_root
start_controller
token_file=$controller_state/admin.token
api_url=$(sed -n 's/.*"apiUrl" *: *"\([^"]*\)".*/\1/p' "$endpoints")
"$cli" login --name "$instance" --url "$api_url" --token-file "$token_file" >/dev/null
export FASTABLE_CONTEXT=$instance
start_node
add_image
if ! "$cli" project get demo >/dev/null 2>&1; then
    step "Creating the project ‘demo’"
    "$cli" project create demo >/dev/null
fi
"$cli" exec demo -- true

cat <<TEXT

Fastable is up.
  API         $api_url
  MCP         $api_url/api/mcp
  Token file  $token_file

Try next:
  bin/fastable exec demo -- 'git --version && python3 --version'
  bin/fastable push demo .
  bin/fastable status
TEXT
