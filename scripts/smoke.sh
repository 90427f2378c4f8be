#!/usr/bin/env bash
# The quick start as a new user runs it: up, one command through each door, down, and nothing left behind.
# It runs under an instance name of its own and on free ports, so it passes beside another installation.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ -n "${FASTABLE_INSTANCE:-}" ] || fail "set FASTABLE_INSTANCE to a name that nothing else uses"
export FASTABLE_API_LISTEN=127.0.0.1:0 FASTABLE_NODE_LISTEN=127.0.0.1:0
scratch=$(mktemp -d)
export FASTABLE_CLI_CONFIG=$scratch/cli.json
cli=$binaries/fastable

finish() {
    local status=$?
    if [ "$status" != 0 ]; then
        echo "--- controller log"; tail -30 "$controller_state/controller.log" || true
        echo "--- node log"; as_root tail -30 "$node_state/node.log" || true
    fi
    links=$("$repository/scripts/leftovers.sh" --print-links) || true
    make -s -C "$repository" clean-data || status=1
    if "$repository/scripts/leftovers.sh" --data --links "$links"; then echo "ok: clean-data leaves nothing at all"; else status=1; fi
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT

expect() {
    local what=$1 wanted=$2 got=$3
    [ "$got" = "$wanted" ] || fail "$what: expected ‘$wanted’, got ‘$got’"
    echo "ok: $what"
}

make -s -C "$repository" up
make -s -C "$repository" up   # Again: it must find everything in place.

api=$("$cli" status --json | jq -r .apiUrl)
token_file=$("$cli" status --json | jq -r .tokenFile)
expect "the node is ready" ready "$("$cli" status --json | jq -r '.nodes[0].state')"
expect "exec by CLI" "hello from 1" "$("$cli" exec demo -- 'echo hello from $(cut -d" " -f4 /proc/self/stat >/dev/null; echo 1)')"
status=0; "$cli" exec demo -- 'exit 7' || status=$?
expect "the CLI exits with the command's status" 7 "$status"
"$cli" fs write demo kept.txt --content kept >/dev/null
expect "exec by REST" "6:rest" "$(curl -fsS -H "Authorization: Bearer $(cat "$token_file")" -H 'Content-Type: application/json' \
    -d '{"project":"demo","cmd":"echo rest; exit 6"}' "$api/api/tools/shell.exec" | jq -r '"\(.exitCode):\(.stdout|rtrimstr("\n"))"')"
expect "refused without a token" 401 "$(curl -s -o /dev/null -w '%{http_code}' "$api/api/tools")"
expect "the audit chain is whole" true "$("$cli" audit verify --json | jq -r .valid)"
"$repository/scripts/real-project.sh"

make -s -C "$repository" down
"$repository/scripts/leftovers.sh"
echo "ok: down leaves nothing behind"
"$cli" status >/dev/null 2>&1 && fail "the controller still answers after down"
make -s -C "$repository" up
expect "the data is there after down and up" kept "$("$cli" fs read demo kept.txt)"
