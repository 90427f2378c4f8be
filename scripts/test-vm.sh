#!/usr/bin/env bash
# `make test-vm`: starts a host of its own in a virtual machine (systemd, cgroup v2, the packaged units) and runs there
# what FASTABLE_VM_TESTS selects (a filter of `swift test`; the host and sandbox tests by default). Before that the machine is started
# again twice, once in order and once as by a power cut, and what that left is looked at.
#
# The machine is emulated, so that it runs anywhere: count on ten times the duration.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

filter=${FASTABLE_VM_TESTS:-'^(HostTests|SandboxTests)\.'}
minutes=${FASTABLE_VM_MINUTES:-60}
install_packages "$repository"/scripts/packages-{build,run,test,vm}.list
"$repository/scripts/build.sh" tests
need_root
host=$("$repository/scripts/vm-image.sh")

scratch=$(mktemp -d)
# shellcheck disable=SC2317
finish() { as_root rm -rf --one-file-system "$scratch"; }
trap finish EXIT

# What is under test, with the Swift libraries that the tests were linked to, as a disk of its own.
folder=$scratch/fastable
mkdir -p "$folder"/{bin,lib,systemd}
bundle=$repository/.build/$configuration/fastablePackageTests.xctest
cp "$binaries"/fastable* "$folder/bin/"
cp "$bundle" "$folder/tests"
cp "$repository/.build/$configuration/libSetClock.so" "$folder/"
cp "$repository"/systemd/*.service "$folder/systemd/"
cp "$repository"/Tests/VM/guest.sh "$folder/"
printf '%s\n' "$filter" >"$folder/filter"
ldd "$bundle" |
    awk '$3 ~ /swift/ { print $3 }' | sort -u | while read -r library; do cp "$library" "$folder/lib/"; done
mke2fs -q -t ext4 -d "$folder" "$scratch/disk" "$(($(du -sm "$folder" | cut -f1) * 5 / 4 + 64))M" >/dev/null

step "Starting the test host"
as_root timeout "$((minutes * 60))" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 4096 \
    -nodefaults -display none -serial stdio -nic none -device virtio-rng-pci \
    -kernel "$host/kernel" -initrd "$host/initrd" \
    -append "root=/dev/vda rw console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1 systemd.show_status=false" \
    -drive "file=$host/disk,if=virtio,format=raw,snapshot=on" -drive "file=$scratch/disk,if=virtio,format=raw,snapshot=on" \
    </dev/null 2>&1 | tr -d '\r' | tee "$scratch/console"
result=$(sed -n 's/^fastable test host: status \([0-9]*\)$/\1/p' "$scratch/console" | tail -1)
[ -n "$result" ] || fail "the test host ended without a result, or took longer than $minutes minutes"
exit "$result"
