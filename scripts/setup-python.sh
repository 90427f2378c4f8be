#!/usr/bin/env bash
# The Python clients that the tests and the benchmarks use, in a virtual environment of their own.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_packages "$repository/scripts/packages-test.list"
venv=$repository/.venv
wanted=$repository/Tests/Python/requirements.txt
cmp -s "$wanted" "$venv/installed.txt" && exit 0
step "Installing the Python test clients"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
retry "$venv/bin/pip" install --quiet --requirement "$wanted"
cp "$wanted" "$venv/installed.txt"
