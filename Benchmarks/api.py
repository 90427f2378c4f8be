"""The clients that are measured: one keep-alive connection to the controller, and a Docker container from the same image."""

import http.client
import json
import os
import socket
import struct
import subprocess
import urllib.parse
from pathlib import Path

BIN = Path(os.environ["FASTABLE_BIN_DIR"])
RUN_DIR = os.environ["FASTABLE_RUN_DIR"]
DAEMONS = {"fastable-node": int(os.environ["FASTABLE_NODE_PID"]), "fastable-controller": int(os.environ["FASTABLE_CONTROLLER_PID"])}


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


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
        self.connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=300)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def another(self):
        """The same with a connection of its own."""
        copy = object.__new__(Api)
        copy.__dict__.update(self.__dict__)
        copy.connect()
        return copy

    def post(self, path, body, **headers):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        self.connection.request("POST", path, json.dumps(body), headers)
        response = self.connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {data[:300]}")
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
