"""Following real commands in a real container: WebSocket attach with an ordinary client, and events with resume."""

import base64
import hashlib
import json
import os
import random
import struct
import urllib.request
from contextlib import asynccontextmanager

import anyio
import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.asyncio.server import serve as serve_socket
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus

pytestmark = pytest.mark.anyio

PROTOCOL = "fastable.exec.v1"
MESSAGE, DATA, END = 2, 3, 5
STDIN, STDOUT, STDERR = 0, 1, 2


@pytest.fixture
def tool(base, token):
    """Runs an operation and gives its answer."""

    def run(operation, **fields):
        request = urllib.request.Request(
            f"{base}/api/tools/{operation}", data=json.dumps(fields).encode(), headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.load(response)

    return run


@pytest.fixture
def start(tool, project):
    """Starts a command that goes on by itself, and gives its id. What is left of it is ended afterwards."""
    started = []

    def run(cmd, **fields):
        started.append(tool("shell.exec", project=project, cmd=cmd, detach=True, **fields)["execId"])
        return started[-1]

    yield run
    for exec in started:
        tool("shell.kill", execId=exec, graceSec=0)


class Attachment:
    def __init__(self, socket):
        self.socket = socket
        self.buffer = {STDOUT: b"", STDERR: b""}
        self.passed = 0
        self.result = None
        self.started = None

    async def send(self, type, payload=b"", channel=0):
        await self.socket.send(struct.pack(">BBBBII", 1, type, 0, channel, 1, len(payload)) + payload)

    async def write(self, data):
        await self.send(DATA, data)

    async def tell(self, message):
        await self.send(MESSAGE, json.dumps(message).encode())

    async def step(self):
        """Takes one message. Raises ConnectionClosed."""
        frame = await self.socket.recv()
        version, type, flags, channel, stream, length = struct.unpack(">BBBBII", frame[:12])
        payload = frame[12:]
        assert version == 1 and flags == 0 and stream == 1 and length == len(payload)
        if type == DATA:
            self.buffer[channel] += payload
            return
        assert type == MESSAGE
        message = json.loads(payload)
        assert "error" not in message, message
        self.started = message.get("started", self.started)
        self.result = message.get("result", self.result)
        self.passed = message.get("stdin", {}).get("passed", self.passed)

    async def until(self, condition):
        with anyio.fail_after(300):
            while not condition():
                await self.step()

    async def end(self):
        """Everything up to the result and the goodbye."""
        with anyio.fail_after(300), pytest.raises(ConnectionClosedOK):
            while True:
                await self.step()
        return self.result

    def vanish(self):
        """Breaks the connection without a goodbye."""
        self.socket.transport.abort()


@pytest.fixture
def attach(base, token):
    @asynccontextmanager
    async def open_attachment(exec, **query):
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        url = f"{base.replace('http', 'ws', 1)}/api/execs/{exec}/attach?{parameters}"
        headers = {"Authorization": f"Bearer {token}"}
        async with connect_socket(url, subprotocols=[PROTOCOL], additional_headers=headers) as socket:
            assert socket.subprotocol == PROTOCOL
            attachment = Attachment(socket)
            await attachment.until(lambda: attachment.started)
            yield attachment

    return open_attachment


async def test_a_terminal_is_written_to_and_resized(start, attach):
    exec = start("stty size; while read line; do stty size; echo got $line; done", tty={"rows": 24, "columns": 80})
    async with attach(exec, stdin="append") as first:
        await first.until(lambda: b"24 80\r\n" in first.buffer[STDOUT])
        await first.tell({"resize": {"rows": 40, "columns": 132}})
        await first.write(b"one\n")
        await first.until(lambda: b"got one\r\n" in first.buffer[STDOUT])
        assert b"40 132\r\n" in first.buffer[STDOUT]
        first.vanish()
    # The command has not noticed, and whoever comes later sees it all.
    async with attach(exec, stdin="append") as second:
        await second.write(b"two\n")
        await second.until(lambda: b"got two\r\n" in second.buffer[STDOUT])
        assert b"got one\r\n" in second.buffer[STDOUT]
        await second.write(b"\x04")
        result = await second.end()
    assert result["exitCode"] == 0 and result["signal"] is None and result["execId"] == exec
    assert result["stdoutBytes"] == len(second.buffer[STDOUT])


async def test_a_signal_reaches_the_foreground(start, attach):
    exec = start("trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done", openStdin=True)
    async with attach(exec, stdin="append") as command:
        await command.until(lambda: command.buffer[STDOUT] == b"ready\n")
        await command.tell({"signal": "SIGINT"})
        result = await command.end()
    assert command.buffer[STDOUT] == b"ready\ninterrupted\n" and result["exitCode"] == 9


async def test_output_goes_on_at_the_byte_where_it_stopped(start, attach):
    lines = 20_000
    exec = start(f"i=0; while [ $i -lt {lines} ]; do echo \"line $i\"; echo \"error $i\" >&2; i=$((i+1)); done")
    chance = random.Random(7)
    got = {STDOUT: b"", STDERR: b""}
    breaks, result = 0, None
    while result is None:
        async with attach(exec, stdout=len(got[STDOUT]), stderr=len(got[STDERR])) as part:
            if breaks < 8:
                wanted = chance.randrange(1, 30_000)
                await part.until(lambda: part.result or len(part.buffer[STDOUT]) >= wanted)
                part.vanish()
                breaks += 1
            else:
                result = await part.end()
            result = result or part.result
        for channel in got:
            got[channel] += part.buffer[channel]
    assert got[STDOUT] == "".join(f"line {i}\n" for i in range(lines)).encode()
    assert got[STDERR] == "".join(f"error {i}\n" for i in range(lines)).encode()
    assert result["stdoutBytes"] == len(got[STDOUT]) and result["stderrBytes"] == len(got[STDERR])
    assert breaks >= 2, "however large the pieces were"


async def test_input_goes_on_at_the_byte_that_was_passed_on(start, attach):
    data = random.Random(3).randbytes(700_000)
    exec = start("sha256sum", openStdin=True)
    chance = random.Random(11)
    passed = 0
    for _ in range(5):
        async with attach(exec, stdin=passed) as part:
            place = passed
            for _ in range(chance.randrange(1, 8)):
                piece = data[place : place + chance.randrange(1, 30_000)]
                await part.write(piece)
                place += len(piece)
            # Not all of it: what is not known to have arrived is sent again.
            with anyio.move_on_after(chance.random() / 10):
                await part.until(lambda: part.passed >= place)
            part.vanish()
        passed = max(passed, part.passed)
    async with attach(exec, stdin=passed) as last:
        for place in range(passed, len(data), 50_000):
            await last.write(data[place : place + 50_000])
        await last.send(END)
        await last.end()
    assert last.buffer[STDOUT].decode().split()[0] == hashlib.sha256(data).hexdigest()


async def test_a_goodbye_waits_for_what_was_written(start, attach, tool):
    exec = start("wc -c", openStdin=True)
    async with attach(exec, stdin="append") as command:
        for _ in range(3):
            await command.write(b"x" * 100_000)
        await command.send(END)
    result = tool("shell.wait", execId=exec)
    assert result["exitCode"] == 0 and result["stdout"] == "300000\n"


async def test_who_may_attach(start, base, token):
    exec = start("sleep 300")
    url = f"{base.replace('http', 'ws', 1)}/api/execs/{exec}/attach"
    bearer = {"Authorization": f"Bearer {token}"}
    for status, options in [
        (401, {"subprotocols": [PROTOCOL]}),
        (401, {"subprotocols": [PROTOCOL, "fastable.token.fst_wrong"]}),
        (403, {"subprotocols": [PROTOCOL], "additional_headers": bearer, "origin": "https://evil.example"}),
        (400, {"additional_headers": bearer}),
    ]:
        with pytest.raises(InvalidStatus) as refused:
            async with connect_socket(url, **options):
                pass
        answer = refused.value.response
        assert answer.status_code == status
        assert json.loads(answer.body)["detail"], "a refusal says what to do"
    # As a page in a browser does it.
    offers = [PROTOCOL, f"fastable.token.{token}"]
    async with connect_socket(url, subprotocols=offers, origin="http://localhost:3000") as socket:
        assert socket.subprotocol == PROTOCOL


async def test_a_reader_may_not_write(start, attach):
    async with attach(start("cat", openStdin=True)) as reader:
        await reader.write(b"hello")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await reader.step()
        assert closed.value.rcvd.code == 1008 and "stdin" in closed.value.rcvd.reason


def test_events_go_on_behind_the_last_one(start, base, token):
    exec = start("for i in $(seq 1 500); do echo \"Zeile $i äöü\"; echo \"$i\" >&2; done; printf '\\377\\000'; exit 4")

    def events(last=None, most=None):
        request = urllib.request.Request(
            f"{base}/api/execs/{exec}/output", headers={"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        )
        if last:
            request.add_header("Last-Event-ID", last)
        with urllib.request.urlopen(request, timeout=300) as response:
            event = {}
            for line in response:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name and value:
                    event[name] = value
                elif event:
                    yield event
                    event = {}
                    most = None if most is None else most - 1
                    if most == 0:
                        return

    got = {"stdout": b"", "stderr": b""}
    last, result = None, None
    while result is None:
        for event in events(last, most=random.randrange(2, 5)):
            data, last = json.loads(event["data"]), event["id"]
            if event["event"] in got:
                piece = data["text"].encode() if "text" in data else base64.b64decode(data["base64"])
                assert data["offset"] == len(got[event["event"]])
                got[event["event"]] += piece
            elif event["event"] == "result":
                result = data
    assert got["stdout"] == "".join(f"Zeile {i} äöü\n" for i in range(1, 501)).encode() + b"\xff\0"
    assert got["stderr"] == "".join(f"{i}\n" for i in range(1, 501)).encode()
    assert result["exitCode"] == 4 and last.endswith("-end")
    assert list(events(last)) == [], "nothing follows the end"


@asynccontextmanager
async def controller(*answers):
    """Something that takes WebSockets as a controller does; each connection gets the next answer, the last one again and again."""
    connections = []

    async def handle(socket):
        connections.append(socket.request.path)
        await answers[min(len(connections), len(answers)) - 1](socket)

    async with serve_socket(handle, "127.0.0.1", 0, subprotocols=[PROTOCOL]) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


def message(**content):
    payload = json.dumps(content).encode()
    return struct.pack(">BBBBII", 1, MESSAGE, 0, 0, 1, len(payload)) + payload


STARTED = message(started={"execId": "exe_x", "stdoutOffset": 0, "stderrOffset": 0, "stdinOffset": 0})
RESULT = message(result={"exitCode": 3, "signal": None, "timedOut": False})


async def fastable_attach(url, tmp_path):
    (tmp_path / "token").write_text("fst_x")
    return await anyio.run_process(
        [os.environ["FASTABLE_BIN_DIR"] + "/fastable", "attach", "exe_x"],
        env={"FASTABLE_API_URL": url, "FASTABLE_TOKEN_FILE": str(tmp_path / "token"), "HOME": str(tmp_path)},
        check=False,
    )


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009])
async def test_a_close_for_a_mistake_ends_the_program_at_once(code, tmp_path):
    async def refuse(socket):
        await socket.send(STARTED)
        await socket.close(code, "Not like this.")

    async with controller(refuse) as (url, connections):
        with anyio.fail_after(300):
            done = await fastable_attach(url, tmp_path)
    assert done.returncode == 1 and len(connections) == 1
    assert f"close {code}): Not like this. The command goes on." in done.stderr.decode()


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, None])
async def test_after_another_close_the_program_comes_again(code, tmp_path):
    async def leave(socket):
        await socket.send(STARTED)
        if code:
            await socket.close(code, "Later.")
        else:
            socket.transport.abort()

    async def answer(socket):
        await socket.send(STARTED)
        await socket.send(RESULT)
        await socket.wait_closed()

    async with controller(leave, leave, answer) as (url, connections):
        with anyio.fail_after(300):
            done = await fastable_attach(url, tmp_path)
    assert (done.returncode, len(connections), done.stderr) == (3, 3, b"")
