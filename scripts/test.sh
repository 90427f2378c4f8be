#!/usr/bin/env bash
# `make test`: builds everything once and runs the whole suite. With arguments it runs only what they select
# (`scripts/test.sh --filter WireTests`).
#
# The test targets run one after the other: each may use both cores for its own parallel tests, and those that measure
# deadlines are not disturbed by those that start whole installations.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_packages "$repository"/scripts/packages-{build,run,test}.list
"$repository/scripts/build.sh" tests

export FASTABLE_BIN_DIR=$binaries
# Without the internet the tests on a real tree are skipped, and say so.
FASTABLE_REAL_TREE=$("$repository/scripts/real-tree.sh") || true
run_tests() {
    # The tests of containers, networks and mounts need root.
    as_root env PATH="$PATH" HOME="$HOME" FASTABLE_BIN_DIR="$binaries" CI="${CI:-}" \
        ${FASTABLE_REAL_TREE:+FASTABLE_REAL_TREE="$FASTABLE_REAL_TREE"} \
        swift test --package-path "$repository" -c "$configuration" --skip-build "$@"
}

# What root's run of the package manager wrote must not lock its owner out.
give_back() {
    [ "$(id -u)" = 0 ] || as_root chown -R "$(id -u):$(id -g)" "$repository/.build" "$HOME/.cache/org.swift.swiftpm" 2>/dev/null || true
}
log=$(mktemp)
trap 'rm -f "$log"; give_back' EXIT
need_root

if [ $# -gt 0 ]; then
    run_tests "$@"
    exit
fi

failed=()
passed=0
for folder in "$repository"/Tests/*Tests; do
    target=$(basename "$folder")
    step "$target"
    if ! run_tests --filter "^$target\\." >"$log" 2>&1; then
        failed+=("$target")
        grep -E '✘|error:|Caught|Expectation failed|recorded an issue' "$log" | head -60 || tail -40 "$log"
    fi
    grep -E 'Test run with' "$log" | sed 's/^/    /' || { failed+=("$target (ran nothing)"); tail -20 "$log"; }
    count=$(sed -n 's/.*Test run with \([0-9]*\) test.*passed.*/\1/p' "$log" | tail -1)
    passed=$((passed + ${count:-0}))
    grep -E '➜|skipped:' "$log" | head -20 || true
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    echo "$passed passed, ${#failed[@]} failed"
    exit 1
fi
echo "$passed passed, 0 failed"
