#!/bin/bash
# Runs inside the test host at each of its boots. The first tries the packaged units and ends with an orderly reboot; the second looks at
# what that left and ends as by a power cut; the third looks again, and runs the tests. Its output is the machine's console.
set -uo pipefail

here=/opt/fastable
# What systemd was asked for.
containers=/sys/fs/cgroup/fastable.slice/fastable-main-containers.service/fastable-main
# Of this host, over its boots.
memory=/var/lib/fastable-test-host
mkdir -p "$memory"
# The tests run one after the other: the deadlines of real hosts are meant for real processors.
export FASTABLE_TEST_SLOWNESS=10 LD_LIBRARY_PATH=$here/lib HOME=/root FASTABLE_BIN_DIR=$here/bin CI=true

check() {
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; echo 1 >"$memory/status"; fi
}

equals() { [ "$1" = "$2" ] || { echo "expected ‘$1’, got ‘$2’"; false; }; }
contains() { case $2 in *"$1"*) ;; *) echo "expected ‘$1’ in ‘$2’"; false ;; esac; }

# The programs carry their libraries in them.
install_units() {
    install "$here"/bin/fastable* /usr/bin/
    install -m 0644 "$here"/systemd/*.service /etc/systemd/system/
    systemctl daemon-reload
}

rootfs() {
    mkdir -p "$1"/{bin,sbin,etc,root,tmp,proc,sys,dev,run,workspace,cache,usr/bin}
    cp /bin/busybox "$1/bin/"
    for applet in sh cat echo sleep true id sync; do ln -s busybox "$1/bin/$applet"; done
    echo root:x:0:0:root:/root:/bin/sh >"$1/etc/passwd"
}

ready() {
    for _ in $(seq 600); do
        fastable status --json 2>/dev/null | grep -Eq '"state" ?: ?"ready"' && return
        sleep 0.5
    done
    return 1
}

packaged_units() {
    install_units
    check "the controller's unit starts, and says when it is ready" systemctl enable --now fastable-controller
    fastable login --url "$(sed -n 's/.*"apiUrl" *: *"\([^"]*\)".*/\1/p' /var/lib/fastable/main/controller/endpoints.json)" \
        --token-file /var/lib/fastable/main/controller/admin.token
    fastable node token >/root/token
    fastable-node join --instance main --token-file /root/token --node-name vm
    check "the node's unit starts, and says when it is ready" systemctl enable --now fastable-node
    rootfs /srv/rootfs
    check "the node is ready" ready
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
    check "the node is ready again" ready
    check "systemd leaves the containers' group to the node" equals yes \
        "$(systemctl show --value -p Delegate fastable-main-containers.service)"
    # systemd looks over the whole tree then, and takes away what it has not been asked for.
    systemctl daemon-reload
    check "limits are in force" equals "100000 100000" "$(cat "$containers"/ctr_*/cpu.max)"
    check "the container outlived it" equals kept "$(fastable exec demo -- cat /tmp/kept)"
    check "stopping the units is clean" systemctl stop fastable-node fastable-controller
    check "and ends without a failure" equals "" "$(systemctl list-units --failed --no-legend --plain 'fastable-[cn]*')"
    systemctl start fastable-controller fastable-node
    check "the node is ready once more" ready
}

# What the end of the host must not take, and what it ends: a file that a command has put on the disk, a file of the API, which is on
# the disk when it has answered, the result of a command that has ended, and a command that runs.
leave_work() {
    fastable exec demo -- "echo $1 >/workspace/synced; sync"
    echo "$1" | fastable fs write demo written
    fastable exec -d demo -- "echo result of $1; exit 3" | tee /root/ended >/dev/null
    fastable attach "$(cat /root/ended)" >/dev/null
    fastable exec -d demo -- sleep 100000 >/root/running
    echo "$1" >/root/left
}

find_work() {
    local left
    left=$(cat /root/left)
    check "the units come up by themselves after $1" ready
    check "the container has ended with the host" contains stopped "$(fastable container status demo)"
    check "and it is told why" contains host "$(fastable container explain demo)"
    check "files are read without waking it" equals "$left" "$(fastable fs read demo written)"
    local output
    output=$(fastable attach "$(cat /root/ended)" 2>&1)
    # What a command has printed is put onto the disk by the kernel, within half a minute. What is missing is told.
    case "$1 $output" in
    "a power cut "*"26 bytes of stdout are no longer kept"*) echo "ok: what a result has lost is told" ;;
    *) check "a result is kept" equals "result of $left" "$output" ;;
    esac
    fastable attach "$(cat /root/ended)" >/dev/null
    check "and its status" equals 3 "$?"
    check "a command that ran is not waited for" bash -c '! timeout 60 fastable attach "$(cat /root/running)" 2>/root/told; [ "$?" != 124 ]'
    check "the project goes on" equals "$left" "$(fastable exec demo -- cat /workspace/synced)"
    check "in one control group" equals 1 "$(find "$containers" -mindepth 1 -maxdepth 1 -name 'ctr_*' | wc -l)"
    check "no unit has failed" equals "" "$(systemctl list-units --failed --no-legend --plain 'fastable-[cn]*')"
    check "the audit chain holds" fastable audit verify
}

# Steps in the life of a container, of a project each, that the end of the host strikes: all of them are under way when it comes.
steps=(create suspend resume stop restart snapshot archive restore delete)

begin_steps() {
    local step running
    for step in "${steps[@]}"; do
        fastable project create "amid-$step" >/dev/null
        echo "$1" | fastable fs write "amid-$step" kept
        fastable container ensure "amid-$step" >/dev/null
    done
    fastable container stop amid-create >/dev/null
    fastable container suspend amid-resume >/dev/null
    fastable container archive amid-restore >/dev/null
    echo "$1" >/root/struck
    # What the test itself has to remember; what Fastable has to is on the disk already.
    sync "$memory"/* "$memory" /root/*
    {
        fastable container ensure amid-create &
        for step in suspend resume stop restart archive; do fastable container "$step" "amid-$step" & done
        fastable project snapshot amid-snapshot &
        fastable container ensure amid-restore &
        fastable project delete amid-delete --yes &
    } >/dev/null 2>&1
    # The first of them has ended: the others are in the middle.
    wait -n
    running=$(jobs -r | wc -l)
    check "$running of ${#steps[@]} steps are under way" test "$running" -ge 4
    # A failure is remembered, too.
    sync "$memory"/*
}

# Control groups and links of containers, loop devices and projects.
things() {
    echo "$(find "$containers" -mindepth 1 -maxdepth 1 -name 'ctr_*' | wc -l) $(find /sys/class/net -name 'fb*' | wc -l)" \
        "$(losetup --list --noheadings | wc -l) $(find /var/lib/fastable/main/node/projects -mindepth 1 -maxdepth 1 | wc -l)"
}

find_steps() {
    local step struck
    struck=$(cat /root/struck)
    # Whether it was deleted or not, it can be.
    fastable project delete amid-delete --yes >/dev/null 2>&1
    check "what was to be deleted is gone after $1" bash -c '! fastable project get amid-delete >/dev/null 2>&1'
    for step in "${steps[@]}"; do
        [ "$step" != delete ] || continue
        check "no byte was lost by $1 amid $step" equals "$struck" "$(fastable fs read "amid-$step" kept)"
        check "and its container runs" equals runs "$(fastable exec "amid-$step" -- echo runs)"
    done
    check "each has one control group and one link" equals "9 9 0 9" "$(things)"
    for step in "${steps[@]}"; do [ "$step" = delete ] || fastable container stop "amid-$step" >/dev/null; done
    check "and one is left of each" equals "1 1 0 9" "$(things)"
}

boot=$(($(cat "$memory/boot" 2>/dev/null || echo 0) + 1))
echo "$boot" >"$memory/boot"
echo "boot $boot, up for $(cut -d' ' -f1 /proc/uptime) s"
case $boot in
1)
    check "this host has cgroup v2 alone" equals cgroup2fs "$(stat -fc %T /sys/fs/cgroup)"
    packaged_units
    leave_work "the first boot"
    sync
    systemctl reboot
    ;;
2)
    find_work "a reboot"
    leave_work "the second boot"
    begin_steps "before the power cut"
    echo b >/proc/sysrq-trigger
    ;;
*)
    find_work "a power cut"
    find_steps "a power cut"
    systemctl disable --now fastable-node fastable-controller
    "$here/tests" --testing-library swift-testing --no-parallel --filter "$(cat "$here/filter")" || echo $? >"$memory/status"
    echo "fastable test host: status $(cat "$memory/status" 2>/dev/null || echo 0)"
    systemctl poweroff
    ;;
esac
