"""Files and trees."""

import os
import shutil
import time
from pathlib import Path

from api import BIN, run
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
    report.target("`fs.read` of 4 KiB: p50 of at most 1 ms", f"{median(read):.2f} ms", median(read) <= 1)
    report.table(
        "A file of 4 KiB",
        [
            ("Fastable `fs.read`, REST", read),
            ("`docker exec cat`", cat),
            ("Fastable `fs.write` (fsync), REST", write),
            ("`docker cp` into the container (no fsync)", copy_in),
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


def timed(action, clean, repeats):
    """Each time into an empty place; the first one warms up. What the one before left on its way to the disk is not its burden."""
    samples = []
    for number in range(-1, repeats):
        os.sync()
        start = time.perf_counter()
        action(number)
        samples.append((time.perf_counter() - start) * 1000)
        clean(number)
    return sorted(samples[1:])


def bench_trees(api, docker, report, scratch, repeats=10):
    tree = Path(scratch) / "tree"
    make_tree(tree)
    cli = BIN / "fastable"
    project = "bench-tree"
    api.tool("projects_create", name=project)
    # The container runs, as Docker's does.
    api.exec("true", project=project)

    def push(*options):
        return timed(
            lambda n: run(cli, "push", project, tree, "--to", f"t{n}", *options),
            lambda n: api.tool("fs.delete", project=project, path=f"t{n}", recursive=True) if n else None, repeats)

    def pull(*options):
        back = Path(scratch) / "back"

        def clean(_):
            count(back)
            shutil.rmtree(back)

        return timed(lambda n: run(cli, "pull", project, back, "--from", "t0", *options), clean, repeats)

    pushed = push()
    packed = push("--compression", "zstd")
    pulled = pull()
    unpacked = pull("--compression", "zstd")
    api.tool("projects_delete", project=project)
    there = back = None
    if docker.name:
        there, back = docker_trees(docker, tree, scratch, repeats)
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
        f"{median(unpacked) / median(pulled):.2f} times as long; the CLI compresses by itself only when the controller is on another one.")


def docker_trees(docker, tree, scratch, repeats):
    there = timed(
        lambda n: run("docker", "cp", str(tree), f"{docker.name}:/t{n}"),
        lambda n: docker.exec("rm", "-rf", f"/t{n}") if n else None, repeats)
    back = Path(scratch) / "docker-back"

    def clean(_):
        count(back)
        shutil.rmtree(back)

    return there, timed(lambda n: run("docker", "cp", f"{docker.name}:/t0", str(back)), clean, repeats)
