#!/usr/bin/env bash
# `make test`: builds everything once and runs the whole suite: the Swift tests, and those of Tests/Python against an installation
# of their own. With arguments it runs only the Swift tests that they select (`scripts/test.sh --filter WireTests`).
#
# The test targets run one after the other: each may use both cores for its own parallel tests, and those that measure
# deadlines are not disturbed by those that start whole installations. Of the tests of one target so many run at a time: when all
# of them begin together, each takes as long as all of them, and every deadline in them is one for the whole target.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_toolchain
need_root
install_packages "$repository"/scripts/packages-{build,run,test}.list
"$repository/scripts/build.sh" tests

export FASTABLE_BIN_DIR=$binaries
# Without the internet the tests on a real tree are skipped, and say so.
FASTABLE_REAL_TREE=$("$repository/scripts/real-tree.sh") || true
run_tests() {
    local scratch=${TMPDIR:-/tmp}
    if [ "$(id -u)" != 0 ]; then
        # The package manager's lock in /tmp belongs to who built, and there not even root may open another's file.
        # Not below /run, from which nothing may be executed.
        scratch=$(as_root mktemp -d /var/tmp/fastable-tests.XXXXXX)
        as_root chmod 0711 "$scratch"
        root_scratch+=("$scratch")
    fi
    # The tests of containers, networks and mounts need root.
    as_root env PATH="$PATH" HOME="$HOME" TMPDIR="$scratch" FASTABLE_BIN_DIR="$binaries" CI="${CI:-}" \
        SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH="${SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH:-12}" \
        ${FASTABLE_REAL_TREE:+FASTABLE_REAL_TREE="$FASTABLE_REAL_TREE"} \
        ${FASTABLE_LARGE_GIGABYTES:+FASTABLE_LARGE_GIGABYTES="$FASTABLE_LARGE_GIGABYTES"} \
        ${FASTABLE_FAULT_ROUNDS:+FASTABLE_FAULT_ROUNDS="$FASTABLE_FAULT_ROUNDS"} \
        ${FASTABLE_FAULT_MEGABYTES:+FASTABLE_FAULT_MEGABYTES="$FASTABLE_FAULT_MEGABYTES"} \
        ${FASTABLE_FAULT_PAUSE_SECONDS:+FASTABLE_FAULT_PAUSE_SECONDS="$FASTABLE_FAULT_PAUSE_SECONDS"} \
        ${FASTABLE_REMAINDER_EXECS:+FASTABLE_REMAINDER_EXECS="$FASTABLE_REMAINDER_EXECS"} \
        ${FASTABLE_FAULT_SEED:+FASTABLE_FAULT_SEED="$FASTABLE_FAULT_SEED"} \
        swift test --package-path "$repository" -c "$configuration" --skip-build "$@"
}

# What root's run of the package manager wrote must not lock its owner out.
root_scratch=()
give_back() {
    [ ${#root_scratch[@]} = 0 ] || as_root rm -rf --one-file-system "${root_scratch[@]}"
    [ "$(id -u)" = 0 ] || as_root chown -R "$(id -u):$(id -g)" "$repository/.build" "$HOME/.cache/org.swift.swiftpm" 2>/dev/null || true
}

# The lines of a log that say what failed, or its end when it does not say so itself.
explain() {
    awk '/^(✘|↳)|error:|[Ff]atal|unexpected signal|[Cc]rash/ && !/Testing Library|Target Platform/ { if (++n <= 80) print }
         END { exit n == 0 }' "$1" || tail -40 "$1"
}

on_demand='set FASTABLE_MEASURE to measure|part of make test-large|runs only where crun can'

# count LOG STATUS: sets `ran`, `broken` and `missed` (skipped) to the numbers of tests; what ended before it could count, or ran none, broke one.
count() {
    ran=$(sed -n 's/.*Test run with \([0-9]*\) test.*/\1/p' "$1" | tail -1)
    broken=$(grep -E '^✘ Test .* failed after' "$1" | grep -vcE '^✘ Test (run|case) ') || true
    if [ "${ran:-0}" = 0 ] || [ "$broken" -gt "$ran" ]; then
        ran=1 broken=1
    elif [ "$2" != 0 ] && [ "$broken" = 0 ]; then
        broken=1
    fi
    # Those that are only run when somebody asks for them by name are not missed.
    missed=$(grep -E '^➜ .* skipped' "$1" | grep -vcE "$on_demand") || true
}

# The same for pytest, which tells `1 failed, 40 passed, 2 skipped, 1 error in 30.00s`.
count_python() {
    local number word
    ran=0 broken=0 missed=0
    while read -r number word; do
        case "$word" in
        passed) ran=$((ran + number)) ;;
        skipped) missed=$number ;;
        *) ran=$((ran + number)) broken=$((broken + number)) ;;
        esac
    done < <(grep -E ' in [0-9.]+s' "$1" | tail -1 | grep -oE '[0-9]+ (passed|failed|errors?|skipped)')
    if [ "$ran" = 0 ] || { [ "$2" != 0 ] && [ "$broken" = 0 ]; }; then
        ran=$((ran + 1)) broken=$((broken + 1))
    fi
}

# Tests that failed beside the others are run twice by themselves. Those that pass then are unsteady: told at the end with what they
# said, since each of them is a fault of the test or of the program; but some of two thousand tests with real kernels, disks and
# kills may be so before the whole run is worth nothing.
unsteady_allowed=2

# names_of_failed LOG: those tests, a line each; none when the log does not name each of them (a crash, a run that was ended).
names_of_failed() {
    local names
    names=$(sed -nE 's/^✘ Test ([A-Za-z0-9_]+\([^)]*\))( with [0-9]+ test cases?)? failed after.*/\1/p' "$1" | sort)
    [ "$(grep -c . <<<"$names")" != "$broken" ] || echo "$names"
}

# passes_alone TARGET NAMES: whether these tests of it pass twice with nothing beside them.
passes_alone() {
    local chosen attempt
    # Parentheses are the expression's own unless they are quoted.
    chosen=$(sed -E 's/[()]/\\&/g' <<<"$2" | paste -sd '|')
    for attempt in 1 2; do
        echo "    again alone ($attempt): $(paste -sd ' ' <<<"$2")"
        run_tests --filter "^$1\\..*/($chosen)" >"$again" 2>&1 && grep -q 'Test run with [1-9]' "$again" || return 1
    done
}

log=$(mktemp)
again=$(mktemp)
failures=$(mktemp)
unsteady_log=$(mktemp)
trap 'rm -f "$log" "$again" "$failures" "$unsteady_log"; give_back' EXIT
need_root

if [ $# -gt 0 ]; then
    run_tests "$@"
    exit
fi

failed=0
passed=0
skipped=0
unsteady=0
for folder in "$repository"/Tests/*Tests; do
    target=$(basename "$folder")
    step "$target"
    status=0
    run_tests --filter "^$target\\." >"$log" 2>&1 || status=$?
    count "$log" "$status"
    names=$(names_of_failed "$log")
    if [ -n "$names" ] && [ "$((unsteady + broken))" -le "$unsteady_allowed" ] && passes_alone "$target" "$names"; then
        { step "$target, unsteady:"; explain "$log"; } | tee -a "$unsteady_log"
        unsteady=$((unsteady + broken))
        broken=0
    fi
    if [ "$broken" -gt 0 ]; then
        { step "$target failed (status $status):"; explain "$log"; } | tee -a "$failures"
    fi
    grep -E 'Test run with' "$log" | sed 's/^/    /' || true
    grep -E '^➜ .* skipped' "$log" | grep -vE "$on_demand" || true
    failed=$((failed + broken))
    passed=$((passed + ran - broken))
    skipped=$((skipped + missed))
done

step "Python"
status=0
"$repository/scripts/test-python.sh" >"$log" 2>&1 || status=$?
count_python "$log" "$status"
if [ "$broken" -gt 0 ]; then
    { step "Python failed (status $status):"; tail -80 "$log"; } | tee -a "$failures"
fi
grep -E '^SKIPPED| in [0-9.]+s' "$log" | tail -20 | sed 's/^/    /' || true
failed=$((failed + broken))
passed=$((passed + ran - broken))
skipped=$((skipped + missed))

# Once more, since whoever looks at a long log looks at its end; its last line is the result.
[ "$failed" = 0 ] || { echo; cat "$failures"; }
[ "$unsteady" = 0 ] || { echo; cat "$unsteady_log"; echo "$unsteady failed beside the others and passed twice alone: mend them."; }
# In the gate a test that is left out is one that proves nothing: it fails, after the others, and says which it is above.
[ "$skipped" = 0 ] || [ -z "${CI:-}" ] || echo "Tests were skipped, which the gate does not take (lines that begin with ➜, or pytest's)."
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && { [ "$skipped" = 0 ] || [ -z "${CI:-}" ]; }
