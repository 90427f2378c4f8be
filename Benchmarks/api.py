"""The clients that are measured: one keep-alive connection to the controller, and a Docker container from the same image."""

import http.client
import json
import os
import socket
import struct
import subprocess
import time
import urllib.parse
from pathlib import Path

BIN = Path(os.environ["FASTABLE_BIN_DIR"])
RUN_DIR = os.environ["FASTABLE_RUN_DIR"]
DAEMONS = {"fastable-node": int(os.environ["FASTABLE_NODE_PID"]), "fastable-controller": int(os.environ["FASTABLE_CONTROLLER_PID"])}


def run(*command, **more):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)


def runc_exec(container, *command):
    """The command line that runs something in a container by the runtime itself."""
    return ["runc", "--root", f"{RUN_DIR}/runtime", "exec", container, *command]


class KeptConnection:
    """HTTP/1.1 with as little work as a client can have: Python's own parses the head of each answer as if it were a mail, for a third
    of a millisecond, and would be measured with the server."""

    # The server closes what is idle for a minute.
    IDLE_SECONDS = 30

    def __init__(self, url):
        self.url = url
        self.host = url.netloc
        self.connect()

    def connect(self):
        self.socket = socket.create_connection((self.url.hostname, self.url.port), timeout=300)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.used = time.monotonic()

    def post(self, path, body, headers):
        if time.monotonic() - self.used > self.IDLE_SECONDS:
            self.socket.close()
            self.connect()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        answer = self.more(b"")
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer = self.more(answer)
        lower = answer[:end].lower()
        at = lower.index(b"content-length:") + 15
        length = int(lower[at : lower.find(b"\r\n", at) if lower.find(b"\r\n", at) >= 0 else end])
        while len(answer) < end + 4 + length:
            answer = self.more(answer)
        self.used = time.monotonic()
        return int(answer[9:12]), answer[end + 4 :]

    def more(self, answer):
        part = self.socket.recv(1 << 16)
        if not part:
            raise RuntimeError("the connection was closed")
        return answer + part


class Api:
    """One keep-alive connection to the controller."""

    def __init__(self):
        status = json.loads(subprocess.check_output([BIN / "fastable", "status", "--json"]))
        self.url = urllib.parse.urlparse(status["apiUrl"])
        self.version = status["version"]
        self.nodes = status["nodes"]
        self.token = Path(status["tokenFile"]).read_text().strip()
        self.connect()

    def connect(self):
        self.connection = KeptConnection(self.url)

    def another(self):
        """The same with a connection of its own."""
        copy = object.__new__(Api)
        copy.__dict__.update(self.__dict__)
        copy.connect()
        return copy

    def post(self, path, body, **headers):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        status, data = self.connection.post(path, json.dumps(body).encode(), headers)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {data[:300]}")
        return json.loads(data)

    def tool(self, operation, /, **arguments):
        return self.post(f"/api/tools/{operation}", arguments)

    def exec(self, command, project="demo"):
        answer = self.tool("shell.exec", project=project, cmd=command)
        assert answer["exitCode"] == 0, answer
        return answer["stdout"]

    def mcp(self, name, arguments):
        """A tool call in the 2025-11-25 revision, as most clients in the field make it."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        answer = self.post(
            "/api/mcp", message, **{"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"})
        if "error" in answer or answer["result"].get("isError"):
            raise RuntimeError(answer)
        return answer["result"]

    def stream_exec(self, project, command, **more):
        """Runs a command and reads its output as frames; gives the number of stdout bytes."""
        body = json.dumps({"project": project, "cmd": command, "timeoutSec": 300, **more})
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept": "application/vnd.fastable.frames",
        }
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=300)
        connection.request("POST", "/api/tools/shell.exec", body, headers)
        response = connection.getresponse()
        total = 0
        while header := response.read(12):
            _, kind, _, channel, _, length = struct.unpack(">BBBBII", header)
            left = length
            while left:
                part = response.read(min(left, 1 << 20))
                if not part:
                    raise RuntimeError("the stream was cut")
                left -= len(part)
            if kind == 3 and channel == 1:
                total += length
        connection.close()
        return total


class Docker:
    """A Docker container from the same root filesystem, or nothing."""

    def __init__(self):
        self.name = None
        probe = subprocess.run(["docker", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if probe.returncode != 0:
            return
        self.image = "fastable-bench"
        with subprocess.Popen(["tar", "-C", os.environ["FASTABLE_ROOTFS"], "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(["docker", "import", "-", self.image], stdin=tar.stdout, check=True, stdout=subprocess.DEVNULL)
        run("docker", "run", "-d", "--network=none", "--name", "fastable-bench", self.image, "sleep", "86400")
        self.name = "fastable-bench"

    def exec(self, *command):
        run("docker", "exec", self.name, *command)

    def close(self):
        if self.name:
            subprocess.run(["docker", "rm", "-f", self.name], stdout=subprocess.DEVNULL, check=False)
            subprocess.run(["docker", "rmi", "-f", self.image], stdout=subprocess.DEVNULL, check=False)


def init_processes():
    """The first processes of all containers."""
    listing = json.loads(subprocess.check_output(["runc", "--root", f"{RUN_DIR}/runtime", "list", "-f", "json"]))
    return [entry["pid"] for entry in listing or [] if entry["status"] == "running"]


def running_container():
    """The id and the first process of the container that runs `demo`."""
    listing = json.loads(subprocess.check_output(["runc", "--root", f"{RUN_DIR}/runtime", "list", "-f", "json"]))
    entry = next(entry for entry in listing if entry["status"] == "running")
    return entry["id"], entry["pid"]
