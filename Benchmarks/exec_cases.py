"""Commands: how long one takes, many at a time, and what ten thousand of them leave behind."""

import threading
import time
from pathlib import Path

from api import BIN, DAEMONS, init_processes, run, runc_exec, running_container
from processes import descriptors, groups_below, kibibytes, processes_beside, smaps_kibibytes
from report import NO_DOCKER, median, measure, percentile


def bench_exec(api, docker, report, runs):
    api.exec("true")
    container, _ = running_container()
    rest = measure(lambda: api.exec(["true"]), runs * 5)
    rows = [
        ("Fastable, REST on a kept-alive connection", rest),
        ("Fastable, MCP `tools/call`", measure(lambda: api.mcp("shell.exec", {"project": "demo", "cmd": ["true"]}), runs)),
        ("Fastable, CLI", measure(lambda: run(BIN / "fastable", "exec", "demo", "--", "true"), runs)),
    ]
    peer = measure(lambda: docker.exec("true"), runs, 5) if docker.name else None
    rows.append(("`docker exec`", peer))
    runc = measure(lambda: run(*runc_exec(container, "/bin/true")), runs)
    rows.append(("`runc exec`", runc))
    tail = percentile(rest, 0.99) / median(rest)
    note = f"By REST the p99 is {tail:.1f} times the p50."
    report.target("exec by REST: p50 of at most 3 ms", f"{median(rest):.2f} ms", median(rest) <= 3)
    report.target("exec by REST: p99 of at most 4 × p50", f"{tail:.1f} ×", tail <= 4)
    faster = median(peer) / median(rest) if peer else None
    if faster:
        note += f" At the p50 it is {faster:.1f} times as fast as `docker exec`, and {median(runc) / median(rest):.1f} times as `runc exec`."
    report.target("exec: 20 times as fast as `docker exec`", f"{faster:.1f} ×" if faster else "", faster and faster >= 20)
    report.table("A command in a running container: `true`", rows, note)


def together(makers, per_maker):
    """Runs that each do `per_maker` actions, all at once; commands per second, and the milliseconds of each."""
    samples = []
    actions = [make() for make in makers]
    ready = threading.Barrier(len(actions) + 1)
    failures = []

    def work(action):
        own = []
        ready.wait()
        try:
            for _ in range(per_maker):
                start = time.perf_counter()
                action()
                own.append((time.perf_counter() - start) * 1000)
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)
        samples.extend(own)

    workers = [threading.Thread(target=work, args=(action,)) for action in actions]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    spent = time.perf_counter() - start
    if failures:
        raise failures[0]
    return len(samples) / spent, sorted(samples)


def bench_concurrency(api, docker, report, runs, width=32):
    def ours():
        own = api.another()
        return lambda: own.exec(["true"])

    together([ours] * width, 3)
    rate, samples = together([ours] * width, max(10, runs // 2))
    rows = [("Fastable, REST", rate, samples)]
    theirs = None
    if docker.name:
        theirs, samples = together([lambda: lambda: docker.exec("true")] * width, max(3, runs // 20))
        rows.append(("`docker exec`", theirs, samples))
    container, _ = running_container()
    by_runc = lambda: lambda: run(*runc_exec(container, "/bin/true"))  # pylint: disable=unnecessary-lambda-assignment
    rows.append(("`runc exec`", *together([by_runc] * width, max(3, runs // 20))))
    cells = [
        [name, f"{rate:.0f}/s", f"{median(samples):.1f} ms", f"{percentile(samples, 0.99):.1f} ms", len(samples)]
        for name, rate, samples in rows]
    if not docker.name:
        cells.append(["`docker exec`", NO_DOCKER, "", "", ""])
    note = f"\n\nThat is {rate / theirs:.0f} times as many as by `docker exec`." if theirs else ""
    report.target(f"{width} at a time: 300 commands a second", f"{rate:.0f}/s", rate >= 300)
    report.plain(
        f"{width} commands at a time", report.grid(["case", "commands", "p50", "p99", "commands in all"], cells) + note)


def bench_leftovers(api, report, count=10_000):
    """The figures that grow when something is forgotten. The first commands fill caches and are not counted."""
    for _ in range(count // 10):
        api.exec(["true"])
    _, init = running_container()
    figures = []
    for number in range(count + 1):
        if number in (0, count // 2, count):
            figures.append(settled(init))
        if number < count:
            api.exec(["true"])
    names = list(figures[0])
    rows = [[name] + [figure[name] for figure in figures] for name in names]
    before, _, after = figures
    left = [name for name in names if not name.startswith("memory") and after[name] > before[name]]
    # Ten thousand results stand on the disk; what their bookkeeping may cost in memory is a few hundred bytes each.
    grown = {name: after[name] - before[name] for name in names if name.startswith("memory")}
    most = max(grown, key=grown.get)
    report.target(
        f"{count:,} commands in a row leave no process, control group or descriptor behind",
        "more of: " + ", ".join(left) if left else "none", not left)
    report.target(
        f"{count:,} commands in a row leave no memory behind (at most 8 MiB in any process)",
        f"at most {max(0, grown[most]) / 1024:.1f} MiB ({most.split(', ')[1]})", grown[most] <= 8 * 1024)
    report.plain(
        f"What {count:,} commands in a row leave behind",
        report.grid(["", "before", f"after {count // 2:,}", f"after {count:,}"], rows))


def settled(init):
    """The figures once nothing is under way any more: results are written behind the answer."""
    last = None
    for _ in range(40):
        time.sleep(0.5)
        now = counts(init)
        if now == last:
            return now
        last = now
    return last


def counts(init):
    figures = {"processes in the container": processes_beside(init), "control groups below the container's": groups_below(init)}
    processes = {**DAEMONS, "fastable-init": init}
    for name, pid in processes.items():
        figures[f"open files, {name}"] = descriptors(pid)
    for name, pid in processes.items():
        figures[f"memory (KiB), {name}"] = kibibytes(pid)
    return figures


def bench_idle(api, report, count=20):
    """What a container costs beside its own processes: of the node, of init, and of the whole machine."""

    def available():
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))

    node = DAEMONS["fastable-node"]
    names = [f"bench-idle-{number}" for number in range(count)]
    for name in names:
        api.tool("projects_create", name=name)
    free, before, inits = available(), kibibytes(node), set(init_processes())
    for name in names:
        api.exec("true", project=name)
    # The memory of commands that have ended goes back to the system within some seconds.
    time.sleep(10)
    grown = max(0, kibibytes(node) - before) / count
    new = set(init_processes()) - inits
    init = sum(smaps_kibibytes(pid, "Private_Clean") + smaps_kibibytes(pid, "Private_Dirty") for pid in new) / len(new)
    machine = max(0, free - available()) / count
    for name in names:
        api.tool("projects_delete", project=name)
    cells = [
        ["fastable-node, growth of anonymous memory", f"{grown / 1024:.2f} MiB"],
        ["fastable-init, private", f"{init / 1024:.2f} MiB"],
        ["the machine: less memory available, kernel included", f"{machine / 1024:.2f} MiB"],
    ]
    report.plain(f"An idle container (mean of {count})", report.grid(["of", "memory"], cells))
    ours = (grown + init) / 1024
    report.target(
        "an idle container: at most 2 MB outside of its own processes", f"{ours * 1.048576:.2f} MB", ours * 1.048576 <= 2)


def bench_new_project(api, docker, report, runs):
    names = iter(range(10**9))

    def first_output():
        name = f"bench-{next(names)}"
        start = time.perf_counter()
        api.tool("projects_create", name=name)
        output = api.exec(["echo", "hello"], project=name)
        spent = (time.perf_counter() - start) * 1000
        assert output == "hello\n", output
        api.tool("projects_delete", project=name)
        return spent

    for _ in range(5):
        first_output()
    ours = sorted(first_output() for _ in range(runs))
    peer = None
    if docker.name:
        peer = measure(lambda: run("docker", "run", "--rm", "--network=none", docker.image, "echo", "hello"), runs, 3)
    report.target("a new project until its first output: p50 of at most 150 ms", f"{median(ours):.0f} ms", median(ours) <= 150)
    report.table(
        "A new project until its first output (warm image)",
        [("Fastable: create project, make container, run `echo`", ours), ("`docker run --rm` (without a network)", peer)])
