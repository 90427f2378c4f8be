#!/usr/bin/env bash
# Formatting of the Swift sources and syntax of the scripts.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_toolchain
cd "$repository"
swift format lint --strict --recursive --parallel --configuration .swift-format Sources Tests Package.swift
for script in scripts/*.sh images/vibn-dev/build.sh .ci/run Benchmarks/*.sh; do
    bash -n "$script"
done
python3 -m compileall -q Tests/Python Benchmarks
echo "lint: clean"
