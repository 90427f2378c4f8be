#!/usr/bin/env bash
# Fails and says what, when something of this instance is still on the host: processes, mounts, links, rules, cgroups.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

left=0
report() { [ -z "$2" ] || { echo "left behind: $1:"; echo "$2"; left=1; } >&2; }

report mounts "$(grep -F "$node_run/" /proc/self/mounts || true)"
report "nft tables" "$(as_root nft list tables | grep -E "fastable_${instance//-/_}\$|fastable_$instance\$" || true)"
report cgroups "$(find /sys/fs/cgroup -maxdepth 3 -type d -name "fastable-$instance" 2>/dev/null || true)"
report processes "$(pgrep -af -- "--instance $instance( |\$)" | grep -v leftovers || true)"
report "run directory" "$(as_root find "$node_run/containers" -mindepth 1 -maxdepth 1 2>/dev/null || true)"
# The lease of addresses, which stays with the data, names the instance's interfaces.
for lease in $(as_root grep -ls "\"instance\" : \"$instance\"" /var/lib/fastable/blocks/[0-9]* || true); do
    report "network interfaces" "$(ip -o link show | grep -F "$(printf ' fb%02x-' "$(basename "$lease")")" || true)"
done
exit "$left"
