"""Measures Fastable beside what a user would pick instead, in one run, and writes docs/benchmarks.md.

Every case is warmed up, then run many times; the report gives percentiles, never a mean alone. The runs of one case and its
peers follow each other closely, so that a noisy moment of the machine hits all of them.
"""

import argparse
import datetime
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

from api import DAEMONS, Api, Docker, running_container
from exec_cases import bench_concurrency, bench_exec, bench_idle, bench_leftovers, bench_new_project
from file_cases import bench_files, bench_trees
from lifecycle_cases import bench_kills, bench_known, bench_many, bench_snapshots, bench_suspended, bench_suspension
from processes import smaps_kibibytes, threads
from report import Report
from stream_cases import bench_profile, bench_stream


def bench_memory(report):
    # Daemons give back every ten seconds what a busy moment took.
    time.sleep(12)
    _, init = running_container()
    rows = []
    for name, pid in {**DAEMONS, "fastable-init of one container": init}.items():
        private = smaps_kibibytes(pid, "Private_Clean") + smaps_kibibytes(pid, "Private_Dirty")
        resident = smaps_kibibytes(pid, "Rss")
        rows.append([name, f"{resident / 1024:.2f} MiB", f"{private / 1024:.2f} MiB", threads(pid)])
    node = smaps_kibibytes(DAEMONS["fastable-node"], "Rss") / 1024
    report.target(
        "fastable-node: at most 60 MB resident a quarter of a minute after all cases", f"{node * 1.048576:.1f} MB", node * 1.048576 <= 60)
    report.plain("Memory a quarter of a minute after all of the above", report.grid(["process", "resident", "private", "threads"], rows))


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


def quiet_load(most=0.5, patience=300):
    """Waits until the machine has nothing else to do, and gives its load; what never comes is measured beside the noise, and told."""
    deadline = time.monotonic() + patience
    told = False
    while (load := os.getloadavg()[0]) >= most and time.monotonic() < deadline:
        if not told:
            print(f"  waiting for the load to fall below {most} (it is {load:.1f}), at most {patience} s", flush=True)
            told = True
        time.sleep(2)
    return load


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--leftover-runs", type=int, default=10_000)
    parser.add_argument("--suspended", type=int, default=200)
    parser.add_argument("--configuration", required=True)
    parser.add_argument("--only", help="cases to run, with commas; all unless given")
    parser.add_argument("--output", required=True)
    options = parser.parse_args()
    api = Api()
    report = Report()
    docker = Docker()
    try:
        load = quiet_load()
        with tempfile.TemporaryDirectory() as scratch:
            cases = {
                "exec": lambda: bench_exec(api, docker, report, options.runs),
                "concurrency": lambda: bench_concurrency(api, docker, report, options.runs),
                "leftovers": lambda: bench_leftovers(api, report, options.leftover_runs),
                "idle": lambda: bench_idle(api, report),
                "project": lambda: bench_new_project(api, docker, report, options.runs),
                "files": lambda: bench_files(api, docker, report, options.runs, scratch),
                "trees": lambda: bench_trees(api, docker, report, scratch, max(2, options.runs // 20)),
                "stream": lambda: bench_stream(api, docker, report),
                "suspension": lambda: bench_suspension(api, docker, report, options.runs),
                "kills": lambda: bench_kills(api, docker, report),
                "suspended": lambda: bench_suspended(api, report, options.suspended),
                "many": lambda: bench_many(api, docker, report),
                "snapshots": lambda: bench_snapshots(api, report),
                "known": lambda: bench_known(api, report),
                "profile": lambda: bench_profile(api, report, scratch),
            }
            api.exec("true")
            for name in options.only.split(",") if options.only else cases:
                # What came before it, the import of an image above all, is not its burden.
                os.sync()
                cases[name]()
            bench_memory(report)
    finally:
        docker.close()
    head = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. Every figure and every sentence about one comes from one run, side by side, on one "
        "machine, clients included.",
        "",
        f"- Date: {datetime.date.today().isoformat()}, Fastable {api.version}, built for {options.configuration}",
        f"- Machine: {machine()}; load before the run: {load:.1f}",
        "- Node: " + ", ".join("cgroup " + str(node.get("cgroup")) for node in api.nodes),
    ]
    Path(options.output).write_text("\n".join(head) + "\n\n" + report.text())
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
