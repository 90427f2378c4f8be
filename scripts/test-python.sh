#!/usr/bin/env bash
# The tests of Tests/Python: official and ordinary clients, against an installation of their own, which is taken down again whatever
# happens. Called by test.sh; arguments go to pytest (`scripts/test-python.sh -k terminal`).
export FASTABLE_INSTANCE=test-$$ FASTABLE_API_LISTEN=127.0.0.1:0 FASTABLE_NODE_LISTEN=127.0.0.1:0
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scratch=$(mktemp -d)
export FASTABLE_CLI_CONFIG=$scratch/cli.json FASTABLE_BIN_DIR=$binaries

finish() {
    local status=$?
    if [ "$status" != 0 ]; then
        echo "--- controller log"; tail -15 "$controller_state/controller.log" || true
        echo "--- node log"; as_root tail -15 "$node_state/node.log" || true
    fi
    "$repository/scripts/down.sh" --data || status=1
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT

"$repository/scripts/setup-python.sh"
"$repository/scripts/up.sh"
# That one belongs to real-project.sh, which pushes a tree for it.
options=(-q -rs --ignore "$repository/Tests/Python/test_real_project.py")
told=$("$binaries/fastable" status --json)
FASTABLE_MCP_URL=$(jq -r .mcpUrl <<<"$told") FASTABLE_TOKEN_FILE=$(jq -r .tokenFile <<<"$told") FASTABLE_PROJECT=demo \
    "$repository/.venv/bin/python" -m pytest "${options[@]}" "$repository/Tests/Python" "$@"
