#!/usr/bin/env bash
# The main job on real input: Django's source tree (some 7,000 files) is pushed into a project, and its own tests (suites that do
# not mind being root) run in the container over CLI and MCP, with the output arriving while they run. Called by smoke.sh.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cli=$binaries/fastable
project=django
read -ra suite <<<"${FASTABLE_REAL_SUITE:-forms_tests urlpatterns utils_tests.test_text utils_tests.test_datastructures}"

tree=$("$repository/scripts/real-tree.sh")
"$cli" project delete "$project" --yes >/dev/null 2>&1 || true
"$cli" project create "$project" >/dev/null
step "Pushing $(find "$tree" -type f | wc -l) files"
"$cli" push "$project" "$tree"
found=$("$cli" fs grep "$project" 'class HttpRequest' --glob '*.py')   # Not in a pipe: a reader that leaves early ends the search.
[[ $found == *django/http/request.py* ]] || fail "the pushed tree is not whole"

step "Running Django's own tests in the container"
log=$(mktemp)
started=$(date +%s%N)
status=0
"$cli" exec "$project" --timeout 600 --cwd tests --env PYTHONPATH=/workspace:/workspace/vendor -- \
    python3 -u runtests.py -v 2 --parallel 1 "${suite[@]}" 2>&1 | while IFS= read -r line; do
    printf '%s %s\n' "$(($(date +%s%N) / 1000000))" "$line"
done >"$log" || status=$?
ended=$(date +%s%N)
[ "$status" = 0 ] || { tail -20 "$log" >&2; fail "the test suite failed with status $status"; }
tail -3 "$log" | cut -d' ' -f2-
grep -q ' OK' "$log" || { tail -20 "$log" >&2; fail "the suite did not say OK"; }

# Live means: the first lines came long before the last one, and not together with it. How long it takes to begin is up to the machine.
spread=$(($(tail -1 "$log" | cut -d' ' -f1) - $(head -1 "$log" | cut -d' ' -f1)))
total=$(((ended - started) / 1000000))
[ "$spread" -ge $((total / 20)) ] || fail "the output did not arrive live (all within $spread ms of $total ms)"
echo "ok: $(wc -l <"$log") lines arrived over $spread ms of $total ms"
rm -f "$log"

step "Running them once more over MCP"
status_json=$("$cli" status --json)
FASTABLE_MCP_URL=$(jq -r .mcpUrl <<<"$status_json") FASTABLE_TOKEN_FILE=$(jq -r .tokenFile <<<"$status_json") \
    FASTABLE_PROJECT=$project FASTABLE_REAL_PROJECT=$project FASTABLE_REAL_SUITE="${suite[*]}" \
    "$repository/.venv/bin/python" -m pytest -q "$repository/Tests/Python/test_real_project.py"
"$cli" project delete "$project" --yes >/dev/null
