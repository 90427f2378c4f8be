#!/usr/bin/env bash
# Builds the programs into bin/. `build.sh tests` builds the tests too, in the same configuration, so nothing is built twice.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_toolchain

# An import that Package.swift does not declare builds here and may break elsewhere. Where the toolchain ignores the option,
# RepositoryTests find it.
options=(--package-path "$repository" -c "$configuration" --explicit-target-dependency-import-check error)
[ "${1:-}" = tests ] && options+=(--build-tests)

step "Building ($configuration; the first time takes several minutes, later builds seconds)"
swift build "${options[@]}"

built=$(swift build --package-path "$repository" -c "$configuration" --show-bin-path)
mkdir -p "$binaries"
for program in fastable fastable-controller fastable-node fastable-init; do
    # A new file beside the old one, then a rename: a running daemon keeps its own.
    cmp -s "$built/$program" "$binaries/$program" && continue
    install -m 0755 "$built/$program" "$binaries/.$program.new"
    mv -f "$binaries/.$program.new" "$binaries/$program"
done
