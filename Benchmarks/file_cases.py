"""Files and trees."""

import os
import time
from pathlib import Path

from api import BIN, run, runc_exec, running_container
from report import median, measure


def bench_files(api, docker, report, runs, scratch):
    text = "x" * 4095 + "\n"
    write = measure(lambda: api.tool("fs.write", project="demo", path="bench.txt", content=text), runs * 5)
    read = measure(lambda: api.tool("fs.read", project="demo", path="bench.txt"), runs * 5)
    local = Path(scratch) / "bench.txt"
    local.write_text(text)
    copy_in = cat = None
    if docker.name:
        copy_in = measure(lambda: run("docker", "cp", str(local), f"{docker.name}:/bench.txt"), runs)
        cat = measure(lambda: docker.exec("cat", "/bench.txt"), runs)
    container, _ = running_container()
    runc_cat = measure(lambda: run(*runc_exec(container, "/bin/cat", "/workspace/bench.txt")), runs)
    runc_write = measure(
        lambda: run(*runc_exec(container, "/bin/sh", "-c", "cat > /workspace/bench-runc.txt"), input=text.encode()), runs)
    report.target("`fs.read` of 4 KiB: p50 of at most 1 ms", f"{median(read):.2f} ms", median(read) <= 1)
    report.table(
        "A file of 4 KiB",
        [
            ("Fastable `fs.read`, REST", read),
            ("`docker exec cat`", cat),
            ("`runc exec cat`", runc_cat),
            ("Fastable `fs.write` (fsync), REST", write),
            ("`docker cp` into the container (no fsync)", copy_in),
            ("`runc exec sh -c 'cat > …'` (no fsync)", runc_write),
        ])


FILES = 10_000


def make_tree(tree):
    """10,000 small files in 100 directories."""
    for index in range(FILES):
        path = tree / f"d{index % 100}" / f"f{index}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {index}\n" * (index % 50 + 1))


def count(path):
    found = sum(len(names) for _, _, names in os.walk(path))
    assert found == FILES, found


def timed(action, repeats):
    """Each time into an empty place; the first one warms up. Nothing is removed between two runs: ext4 is slow to make files where
    many were removed in the last seconds. What a run left on its way to the disk is not the burden of the next."""
    samples = []
    for number in range(-1, repeats):
        os.sync()
        start = time.perf_counter()
        action(number)
        samples.append((time.perf_counter() - start) * 1000)
    return sorted(samples[1:])


def bench_trees(api, docker, report, scratch, repeats):
    tree = Path(scratch) / "tree"
    make_tree(tree)
    cli = BIN / "fastable"
    project = "bench-tree"
    api.tool("projects_create", name=project)
    # The container runs, as Docker's does.
    api.exec("true", project=project)

    def push(name, *options):
        return timed(lambda n: run(cli, "push", project, tree, "--to", f"{name}{n}", *options), repeats)

    def pull(name, *options):
        samples = timed(lambda n: run(cli, "pull", project, Path(scratch) / f"{name}{n}", "--from", "plain0", *options), repeats)
        count(Path(scratch) / f"{name}0")
        return samples

    pushed = push("plain")
    packed = push("zstd", "--compression", "zstd")
    pulled = pull("plain")
    unpacked = pull("zstd", "--compression", "zstd")
    there = back = None
    if docker.name:
        there = timed(lambda n: run("docker", "cp", str(tree), f"{docker.name}:/t{n}"), repeats)
        back = timed(lambda n: run("docker", "cp", f"{docker.name}:/t0", str(Path(scratch) / f"docker{n}")), repeats)
        count(Path(scratch) / "docker0")
    api.tool("projects_delete", project=project)
    for name, ours, theirs in (("push", pushed, there), ("pull", pulled, back)):
        ratio = median(theirs) / median(ours) if theirs else None
        report.target(
            f"`{name}` of 10,000 small files: at least as fast as `docker cp`", f"{ratio:.2f} × as fast" if ratio else "",
            ratio and ratio >= 1)
    report.table(
        "A tree of 10,000 small files",
        [
            ("Fastable `push` (synced to the disk)", pushed),
            ("Fastable `push --compression zstd` (synced to the disk)", packed),
            ("`docker cp` into the container (not synced)", there),
            ("Fastable `pull`", pulled),
            ("Fastable `pull --compression zstd`", unpacked),
            ("`docker cp` out of the container", back),
        ],
        f"On this machine, over loopback, compressing makes a push {median(packed) / median(pushed):.2f} and a pull "
        f"{median(unpacked) / median(pulled):.2f} times as long. The CLI compresses by itself only when the controller is elsewhere.")
