#!/usr/bin/env bash
# Fails and says what, when something of this instance is still on the host: processes, mounts, links, rules, cgroups. With
# `--data`, after `make clean-data`, its state and its lease of addresses must be gone too. The lease names its network interfaces,
# so who looks after that gives them (`--links "$(scripts/leftovers.sh --print-links)"`, before).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

leases() { as_root grep -ls "\"instance\" : \"$instance\"" /var/lib/fastable/blocks/[0-9]* || true; }

# The interfaces of the leased blocks, each with its number: the next instance may get the same names.
links() {
    local lease
    for lease in $(leases); do
        ip -o link show | sed -n "s/^\([0-9]*\): \($(printf 'fb%02x-' "$(basename "$lease")")[^:@]*\).*/\2=\1/p"
    done
}

if [ "${1:-}" = --print-links ]; then
    links
    exit
fi

left=0
report() { [ -z "$2" ] || { echo "left behind: $1:"; echo "$2"; left=1; } >&2; }

report mounts "$(grep -F "$node_run/" /proc/self/mounts || true)"
report "nft tables" "$(as_root nft list tables | grep -E "fastable_${instance//-/_}\$|fastable_$instance\$" || true)"
report cgroups "$(find /sys/fs/cgroup -maxdepth 3 -type d -name "fastable-$instance" 2>/dev/null || true)"
report processes "$(pgrep -af -- "--instance $instance( |\$)" | grep -v leftovers || true)"
report "run directory" "$(as_root find "$node_run/containers" -mindepth 1 -maxdepth 1 2>/dev/null || true)"
# The kernel takes down what belonged to a network namespace when it has time.
for _ in {1..300}; do [ -n "$(links)" ] || break; sleep 0.1; done
report "network interfaces" "$(links)"

if [ "${1:-}" = --data ]; then
    shift
    report lease "$(leases)"
    for directory in "/var/lib/fastable/$instance" "$node_run" "${controller_state%/controller}"; do
        report "state directory" "$(as_root find "$directory" -maxdepth 0 2>/dev/null || true)"
    done
fi
if [ "${1:-}" = --links ]; then
    is_there() { [ "$(cat "/sys/class/net/${1%=*}/ifindex" 2>/dev/null)" = "${1#*=}" ]; }
    for link in $2; do
        for _ in {1..300}; do is_there "$link" || break; sleep 0.1; done
        ! is_there "$link" || report "network interfaces" "$link"
    done
fi
exit "$left"
