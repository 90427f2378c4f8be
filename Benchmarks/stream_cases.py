"""A lot of output from a command to a client, and where the time goes."""

import os
import subprocess
import time

from api import DAEMONS, runc_exec, running_container
from processes import MemoryWatch, Profile, readable, usage
from report import NO_DOCKER, measure, median

STREAM_BYTES = 500 * 1000 * 1000
COMMAND = ["head", "-c", str(STREAM_BYTES), "/dev/zero"]


def ours(api):
    total = api.stream_exec("demo", COMMAND)
    assert total == STREAM_BYTES, total


def masked(api):
    """Lines of a log, in which the node looks for a secret."""
    line = "2026-11-21T12:00:00Z INFO [main] compiled module 4711 in 42 ms: ok"
    secret = {"TOKEN": "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"}
    total = api.stream_exec("demo", f"yes '{line}' | head -c {STREAM_BYTES}", secretEnv=secret)
    assert total == STREAM_BYTES, total


def theirs(command):
    """What a command line prints, read through a pipe."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        total = 0
        while part := process.stdout.read(1 << 20):
            total += len(part)
    assert total == STREAM_BYTES, total


def rate(samples):
    """Megabytes a second of the median run."""
    return STREAM_BYTES / 1e6 / (median(samples) / 1000)


def bench_stream(api, docker, report, repeats=7):
    with MemoryWatch(DAEMONS) as memory:
        samples = measure(lambda: ours(api), repeats, 1)
    rows = [("Fastable, REST frames", samples)]
    rows.append(("Fastable, REST frames, lines of a log, a secret masked", measure(lambda: masked(api), repeats, 1)))
    peer = None
    if docker.name:
        peer = measure(lambda: theirs(["docker", "exec", docker.name, *COMMAND]), repeats, 1)
        rows.append(("`docker exec`", peer))
    container, _ = running_container()
    rows.append(("`runc exec`", measure(lambda: theirs(runc_exec(container, "/usr/bin/head", *COMMAND[1:])), repeats, 1)))
    cells = [
        [name, f"{rate(part):.0f} MB/s", f"{rate(part[-1:]):.0f} MB/s", f"{rate(part[:1]):.0f} MB/s", len(part)]
        for name, part in rows]
    if not peer:
        cells.append(["`docker exec`", NO_DOCKER, "", "", ""])
    growth = {name: memory.growth(name) / 1024 for name in DAEMONS}
    ratio = rate(samples) / rate(peer) if peer else None
    for text, least in (("at least as fast as `docker exec`", 1), ("twice as fast as `docker exec`", 2)):
        report.target(f"500 MB of output: {text}", f"{ratio:.2f} ×" if ratio else "", ratio and ratio >= least)
    node = growth["fastable-node"]
    report.target(
        "500 MB of output: the node's memory stays flat (at most 32 MiB more)", f"{max(0, node):.1f} MiB more", node <= 32)
    told = ", ".join(
        f"that of {name} rose by at most {max(0, growth[name]):.1f} MiB (to {memory.most[name] / 1024:.1f} MiB)" for name in DAEMONS)
    text = report.grid(["case", "median", "slowest", "fastest", "runs"], cells)
    report.plain("500 MB from a command to an HTTP client", f"{text}\n\nPrivate memory during these runs: {told}.")


def bench_profile(api, report, scratch, repeats=5):
    _, init = running_container()
    names = {**{pid: name for name, pid in DAEMONS.items()}, init: "fastable-init", os.getpid(): "the client"}
    before = {pid: usage(pid) for pid in names}
    start = time.perf_counter()
    samples = Profile(scratch).record(lambda: [ours(api) for _ in range(repeats)])
    spent = time.perf_counter() - start
    megabytes = repeats * STREAM_BYTES / 1e6
    rows = []
    for pid, name in names.items():
        after = usage(pid)
        user, system, switches = (after[index] - before[pid][index] for index in range(3))
        rows.append([name, f"{user / spent:.0%}", f"{system / spent:.0%}", f"{max(0, switches) / megabytes:.1f}"])
    text = report.grid(
        ["process", "of a core, in the program", "of a core, in the kernel", "waits per MB"], rows)
    text = f"{repeats} streams one after the other took {spent:.1f} s, {megabytes / spent:.0f} MB/s.\n\n{text}\n\n"
    if samples is None:
        text += "Which functions the time went to was not measured: no `perf` (apt-get install linux-perf)."
    else:
        text += where_it_goes(report, samples, names)
    report.plain("Where the time of such a stream goes", text)


def where_it_goes(report, samples, names):
    """Only of the processes that take part: what else the machine did is told as one figure."""
    ours_only = [
        (names.get(pid) or "the command", symbol) for pid, program, symbol in samples if pid in names or program == COMMAND[0]]
    shares = Profile.shares(ours_only)
    columns = [name for name in [*names.values(), "the command"] if shares[name]]
    total = len(ours_only)
    sums = {}
    for name in columns:
        for kind, number in shares[name].items():
            sums[kind] = sums.get(kind, 0) + number
    kinds = sorted(sums, key=lambda kind: -sums[kind])
    rows = [[kind] + [f"{shares[name][kind] / total:.1%}" for name in columns] + [f"{sums[kind] / total:.1%}"] for kind in kinds]
    rows.append(["together"] + [f"{sum(shares[name].values()) / total:.1%}" for name in columns] + ["100%"])
    largest = " and ".join(f"{kind} ({sums[kind] / total:.0%})" for kind in kinds[:2])
    daemons = sum(sum(shares[name].values()) for name in DAEMONS) / total
    sentence = (
        f"Shares of the processor time of all that take part, from {total:,} samples. The largest parts are {largest}; both daemons "
        f"together take {daemons:.0%}. What else ran on the machine had {1 - total / len(samples):.0%} of all samples and is left out.")
    top = {}
    for key in ours_only:
        top[key] = top.get(key, 0) + 1
    first = sorted(top.items(), key=lambda item: -item[1])[:20]
    functions = [
        [f"`{symbol[:100].replace('|', '/')}`", name, f"{number / total:.1%}"]
        for ((name, _), number), symbol in zip(first, readable([symbol for (_, symbol), _ in first]))]
    return (
        f"{sentence}\n\n{report.grid(['kind of work', *columns, 'together'], rows)}\n\nThe functions with the most samples of their own:\n\n"
        + report.grid(["function", "process", "share"], functions))
