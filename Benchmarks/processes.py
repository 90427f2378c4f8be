"""What the kernel tells of processes: memory, open files, processor time, and where that goes."""

import collections
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path


def kibibytes(pid, field="RssAnon"):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def smaps_kibibytes(pid, field):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def processes_beside(pid):
    """All processes of the PID namespace of which this one is the first, those that nobody has waited for included."""
    namespace = os.readlink(f"/proc/{pid}/ns/pid_for_children")
    count = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            count += os.readlink(f"/proc/{entry}/ns/pid") == namespace
        except OSError:
            # It has ended; a zombie's namespace cannot be read, but it still counts as a child.
            count += is_zombie_below(entry, pid)
    return count


def is_zombie_below(entry, parent):
    try:
        fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[0] == "Z" and int(fields[1]) == parent


def groups_below(pid):
    """Control groups of version 2 below that of a process: each command has one while it runs."""
    line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in (fields[1] for fields in mounts if fields[2] == "cgroup2"):
        path = mount + line[3:]
        if os.path.isdir(path):
            return sum(len(names) for _, names, _ in os.walk(path))
    return 0


class MemoryWatch:
    """The most private memory that processes have while something goes on."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        self.before = {name: kibibytes(pid) for name, pid in self.pids.items()}
        self.most = dict(self.before)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while not self.ended.wait(0.02):
            for name, pid in self.pids.items():
                self.most[name] = max(self.most[name], kibibytes(pid))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.after = {name: kibibytes(pid) for name, pid in self.pids.items()}

    def growth(self, name):
        return self.most[name] - self.before[name]


def usage(pid):
    """Seconds in programs and in the kernel, and how often the process gave the processor away by itself."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            status = Path(f"/proc/{pid}/task/{task}/status").read_text()
        except OSError:
            continue
        switches += int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", status).group(1))
    return int(fields[11]) / tick, int(fields[12]) / tick, switches


# The first that fits a symbol counts. Only the innermost function of a sample is looked at.
KINDS = [
    ("copying bytes", r"rep_movs|copy_user|copy_to_iter|copy_from_iter|copyout|copyin|memcpy|memmove|copy_page|skb_splice|memset|clear_page"),
    ("TLS: encryption", r"(?i)aes|gcm|ghash|boringssl|evp_|^ssl|tls|chacha|poly1305|aead"),
    ("digests", r"(?i)sha256|sha512|crc32"),
    ("reference counts and memory", r"swift_|^_?malloc|^free$|cfree|_int_free|_int_malloc|calloc|realloc|tcache|unlink_chunk|brk|madvise|mmap"
                                    r"|munmap|page_fault|handle_mm|do_anonymous|alloc_pages|zap_|folio_add|free_unref|get_page_from|RefCount"),
    ("waking and switching tasks", r"futex|schedule|wake_up|finish_task_switch|ttwu|enqueue|dequeue|pick_next|epoll|ep_|eventfd|sched_|update_curr"
                                   r"|pthread_cond|pthread_mutex|_raw_spin_unlock_irqrestore|timerfd|hrtimer|select_task|idle|load_balance"),
    ("network in the kernel", r"tcp_|ip_|skb|sock|inet|net_|napi|nf_|__dev|loopback|unix_|netif|veth|lo_|sk_|lock_sock"),
    ("pipes and files in the kernel", r"pipe_|ext4|jbd2|filemap|folio|vfs_|generic_perform|iomap|blk_|bio_|fsnotify|rw_verify|fdget|__fget|ksys_|kiocb|xa_|xas_"),
    ("programs' own code", r"^\$[sS]|^\[unknown\]|^NIO|^c_nio|^Py|^_Py|^fst_|^fastable_|^CNIO"),
    ("entering the kernel", r"entry_SYSCALL|syscall|do_syscall|exit_to_user|x64_sys|__libc_(read|write)|^__?(read|write|writev|sendmsg|recv)$"),
]


def kind(symbol):
    for name, pattern in KINDS:
        if re.search(pattern, symbol):
            return name
    return "everything else"


class Profile:
    """Samples of all processors while something runs, by `perf` where it is there and works."""

    def __init__(self, scratch):
        self.data = Path(scratch) / "perf.data"

    def record(self, action):
        """Gives the samples as (pid, program, symbol), or nothing when there is no `perf`; runs the action in any case."""
        if shutil.which("perf") is None:
            action()
            return None
        command = ["perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", "997", "-o", self.data, "--", "sleep", "3600"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
            try:
                action()
            finally:
                recorder.terminate()
        listing = subprocess.run(
            ["perf", "script", "-i", self.data, "-F", "comm,pid,ip,sym"], capture_output=True, text=True, check=False)
        if listing.returncode != 0:
            return None
        samples = []
        for line in listing.stdout.splitlines():
            match = re.match(r"\s*(.+?)\s+(-?\d+)\s+[0-9a-f]+ (.+)$", line)
            if match and int(match.group(2)) > 0:
                samples.append((int(match.group(2)), match.group(1), match.group(3)))
        return samples or None

    @staticmethod
    def shares(samples):
        """For each process how many samples of which kind."""
        shares = collections.defaultdict(collections.Counter)
        for name, symbol in samples:
            shares[name][kind(symbol)] += 1
        return shares


def readable(symbols):
    """Names of Swift functions as they stand in the source, where the toolchain is at hand."""
    if shutil.which("swift") is None:
        return symbols
    answer = subprocess.run(
        ["swift", "demangle", "--compact", "--simplified"], input="\n".join(symbols), capture_output=True, text=True, check=False)
    lines = answer.stdout.splitlines()
    return lines if answer.returncode == 0 and len(lines) == len(symbols) else symbols
