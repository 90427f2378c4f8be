"""The MCP endpoint with the official Python client, in both eras."""

import json
import time

import anyio
import jsonschema
import pytest
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio

MODES = ["legacy", "2026-07-28", "auto"]
AGENT_TOOLS = {
    "projects_create", "projects_list", "projects_get", "projects_delete", "projects_snapshot",
    "projects_snapshots", "projects_snapshot_delete", "projects_restore", "projects_checkpoint", "projects_checkpoints",
    "projects_checkpoint_delete", "projects_rollback", "projects_fork", "devcontainer.ensure",
    "devcontainer.status", "devcontainer.suspend", "devcontainer.resume", "devcontainer.stop", "devcontainer.restart",
    "devcontainer.explain", "devcontainer.keep_awake", "devcontainer.limits", "projects_set_lifecycle", "projects_set_image", "projects_usage",
    "shell.exec", "fs.read", "fs.write", "fs.edit", "fs.list", "fs.glob", "fs.grep", "fs.delete",
    "fs.stat", "fs.mkdir", "fs.move", "fs.copy", "fs.chmod",
}
ERROR_KEY = "dev.fastable/error"


@pytest.fixture(params=MODES)
async def client(request, connect):
    async with connect(request.param) as client:
        yield client


async def run(client, project: str, command, **options):
    """Runs a command and gives its structured answer."""
    result = await client.call_tool("shell.exec", {"project": project, "cmd": command, **options})
    assert not result.is_error, result.content
    return result.structured_content


def code_of(result) -> str:
    """The error code of a failed call, which its text begins with, too."""
    assert result.is_error and result.structured_content is None
    code = result.meta[ERROR_KEY]["code"]
    assert result.content[0].text.startswith(code + ": ")
    return code


# --- discovery ---------------------------------------------------------------------------------------------------------


async def test_each_mode_speaks_its_revision(connect):
    for mode, revision in [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28"), ("auto", "2026-07-28")]:
        async with connect(mode) as client:
            assert client.session.protocol_version == revision
            if mode != "2026-07-28":
                assert client.session.server_info.name == "fastable"
                assert client.session.instructions


async def test_the_list_is_complete_described_and_always_the_same(client):
    tools = (await client.list_tools()).tools
    names = [tool.name for tool in tools]
    assert AGENT_TOOLS <= set(names) and names == sorted(names)
    assert not {name for name in names if name.startswith(("tokens_", "nodes_", "images_", "audit_", "admin_"))}
    for tool in tools:
        assert tool.title and tool.description
        hints = tool.annotations.model_dump(by_alias=True, exclude_unset=True)
        assert set(hints) == {"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        for schema in (tool.input_schema, tool.output_schema):
            assert schema["type"] == "object"
            jsonschema.Draft202012Validator.check_schema(schema)
        assert tool.input_schema.get("additionalProperties") is False
    again = (await client.list_tools()).tools
    assert [tool.model_dump() for tool in again] == [tool.model_dump() for tool in tools]


# --- commands ----------------------------------------------------------------------------------------------------------


async def test_a_command_runs(client, project):
    result = await client.call_tool("shell.exec", {"project": project, "cmd": "echo out; echo err >&2; exit 3"})
    assert not result.is_error, "a command that fails is no failed call"
    answer = result.structured_content
    assert answer["exitCode"] == 3 and answer["signal"] is None and answer["timedOut"] is False
    assert answer["stdout"] == "out\n" and answer["stderr"] == "err\n" and answer["truncated"] is False
    assert answer["execId"].startswith("exe_") and answer["durationMs"] > 0
    assert json.loads(result.content[0].text) == answer


async def test_arguments_directory_and_environment(client, project):
    answer = await run(
        client, project, ["/bin/sh", "-c", 'echo "$PWD $GREETING $1"', "sh", "a b"], cwd="/tmp", env={"GREETING": "hi é"})
    assert answer["stdout"] == "/tmp hi é a b\n"


async def test_a_command_that_takes_too_long_is_killed(client, project):
    began = time.monotonic()
    answer = await run(client, project, "sleep 100 & sleep 100", timeoutSec=1)
    assert answer["timedOut"] is True and answer["exitCode"] is None
    assert time.monotonic() - began < 90


async def test_many_calls_at_once(client, project):
    async def one(number: int):
        answer = await run(client, project, f"sleep 0.2; echo {number}")
        assert answer["stdout"] == f"{number}\n"

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number)


# --- files -------------------------------------------------------------------------------------------------------------


async def test_files_are_written_edited_and_read(client, project, folder):
    async def call(tool: str, **arguments):
        return await client.call_tool(tool, {"project": project, **arguments})

    path = f"{folder}/src/hello.py"
    written = await call("fs.write", path=path, content="def hello():\n    return 'hällo'\n")
    assert not written.is_error, written.content
    assert written.structured_content["created"] is True

    edit = [{"oldString": "'hällo'", "newString": "'good day'"}]
    edited = await call("fs.edit", path=path, edits=edit, ifMatch=written.structured_content["sha256"])
    assert not edited.is_error, edited.content
    assert edited.structured_content["replacements"] == 1

    assert code_of(await call("fs.edit", path=path, edits=edit)) == "not_found"
    stale = [{"oldString": "good", "newString": "bad"}]
    assert code_of(await call("fs.edit", path=path, edits=stale, ifMatch=written.structured_content["sha256"])) == "stale"

    read = await call("fs.read", path=path)
    assert read.structured_content["content"] == "def hello():\n    return 'good day'\n"
    assert read.structured_content["sha256"] == edited.structured_content["sha256"]
    seen = await run(client, project, f"cat {path}")
    assert seen["stdout"] == read.structured_content["content"]

    found = await call("fs.grep", pattern="good day", path=folder)
    assert [match["path"] for match in found.structured_content["matches"]] == [path]
    globbed = await call("fs.glob", pattern="*.py", path=folder)
    assert globbed.structured_content["paths"] == [path]
    listed = await call("fs.list", path=folder)
    assert [entry["name"] for entry in listed.structured_content["entries"]] == ["src"]

    assert not (await call("fs.delete", path=folder, recursive=True)).is_error
    assert code_of(await call("fs.read", path=path)) == "not_found"


async def test_failures_say_what_to_do(client, project):
    for tool, arguments, code in [
        ("fs.read", {"project": project, "path": "no/such/file"}, "not_found"),
        ("fs.read", {"project": project, "path": "../../etc/passwd"}, "forbidden"),
        ("fs.read", {"project": "no-such-project", "path": "a"}, "not_found"),
        ("shell.exec", {"project": project}, "invalid"),
        ("shell.exec", {"project": project, "cmd": "true", "command": "x"}, "invalid"),
        ("shell.exec", {"project": project, "cmd": 7}, "invalid"),
        ("shell.exec", {"project": project, "cmd": "true", "timeoutSec": 100000}, "unprocessable"),
    ]:
        result = await client.call_tool(tool, arguments)
        assert code_of(result) == code, (tool, arguments, result.content)


async def test_an_unknown_tool_is_an_error_of_the_protocol(client):
    for name in ["no.such.tool", "tokens_create"]:
        with pytest.raises(MCPError) as caught:
            await client.call_tool(name, {})
        assert caught.value.code == -32602


# --- progress and cancellation -------------------------------------------------------------------------------------------


async def test_progress_comes_while_the_command_prints(client, project, folder):
    """The command goes on once its first line was seen."""
    seen: list[tuple[float, str]] = []
    first = anyio.Event()

    async def note(progress: float, total: float | None, message: str | None):
        seen.append((progress, message or ""))
        if "line 1" in "".join(message for _, message in seen):
            first.set()

    async def open_gate():
        with anyio.fail_after(120):
            await first.wait()
        await run(client, project, f"touch {folder}/gate")

    command = f"mkdir {folder}; echo line 1; until [ -e {folder}/gate ]; do sleep 0.05; done; "
    async with anyio.create_task_group() as group:
        group.start_soon(open_gate)
        result = await client.call_tool(
            "shell.exec",
            {"project": project, "cmd": command + f"for i in 2 3 4; do echo line $i; sleep 0.2; done; rm -r {folder}"},
            progress_callback=note)
    assert not result.is_error and result.structured_content["stdout"].count("line") == 4
    text = "".join(message for _, message in seen)
    assert [f"line {i}" in text for i in (1, 2, 3, 4)] == [True] * 4
    assert [value for value, _ in seen] == sorted({value for value, _ in seen}), "progress rises"


@pytest.mark.parametrize("wants_progress", [True, False])
async def test_cancelling_a_call_kills_the_command(client, project, folder, wants_progress):
    """The command writes the time into a file; once it was killed, with its descendants, the file stays as it is."""
    await run(client, project, f"mkdir -p {folder}")
    tick = f"date +%s%N > {folder}/new; mv {folder}/new {folder}/beat"
    beat = f"sh -c 'while :; do {tick}; echo .; sleep 0.1; done' & wait"

    async def note(progress, total, message):
        pass

    async with anyio.create_task_group() as group:
        async def call():
            await client.call_tool(
                "shell.exec", {"project": project, "cmd": beat}, progress_callback=note if wants_progress else None)

        group.start_soon(call)
        with anyio.fail_after(120):
            while (await run(client, project, f"cat {folder}/beat 2>/dev/null || true"))["stdout"] == "":
                await anyio.sleep(0.1)
        group.cancel_scope.cancel()

    with anyio.fail_after(120):
        while True:
            answer = await run(client, project, f"cat {folder}/beat; sleep 0.5; cat {folder}/beat")
            before, after = answer["stdout"].split()
            if before == after:
                break
    await run(client, project, f"rm -r {folder}")


async def test_cancelling_one_of_two_legacy_clients_leaves_the_other(connect, project, folder):
    """Both count their requests from 1: a cancellation must not reach the other session's call."""
    async with connect("legacy") as first, connect("legacy") as second:
        finished = []

        async def long(client, name):
            pid = f"{folder}/{name}"
            answer = await run(
                client, project,
                f"mkdir -p {folder}; echo $$ > {pid}.new; mv {pid}.new {pid}; until [ -e {folder}/gate ]; do sleep 0.05; done; "
                "echo done")
            finished.append((name, answer["stdout"]))

        async def becomes(wanted: bool, name: str):
            """Waits until the command of that name runs, or does not any more."""
            pid = f"$(cat {folder}/{name} 2>/dev/null)"
            with anyio.fail_after(120):
                while ((await run(second, project, f'kill -0 "{pid}"'))["exitCode"] == 0) != wanted:
                    await anyio.sleep(0.1)

        async with anyio.create_task_group() as outer:
            outer.start_soon(long, second, "second")
            async with anyio.create_task_group() as inner:
                inner.start_soon(long, first, "first")
                await anyio.wait_all_tasks_blocked()
                await becomes(True, "first")
                await becomes(True, "second")
                inner.cancel_scope.cancel()
            await becomes(False, "first")
            await becomes(True, "second")
            await run(second, project, f"touch {folder}/gate")
        assert finished == [("second", "done\n")]
        await run(second, project, f"rm -r {folder}")
