#!/usr/bin/env bash
# Builds the vibn-dev image once per content of images/vibn-dev and prints the directory of its root filesystem.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

source=$repository/images/vibn-dev
digest=$(cd "$source" && find . -type f ! -name Dockerfile -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
target=$image_cache/vibn-dev-$digest

if ! as_root test -d "$target/rootfs"; then
    step "Building the vibn-dev image from distribution packages (about a minute)" >&2
    as_root mkdir -p "$image_cache"
    log=$(mktemp)
    if ! as_root "$source/build.sh" "$target" >"$log" 2>&1; then
        # Somebody else may have built the same image meanwhile.
        if ! as_root test -d "$target/rootfs"; then
            tail -20 "$log" >&2
            fail "the image could not be built; the whole log is in $log"
        fi
    fi
    rm -f "$log"
fi
echo "$target/rootfs"
