#!/bin/bash
# Runs inside the test host: the packaged units first, then the tests. Its output is the machine's console.
set -uo pipefail

here=/opt/fastable
# The tests run one after the other: the deadlines of real hosts are meant for real processors.
export FASTABLE_TEST_SLOWNESS=10 LD_LIBRARY_PATH=$here/lib HOME=/root FASTABLE_BIN_DIR=$here/bin CI=true
status=0

check() {
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; status=1; fi
}

equals() { [ "$1" = "$2" ] || { echo "expected ‘$1’, got ‘$2’"; false; }; }

# The units as a package installs them: programs in /usr/bin, the libraries where the loader looks.
install_units() {
    install "$here"/bin/fastable* /usr/bin/
    echo "$here/lib" >/etc/ld.so.conf.d/fastable.conf
    ldconfig
    install -m 0644 "$here"/systemd/*.service /etc/systemd/system/
    systemctl daemon-reload
}

rootfs() {
    mkdir -p "$1"/{bin,sbin,etc,root,tmp,proc,sys,dev,run,workspace,cache,usr/bin}
    cp /bin/busybox "$1/bin/"
    for applet in sh cat echo sleep true id; do ln -s busybox "$1/bin/$applet"; done
    echo root:x:0:0:root:/root:/bin/sh >"$1/etc/passwd"
}

packaged_units() {
    install_units
    check "the controller's unit starts, and says when it is ready" systemctl start fastable-controller
    fastable login --url "$(sed -n 's/.*"apiUrl" *: *"\([^"]*\)".*/\1/p' /var/lib/fastable/main/controller/endpoints.json)" \
        --token-file /var/lib/fastable/main/controller/admin.token
    fastable node token >/root/token
    fastable-node join --instance main --token-file /root/token --node-name vm
    check "the node's unit starts, and says when it is ready" systemctl start fastable-node
    rootfs /srv/rootfs
    for _ in $(seq 50); do fastable status --json | grep -Eq '"state" ?: ?"ready"' && break; sleep 0.5; done
    check "the node has cgroup v2" grep -Eq '"cgroup[A-Za-z]*" ?: ?"(2|v2)"' <(fastable status --json)
    fastable image add vibn-dev inplace:/srv/rootfs
    fastable project create demo >/dev/null
    check "a command runs" equals works "$(fastable exec demo -- echo works)"
    local before after
    fastable exec demo -- 'echo kept >/tmp/kept'
    before=$(systemctl show --value -p MainPID fastable-node)
    check "the node's unit restarts" systemctl restart fastable-node
    after=$(systemctl show --value -p MainPID fastable-node)
    check "it is another process" test "$before" != "$after"
    for _ in $(seq 50); do fastable status --json | grep -Eq '"state" ?: ?"ready"' && break; sleep 0.5; done
    check "the container outlived it" equals kept "$(fastable exec demo -- cat /tmp/kept)"
    check "stopping the units is clean" systemctl stop fastable-node fastable-controller
    check "and ends without a failure" equals "" "$(systemctl list-units --failed --no-legend --plain 'fastable-[cn]*')"
}

check "this host has cgroup v2 alone" equals cgroup2fs "$(stat -fc %T /sys/fs/cgroup)"
packaged_units
"$here/tests" --testing-library swift-testing --no-parallel --filter "$(cat "$here/filter")" || status=$?
echo "fastable test host: status $status"
systemctl poweroff
