#!/usr/bin/env bash
# Formatting of the Swift sources, and the scripts read by shellcheck and Python.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_toolchain
install_packages "$repository/scripts/packages-lint.list"
cd "$repository"
swift format lint --strict --recursive --parallel --configuration .swift-format Sources Tests Fuzz/Driver Fuzz/Package.swift Package.swift
shellcheck scripts/*.sh images/vibn-dev/build.sh .ci/run Benchmarks/*.sh
python3 -m compileall -q Tests/Python Benchmarks
echo "lint: clean"
