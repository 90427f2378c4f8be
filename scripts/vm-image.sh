#!/usr/bin/env bash
# Builds the disk of the test host once per content of its lists, and prints the directory that holds it with its kernel.
#
# The test host is what production hosts are and this machine need not be: systemd as PID 1 and cgroup v2 alone.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

. /etc/os-release
case "${ID:-}" in
debian) components=main kernel=linux-image-cloud-amd64 ;;
ubuntu) components=main,universe kernel=linux-image-virtual ;;
*) fail "the test host is made from Debian 12 or Ubuntu 24.04, this is ${PRETTY_NAME:-unknown}" ;;
esac
lists=("$repository"/scripts/packages-{run,test}.list)
# The programs come from this machine, so the libraries have to be of its distribution.
included=$(grep -hv -e '^#' -e '|' "${lists[@]}" | sort -u | paste -sd,)
included=$included,$kernel,dbus,initramfs-tools,kmod,libpam-systemd,libsqlite3-0,libstdc++6,netbase,systemd-sysv,udev
digest=$(cat "${lists[@]}" "${BASH_SOURCE[0]}" "$repository/Tests/VM/fastable-tests.service" /etc/os-release | sha256sum | cut -c1-16)
target=/var/cache/fastable/vm/$digest
if as_root test -e "$target/disk"; then
    echo "$target"
    exit
fi

cd "$repository"
step "Building the disk of the test host from distribution packages (some minutes)" >&2
partial=$(as_root mktemp -d "${TMPDIR:-/tmp}/fastable-vm.XXXXXX")
trap 'as_root rm -rf --one-file-system "$partial"' EXIT
# The initial file system brings the driver of the disk; a machine that is made for one test needs no other.
as_root mmdebstrap --mode=root --variant=minbase --components="$components" --include="$included" \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"; echo MODULES=list >"$1/etc/initramfs-tools/conf.d/fastable"' \
    --essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" >"$1/etc/initramfs-tools/modules"' \
    --customize-hook='echo fastable-test-host >"$1/etc/hostname"; : >"$1/etc/machine-id"' \
    --customize-hook='useradd --root "$1" --system --home-dir /var/lib/fastable --shell /usr/sbin/nologin fastable' \
    --customize-hook='cp Tests/VM/fastable-tests.service "$1/etc/systemd/system/"; chroot "$1" systemctl enable fastable-tests' \
    --customize-hook='chroot "$1" systemctl mask getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer' \
    "$VERSION_CODENAME" "$partial/root" >"$partial.log" 2>&1 ||
    { tail -20 "$partial.log" >&2; fail "the test host could not be built; the whole log is in $partial.log"; }
rm -f "$partial.log"
as_root cp "$partial/root"/boot/vmlinuz-* "$partial/kernel"
as_root cp "$partial/root"/boot/initrd.img-* "$partial/initrd"
as_root mke2fs -q -t ext4 -d "$partial/root" "$partial/disk" 6G >/dev/null
as_root mkdir -p "$target"
for file in kernel initrd disk; do as_root cp --sparse=always "$partial/$file" "$target/$file"; done
echo "$target"
