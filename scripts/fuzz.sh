#!/usr/bin/env bash
# `make fuzz`: searches for bytes that break what reads hostile bytes; FUZZ names targets, without it all are searched.
# `fuzz.sh keep [TARGET…]` takes what was found of new ways through the code into Tests/Corpus, as little of it as is needed.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

seconds=${FASTABLE_FUZZ_SECONDS:-600}
at_once=${FASTABLE_FUZZ_JOBS:-2}
work=$repository/.fuzz
# Of each target; a test holds the whole corpus below a mebibyte.
kept_bytes=150000
program=$repository/.build-fuzz/release/fuzz
read -ra targets <<<"${FUZZ:-frames mux reports requests tar edit json}"

# Swift's own report of a crash would take the signal before libFuzzer can save the bytes.
run() { SWIFT_BACKTRACE=enable=no FASTABLE_FUZZ_TARGET=$1 "$program" "${@:2}"; }

search() {
    local target=$1 folder=$work/$1
    mkdir -p "$folder/corpus" "$folder/findings"
    run "$target" seeds "$folder/corpus"
    # Bytes that need more than ten seconds or a gibibyte are findings too.
    run "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$folder/findings/" "$folder/corpus" "$repository/Tests/Corpus/$target" >"$folder/log" 2>&1
}

report() {
    local target=$1 folder=$work/$1
    step "$target: $(grep -E 'cov: [0-9]+' "$folder/log" | tail -1 | sed -E 's/^#([0-9]+)\t[A-Z]+ +(cov: [0-9]+).*/\1 runs, \2/')"
    [ "$2" = 0 ] && return
    grep -aE 'FINDING|ERROR|Test unit written' "$folder/log" >&2 || tail -5 "$folder/log" >&2
    echo "See it again: FASTABLE_FUZZ_TARGET=$target $program FILE   (a trap tells its place with SWIFT_BACKTRACE=enable=yes" \
        "and -handle_ill=0 -handle_trap=0). Fix it, and put the file into Tests/Corpus/$target: the tests run it from then on." >&2
}

keep() {
    local target=$1 kept=$repository/Tests/Corpus/$1 new
    new=$(mktemp -d)
    run "$target" -merge=1 -max_len=4096 "$new" "$kept" "$work/$target/corpus" >"$work/$target/merge.log" 2>&1 ||
        { tail -5 "$work/$target/merge.log" >&2; fail "the corpus of $target cannot be merged"; }
    # Findings of the past are kept by name, whatever they cover.
    find "$kept" -type f ! -name 'finding-*' -delete
    # The smallest first, as far as they fit: a repository is no place for all of it.
    local file size total=0
    while read -r size file; do
        total=$((total + size))
        [ "$total" -le "$kept_bytes" ] || break
        cp "$file" "$kept/"
    done < <(find "$new" -type f -printf '%s %p\n' | sort -n)
    rm -r "$new"
    step "$target: $(find "$kept" -type f | wc -l) inputs, $(du -sb "$kept" | cut -f 1) bytes"
}

need_toolchain
step "Building the fuzzer (the first time takes some minutes)"
swift build --package-path "$repository/Fuzz" --scratch-path "$repository/.build-fuzz" -c release

if [ "${1:-}" = keep ]; then
    shift
    [ $# = 0 ] || targets=("$@")
    for target in "${targets[@]}"; do keep "$target"; done
    exit
fi

step "Searching for $seconds s in each of: ${targets[*]} ($at_once at a time)"
status=0
declare -A running=()
collect() {
    local pid result=0
    wait -n -p pid "${!running[@]}" || result=$?
    report "${running[$pid]}" "$result"
    unset "running[$pid]"
    [ "$result" = 0 ] || status=1
}
for target in "${targets[@]}"; do
    [ "${#running[@]}" -lt "$at_once" ] || collect
    search "$target" &
    running[$!]=$target
done
while [ "${#running[@]}" -gt 0 ]; do collect; done
exit "$status"
