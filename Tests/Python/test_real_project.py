"""A real project's own test suite over MCP: called by scripts/real-project.sh, which has pushed the tree."""

import os
import time

import pytest

PROJECT = os.environ.get("FASTABLE_REAL_PROJECT")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not PROJECT, reason="scripts/real-project.sh sets FASTABLE_REAL_PROJECT"),
]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_suite_runs_and_its_output_arrives_live(connect, mode):
    arrivals = []

    async def progress(_progress, _total, message):
        if message:
            arrivals.append(time.monotonic())

    command = "cd tests && PYTHONPATH=/workspace:/workspace/vendor python3 -u runtests.py -v 2 --parallel 1 " + os.environ[
        "FASTABLE_REAL_SUITE"
    ]
    started = time.monotonic()
    async with connect(mode) as client:
        result = await client.call_tool(
            "shell.exec",
            {"project": PROJECT, "cmd": command, "timeoutSec": 600},
            progress_callback=progress,
            read_timeout_seconds=660,
        )
    spent = time.monotonic() - started
    assert not result.is_error
    answer = result.structured_content
    assert answer["exitCode"] == 0, answer["stderr"][-2000:]
    assert "OK" in answer["stderr"][-200:]
    # Live: what was told first came long before the end, and not together with it. How long it takes to begin is up to the machine.
    assert len(arrivals) >= 3
    assert arrivals[-1] - arrivals[0] >= spent / 20, f"all output came within {arrivals[-1] - arrivals[0]:.1f} s of {spent:.1f} s"
