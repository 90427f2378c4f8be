"""The life of containers: standing still and waking, many at a time, snapshots, and what known projects cost."""

import threading
import time

from api import DAEMONS, init_processes, run
from processes import MemoryWatch, kibibytes, smaps_kibibytes, usage
from report import NO_DOCKER, median, measure, percentile

NODE = DAEMONS["fastable-node"]
# Of projects that are there in great numbers: what all of them may take together is bounded.
SMALL = {"cpus": 0.1, "memoryBytes": 64 << 20, "pids": 64}


def timed(action):
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def share_of_a_core(seconds):
    """How much of a core the node takes while nobody wants anything of it, in percent."""
    before = sum(usage(NODE)[:2])
    time.sleep(seconds)
    return (sum(usage(NODE)[:2]) - before) / seconds * 100


def bench_suspension(api, docker, report, runs):
    def rest():
        # What the one before has left to write is no part of the next one; `docker` brings as long a pause with it.
        time.sleep(0.02)

    def status():
        rest()
        return timed(lambda: api.tool("devcontainer.status", project="demo"))

    def suspend():
        rest()
        return timed(lambda: api.tool("devcontainer.suspend", project="demo", force=True))

    def resume():
        rest()
        return timed(lambda: api.tool("devcontainer.resume", project="demo"))

    def first_command():
        rest()
        return timed(lambda: api.exec(["true"]))

    api.exec("true")
    path = median(sorted(status() for _ in range(runs)))
    pairs = [(suspend(), resume()) for _ in range(runs + 10)][10:]
    stops, wakes = (sorted(side) for side in zip(*pairs))
    firsts = sorted([(suspend(), first_command())[1] for _ in range(runs + 10)][10:])
    pauses = unpauses = None
    if docker.name:
        peers = [(timed(lambda: run("docker", "pause", docker.name)), timed(lambda: run("docker", "unpause", docker.name)))
                 for _ in range(runs)]
        pauses, unpauses = (sorted(side) for side in zip(*peers))
    for name, samples in (("suspend", stops), ("resume", wakes)):
        at_node = max(0, median(samples) - path)
        report.target(f"{name} at the node: p50 of at most 3 ms", f"{at_node:.2f} ms", at_node <= 3)
    report.target("the first command after a suspension: p50 of at most 10 ms", f"{median(firsts):.2f} ms", median(firsts) <= 10)
    report.table(
        "Standing still and going on",
        [
            ("Fastable `devcontainer.suspend`, REST", stops),
            ("`docker pause`", pauses),
            ("Fastable `devcontainer.resume`, REST", wakes),
            ("`docker unpause`", unpauses),
            ("Fastable, `true` in a suspended container, REST", firsts),
        ],
        "20 ms pass between two calls. "
        f"The way to the node and back takes {path:.2f} ms of it (p50 of `devcontainer.status`); what is left counts as the node's.")


def bench_kills(api, docker, report, runs=50):
    """Killing a project's container with what hides in it: until the answer, which tells when the node had proven it."""
    api.tool("projects_create", name="bench-kill")
    proven, answers, unproven = [], [], 0
    for _ in range(runs + 2):
        api.tool("shell.exec", project="bench-kill", cmd="trap '' TERM; (setsid sleep 1000 &); (sleep 1000 &); sleep 1000", detach=True)
        start = time.perf_counter()
        answer = api.tool("kill.project", project="bench-kill", reason="measured")
        answers.append((time.perf_counter() - start) * 1000)
        for node in answer["acknowledged"]:
            if all(receipt["effect"] == "ended" for receipt in node["receipts"]):
                proven.append(node["milliseconds"])
            else:
                unproven += 1
        unproven += len(answer["missing"])
    api.tool("projects_delete", project="bench-kill")
    proven, answers = sorted(proven[2:]), sorted(answers[2:])
    peer = None
    if docker.name:
        peer = sorted(
            timed(lambda: run("docker", "kill", docker.name)) for _ in range(runs) if run("docker", "start", docker.name) is None)
        run("docker", "start", docker.name)
    worst = proven[-1] if proven else float("inf")
    report.target(
        "killing a project: proven by its node within 2 s, each time",
        f"{worst:.0f} ms at most, {unproven} of {runs + 2} without a proof", worst <= 2000 and unproven == 0)
    report.table(
        "Killing a container and all that runs in it",
        [
            ("Fastable `kill.project`: until the node had proven that nothing is left", proven),
            ("Fastable `kill.project`, REST: until the answer", answers),
            ("`docker kill`", peer),
        ],
        "Three processes each, of which one has a session of its own and one ignores TERM.")


def bench_suspended(api, report, count=200):
    """Many that stand still: what each costs, what all of them cost the node, and how they wake."""
    names = [f"bench-still-{number}" for number in range(count)]
    before, inits = kibibytes(NODE), set(init_processes())
    for name in names:
        api.tool("projects_create", name=name, limits=SMALL)
        api.exec("true", project=name)
        api.tool("devcontainer.suspend", project=name)
    time.sleep(15)
    grown = max(0, kibibytes(NODE) - before) / count
    new = set(init_processes()) - inits
    init = sum(smaps_kibibytes(pid, "Private_Clean") + smaps_kibibytes(pid, "Private_Dirty") for pid in new) / len(new)
    core = share_of_a_core(30)
    wakes = sorted(timed(lambda name=name: api.exec(["true"], project=name)) for name in names)
    for name in names:
        api.tool("projects_delete", project=name)
    each = (grown + init) / 1024 * 1.048576
    report.target(f"{count} suspended containers: at most 1 MB each outside of their own processes", f"{each:.2f} MB", each <= 1)
    report.target(f"{count} suspended containers: the node takes at most 1% of a core", f"{core:.2f}%", core <= 1)
    cells = [
        ["fastable-node, growth of anonymous memory, each", f"{grown / 1024:.3f} MiB"],
        ["fastable-init, private, each", f"{init / 1024:.3f} MiB"],
        ["fastable-node, of a core", f"{core:.2f}%"],
        ["`true` in each: p50", f"{median(wakes):.1f} ms"],
        ["`true` in each: p99", f"{percentile(wakes, 0.99):.1f} ms"],
    ]
    report.plain(f"{count} suspended containers", report.grid(["of", "figure"], cells))


def bench_many(api, docker, report, rounds=5, count=32, width=8):
    """New containers, some at a time: until all of them run."""

    def all_at_once(makers):
        failures = []

        def work(make, numbers):
            try:
                for number in numbers:
                    make(number)
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

        workers = [
            threading.Thread(target=work, args=(make, range(index, count, width))) for index, make in enumerate(makers)]
        spent = timed(lambda: ([worker.start() for worker in workers], [worker.join() for worker in workers]))
        if failures:
            raise failures[0]
        return spent

    def ours(round_number):
        clients = [api.another() for _ in range(width)]

        def maker(client):
            def make(number):
                client.tool("projects_create", name=f"bench-many-{round_number}-{number}")
                client.tool("devcontainer.ensure", project=f"bench-many-{round_number}-{number}")

            return make

        spent = all_at_once([maker(client) for client in clients])
        for number in range(count):
            api.tool("projects_delete", project=f"bench-many-{round_number}-{number}")
        return spent

    def theirs():
        spent = all_at_once([
            lambda number: run(
                "docker", "run", "-d", "--network=none", "--name", f"fastable-bench-{number}", docker.image, "sleep", "86400")
        ] * width)
        run("docker", "rm", "-f", *[f"fastable-bench-{number}" for number in range(count)])
        return spent

    ours(0)
    mine = sorted(ours(number + 1) for number in range(rounds))
    peer = None
    if docker.name:
        theirs()
        peer = sorted(theirs() for _ in range(rounds))
    share = median(peer) / median(mine) if peer else None
    report.target(
        f"{count} new containers, {width} at a time: five times as fast as `docker run`", f"{share:.1f} ×" if share else "",
        share and share >= 5)
    cells = [
        [name, f"{median(samples):.0f} ms", f"{samples[-1]:.0f} ms", len(samples)] if samples else [name, NO_DOCKER, "", ""]
        for name, samples in (
            ("Fastable: create project, make container", mine), ("`docker run -d` (without a network)", peer))]
    report.plain(
        f"{count} new containers, {width} at a time, until all run", report.grid(["case", "median", "slowest", "runs"], cells))


# Half of each file is random, so that compressing is work and has an effect.
MAKE_WORKSPACE = """
import os
for index in range(20000):
    folder = f'tree/d{index % 200}'
    os.makedirs(folder, exist_ok=True)
    with open(f'{folder}/f{index}', 'wb') as file:
        file.write(os.urandom(26844) + b'some text\\n' * 2684)
"""


def bench_snapshots(api, report, repeats=3):
    """A workspace of 1 GB in 20,000 files, saved and brought back; what that takes of the daemons' memory."""
    project = "bench-snapshot"
    api.tool("projects_create", name=project)
    api.tool("shell.exec", project=project, cmd=["python3", "-c", MAKE_WORKSPACE], timeoutSec=600)
    taken, restored = [], []
    with MemoryWatch(DAEMONS) as memory:
        for _ in range(repeats):
            taken.append(timed(lambda: api.tool("projects_snapshot", project=project)))
            api.exec("rm -r tree/d1?", project=project)
            restored.append(timed(lambda: api.tool("projects_restore", project=project)))
    found = int(api.exec("find tree -type f | wc -l", project=project))
    assert found == 20_000, found
    api.tool("projects_delete", project=project)
    growth = {name: memory.growth(name) / 1024 for name in DAEMONS}
    node = growth["fastable-node"]
    report.target("a snapshot and a restore of 1 GB: the node's memory stays flat (at most 32 MiB more)", f"{node:.1f} MiB more", node <= 32)
    report.table(
        "A workspace of 1 GB in 20,000 files",
        [("`projects_snapshot` (compressed, read back, compared)", sorted(taken)), ("`projects_restore`", sorted(restored))],
        "Private memory rose by at most " + " and ".join(f"{figure:.1f} MiB ({name})" for name, figure in growth.items()) + " meanwhile.")


def bench_known(api, report, counts=(1, 100, 1000), seconds=20):
    """What a node does by itself, with more and more projects that it knows; none of them runs."""
    names = []
    rows = []
    for count in counts:
        # One of them is the project of all cases.
        while len(names) + 1 < count:
            names.append(f"bench-known-{len(names)}")
            api.tool("projects_create", name=names[-1], limits=SMALL)
            api.tool("fs.write", project=names[-1], path="note.txt", content="here\n")
        time.sleep(5)
        core = share_of_a_core(seconds)
        rows.append([f"{count:,}", f"{core:.2f}%", f"{kibibytes(NODE) / 1024:.1f} MiB"])
    for name in names:
        api.tool("projects_delete", project=name)
    report.plain(
        "What a node does by itself", report.grid(["projects that it knows", "of a core", "its private memory"], rows))
