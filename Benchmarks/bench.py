"""Measures Fastable beside what a user would pick instead, in one run, and writes docs/benchmarks.md.

Every case is warmed up, then run at least 200 times; the report gives percentiles, never a mean alone. The runs of one case
and its peers follow each other closely, so that a noisy moment of the machine hits all of them.
"""

import argparse
import datetime
import http.client
import json
import os
import platform
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path

BIN = Path(os.environ["FASTABLE_BIN_DIR"])
RUN_DIR = os.environ["FASTABLE_RUN_DIR"]
STREAM_BYTES = 500 * 1000 * 1000


class Api:
    """One keep-alive connection to the controller."""

    def __init__(self):
        status = json.loads(subprocess.check_output([BIN / "fastable", "status", "--json"]))
        self.url = urllib.parse.urlparse(status["apiUrl"])
        self.version = status["version"]
        self.nodes = status["nodes"]
        self.token = Path(status["tokenFile"]).read_text().strip()
        self.connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=120)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

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


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def measure(action, runs, warm_up=10):
    """Milliseconds of each run."""
    for _ in range(warm_up):
        action()
    samples = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        samples.append((time.perf_counter() - start) * 1000)
    return sorted(samples)


def percentile(samples, share):
    return samples[min(len(samples) - 1, int(len(samples) * share))]


class Report:
    def __init__(self):
        self.sections = []

    def table(self, title, rows, note=""):
        lines = [f"## {title}", "", "| case | p50 | p90 | p99 | max | runs |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
        for name, samples in rows:
            if samples is None:
                lines.append(f"| {name} | not measured: no Docker engine | | | | |")
                continue
            cells = [percentile(samples, share) for share in (0.5, 0.9, 0.99)] + [samples[-1]]
            lines.append(f"| {name} | " + " | ".join(f"{cell:.2f} ms" for cell in cells) + f" | {len(samples)} |")
            print(f"  {name}: p50 {cells[0]:.2f} ms, p99 {cells[2]:.2f} ms", flush=True)
        if note:
            lines += ["", note]
        self.sections.append("\n".join(lines))

    def plain(self, title, text):
        print(f"  {title}\n{text}", flush=True)
        self.sections.append(f"## {title}\n\n{text}")


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

    def measure(self, runs, *command, warm_up=5):
        return measure(lambda: run("docker", *command), runs, warm_up) if self.name else None

    def close(self):
        if self.name:
            subprocess.run(["docker", "rm", "-f", self.name], stdout=subprocess.DEVNULL, check=False)
            subprocess.run(["docker", "rmi", "-f", self.image], stdout=subprocess.DEVNULL, check=False)


def runc_container():
    listing = json.loads(subprocess.check_output(["runc", "--root", f"{RUN_DIR}/runtime", "list", "-f", "json"]))
    return next(entry["id"] for entry in listing if entry["status"] == "running")


def bench_exec(api, docker, report, runs):
    api.tool("shell.exec", project="demo", cmd="true")
    container = runc_container()
    rest = measure(lambda: api.tool("shell.exec", project="demo", cmd=["true"]), runs)
    rows = [
        ("Fastable, REST on a kept-alive connection", rest),
        ("Fastable, MCP `tools/call`", measure(lambda: api.mcp("shell.exec", {"project": "demo", "cmd": ["true"]}), runs)),
        ("Fastable, CLI", measure(lambda: run(BIN / "fastable", "exec", "demo", "--", "true"), runs)),
    ]
    peer = docker.measure(runs, "exec", docker.name or "", "true")
    rows.append(("`docker exec`", peer))
    rows.append(
        ("`runc exec`", measure(lambda: run("runc", "--root", f"{RUN_DIR}/runtime", "exec", container, "/bin/true"), runs)))
    note = ""
    if peer:
        note = f"REST is {percentile(peer, 0.5) / percentile(rest, 0.5):.1f} times as fast as `docker exec` (p50)."
    report.table("A command in a running container: `true`", rows, note)


def bench_new_project(api, docker, report, runs):
    names = iter(range(10**9))

    def first_output():
        name = f"bench-{next(names)}"
        start = time.perf_counter()
        api.tool("projects_create", name=name)
        answer = api.tool("shell.exec", project=name, cmd=["echo", "hello"])
        spent = (time.perf_counter() - start) * 1000
        assert answer["stdout"] == "hello\n", answer
        api.tool("projects_delete", project=name)
        return spent

    for _ in range(5):
        first_output()
    ours = sorted(first_output() for _ in range(runs))
    peer = None
    if docker.name:
        peer = docker.measure(runs, "run", "--rm", "--network=none", docker.image, "echo", "hello", warm_up=3)
    report.table(
        "A new project until its first output (warm image)",
        [("Fastable: create project, make container, run `echo`", ours), ("`docker run --rm` (without a network)", peer)])


def bench_files(api, docker, report, runs, scratch):
    text = "x" * 4095 + "\n"
    write = measure(lambda: api.tool("fs.write", project="demo", path="bench.txt", content=text), runs * 5)
    read = measure(lambda: api.tool("fs.read", project="demo", path="bench.txt"), runs * 5)
    local = Path(scratch) / "bench.txt"
    local.write_text(text)
    copy_in = docker.measure(runs, "cp", str(local), f"{docker.name}:/bench.txt")
    cat = docker.measure(runs, "exec", docker.name or "", "cat", "/bench.txt")
    report.table(
        "A file of 4 KiB",
        [
            ("Fastable `fs.read`, REST", read),
            ("`docker exec cat`", cat),
            ("Fastable `fs.write` (fsync), REST", write),
            ("`docker cp` into the container (no fsync)", copy_in),
        ])


def bench_trees(api, docker, report, scratch, repeats=10):
    """10,000 small files in 100 directories, there and back; each time into an empty place."""
    files = 10_000
    tree = Path(scratch) / "tree"
    for index in range(files):
        path = tree / f"d{index % 100}" / f"f{index}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {index}\n" * (index % 50 + 1))

    def timed(action):
        samples = []
        for number in range(-1, repeats):
            start = time.perf_counter()
            action(number)
            samples.append((time.perf_counter() - start) * 1000)
        # The first one warms up.
        return sorted(samples[1:])

    def back(number):
        return Path(scratch) / f"back-{number}"

    def count(path):
        found = sum(len(names) for _, _, names in os.walk(path))
        assert found == files, found

    cli = BIN / "fastable"
    api.tool("projects_create", name="bench-tree")
    rows = [
        ("Fastable `push` (fsync)", timed(lambda n: run(cli, "push", "bench-tree", tree, "--to", f"t{n}"))),
        ("Fastable `pull`", timed(lambda n: run(cli, "pull", "bench-tree", back(n), "--from", "t0"))),
    ]
    count(back(0))
    api.tool("projects_delete", project="bench-tree")
    pushed = pulled = None
    if docker.name:
        pushed = timed(lambda n: run("docker", "cp", str(tree), f"{docker.name}:/t{n}"))
        pulled = timed(lambda n: run("docker", "cp", f"{docker.name}:/t0", str(back(f"docker-{n}"))))
        count(back("docker-0"))
    rows.insert(1, ("`docker cp` into the container (no fsync)", pushed))
    rows.append(("`docker cp` out of the container", pulled))
    report.table("A tree of 10,000 small files", rows)


def bench_stream(api, docker, report, repeats=7):
    def ours():
        total = api.stream_exec("demo", ["head", "-c", str(STREAM_BYTES), "/dev/zero"])
        assert total == STREAM_BYTES, total

    def masked():
        line = "2026-11-21T12:00:00Z INFO [main] compiled module 4711 in 42 ms: ok"
        command = f"yes '{line}' | head -c {STREAM_BYTES}"
        total = api.stream_exec("demo", command, secretEnv={"TOKEN": "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"})
        assert total == STREAM_BYTES, total

    def theirs():
        with subprocess.Popen(
            ["docker", "exec", docker.name, "head", "-c", str(STREAM_BYTES), "/dev/zero"], stdout=subprocess.PIPE
        ) as process:
            total = 0
            while part := process.stdout.read(1 << 20):
                total += len(part)
        assert total == STREAM_BYTES, total

    def rates(action):
        return sorted((STREAM_BYTES / 1e6 / (sample / 1000) for sample in measure(action, repeats, 1)), reverse=True)

    lines = ["| case | median | slowest | fastest | runs |", "| --- | ---: | ---: | ---: | ---: |"]
    cases = (
        ("Fastable, REST frames", ours),
        ("Fastable, REST frames, lines of a log, a secret masked", masked),
        ("`docker exec`", theirs if docker.name else None),
    )
    for name, action in cases:
        if action is None:
            lines.append(f"| {name} | not measured: no Docker engine | | | |")
            continue
        values = rates(action)
        lines.append(
            f"| {name} | {values[len(values) // 2]:.0f} MB/s | {values[-1]:.0f} MB/s | {values[0]:.0f} MB/s | {repeats} |")
    report.plain("500 MB from a command to an HTTP client", "\n".join(lines))


def memory_kib(pid, field):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def bench_memory(report):
    rows = ["| process | resident | private |", "| --- | ---: | ---: |"]
    for name, variable in (("fastable-node", "FASTABLE_NODE_PID"), ("fastable-controller", "FASTABLE_CONTROLLER_PID")):
        pid = os.environ[variable]
        private = memory_kib(pid, "Private_Clean") + memory_kib(pid, "Private_Dirty")
        rows.append(f"| {name} | {memory_kib(pid, 'Rss') / 1024:.1f} MiB | {private / 1024:.1f} MiB |")
    listing = json.loads(subprocess.check_output(["runc", "--root", f"{RUN_DIR}/runtime", "list", "-f", "json"]))
    for entry in listing:
        if entry["status"] == "running":
            pid = entry["pid"]
            private = memory_kib(pid, "Private_Clean") + memory_kib(pid, "Private_Dirty")
            rows.append(f"| idle container (fastable-init) | {memory_kib(pid, 'Rss') / 1024:.2f} MiB | {private / 1024:.2f} MiB |")
            break
    report.plain("Memory after all of the above", "\n".join(rows))


def machine():
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine())
    memory = next(
        int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    runc = subprocess.check_output(["runc", "--version"], text=True).splitlines()[0]
    docker = "none"
    probe = subprocess.run(
        ["docker", "version", "-f", "{{.Server.Version}}"], capture_output=True, text=True, check=False)
    if probe.returncode == 0:
        docker = probe.stdout.strip()
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)["PRETTY_NAME"].strip('"')
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory // 1024} MiB, Linux {platform.release()}, {release}, "
        f"{runc}, Docker {docker}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    api = Api()
    report = Report()
    docker = Docker()
    try:
        bench_exec(api, docker, report, options.runs)
        bench_new_project(api, docker, report, options.runs)
        bench_files(api, docker, report, options.runs, "/tmp")
        with tempfile.TemporaryDirectory() as scratch:
            bench_trees(api, docker, report, scratch)
        bench_stream(api, docker, report)
        bench_memory(report)
    finally:
        docker.close()
    head = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. Every figure below was measured in one run, side by side, on one machine, "
        "clients included.",
        "",
        f"- Date: {datetime.date.today().isoformat()}, Fastable {api.version}",
        f"- Machine: {machine()}",
        "- Node: " + ", ".join("cgroup " + str(node.get("cgroup")) for node in api.nodes),
    ]
    Path(options.output).write_text("\n".join(head) + "\n\n" + "\n\n".join(report.sections) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
