#!/usr/bin/env bash
# Builds the vibn-dev root filesystem from distribution packages: no container registry is needed.
#
#   build.sh OUTPUT_DIRECTORY
#
# The result is the same layout as the Dockerfile beside this script gives. Programs that no distribution package carries
# (tea, mise, openvscode-server) come with the Dockerfile only; /etc/fastable-image.json in the image says what is inside.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=${1:?usage: build.sh OUTPUT_DIRECTORY}

fail() { echo "build.sh: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "must run as root (the image has files of several owners); use sudo"
command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing; install it with: apt-get install mmdebstrap"
[ ! -e "$output" ] || fail "$output exists already"

. /etc/os-release
case "${ID:-}" in
debian) components=main ;;
ubuntu) components=main,universe ;;
*) fail "the host must be Debian or Ubuntu, this is ${PRETTY_NAME:-unknown}; use the Dockerfile instead" ;;
esac
packages=$(grep -v '^#' "$here/packages.list" | paste -sd,)

mkdir -p "$(dirname "$output")"
partial=$(mktemp -d "$output.partial.XXXXXX")
trap 'rm -rf --one-file-system "$partial"' EXIT

mmdebstrap --mode=root --variant=minbase --components="$components" --include="$packages" \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='chroot "$1" ln -sf fdfind /usr/bin/fd' \
    --customize-hook='rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/machine-id' \
    "$VERSION_CODENAME" "$partial/rootfs"

mkdir -p "$partial/rootfs/workspace" "$partial/rootfs/cache"
# Installed one by one, so that they belong to root whoever owns this repository.
(cd "$here/rootfs" && find . -type f -print0) | while IFS= read -r -d '' file; do
    install -D -o root -g root -m 0644 "$here/rootfs/$file" "$partial/rootfs/$file"
done
{
    printf '{\n  "name": "vibn-dev",\n  "base": "%s %s",\n  "packages": {\n' "$ID" "$VERSION_ID"
    chroot "$partial/rootfs" dpkg-query -W -f '    "${Package}": "${Version}",\n' | sed '$ s/,$//'
    printf '  }\n}\n'
} >"$partial/rootfs/etc/fastable-image.json"

chmod 0755 "$partial" "$partial/rootfs"
mv -T "$partial" "$output"
trap - EXIT
