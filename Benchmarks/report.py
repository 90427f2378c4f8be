"""What is written: tables of percentiles, and the targets with what was measured beside them. Every sentence about a figure is
made from the figure."""

import time


def measure(action, runs, warm_up=10):
    """Milliseconds of each run, sorted."""
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


def median(samples):
    return percentile(samples, 0.5)


NO_DOCKER = "not measured: no Docker engine"
# Percentiles of fewer are the slowest run under another name.
FEW_RUNS = 20


class Report:
    def __init__(self):
        self.sections = []
        self.targets = []

    def target(self, text, measured, reached):
        """`reached` is `None` when there is nothing to compare with."""
        self.targets.append((text, measured, reached))
        print(f"  target: {text}: {measured}: {self.word(reached)}", flush=True)

    @staticmethod
    def word(reached):
        return {True: "reached", False: "**not reached**", None: "not measured"}[reached]

    def table(self, title, rows, note=""):
        few = any(samples is not None and len(samples) < FEW_RUNS for _, samples in rows)
        head = ["median", "slowest", "fastest"] if few else ["p50", "p90", "p99", "max"]
        cells = []
        for name, samples in rows:
            if samples is None:
                cells.append([name, NO_DOCKER] + [""] * len(head))
                continue
            figures = (
                [median(samples), samples[-1], samples[0]] if few
                else [percentile(samples, share) for share in (0.5, 0.9, 0.99)] + [samples[-1]])
            cells.append([name] + [f"{figure:.2f} ms" for figure in figures] + [len(samples)])
            print(f"  {name}: " + ", ".join(f"{word} {figure:.2f} ms" for word, figure in zip(head, figures)), flush=True)
        text = self.grid(["case", *head, "runs"], cells)
        self.plain(title, f"{text}\n\n{note}" if note else text, quiet=True)

    def plain(self, title, text, quiet=False):
        if not quiet:
            print(f"  {title}\n{text}", flush=True)
        self.sections.append(f"## {title}\n\n{text}")

    @staticmethod
    def grid(head, rows):
        """A table whose first column is text and whose others are figures."""
        lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
        return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])

    def text(self):
        reached = sum(1 for target in self.targets if target[2])
        rows = [f"| {text} | {measured} | {self.word(reached)} |" for text, measured, reached in self.targets]
        summary = "\n".join(
            ["## What it is meant to reach", "", f"{reached} of {len(self.targets)} were reached in this run.", ""]
            + ["| target | measured | |", "| --- | --- | --- |"] + rows)
        return "\n\n".join([summary] + self.sections) + "\n"
