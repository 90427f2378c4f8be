"""`fastable exec -it` and `-i` as people use them: in a real terminal, through the real program."""

import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

CLI = os.path.join(os.environ.get("FASTABLE_BIN_DIR", "bin"), "fastable")
pytestmark = pytest.mark.skipif(not os.path.exists(CLI), reason="FASTABLE_BIN_DIR names no fastable")


def set_size(fd: int, rows: int, columns: int):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """The program in a terminal of 80 columns and 24 rows."""

    def __init__(self, *arguments: str):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            set_size(0, 24, 80)
            os.execv(CLI, [CLI, *arguments])
        self.seen = ""

    def resize(self, rows: int, columns: int):
        set_size(self.fd, rows, columns)

    def type(self, text: str):
        os.write(self.fd, text.encode())

    def wait_for(self, pattern: str, seconds: float = 120):
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen, re.S)):
            left = deadline - time.monotonic()
            assert left > 0, f"never saw {pattern!r} in {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    pytest.fail(f"the terminal closed before {pattern!r}: {self.seen!r}")
        self.seen = self.seen[found.end() :]
        return found

    def status(self, seconds: float = 120) -> int:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        pytest.fail(f"it did not end: {self.seen!r}")


@pytest.fixture
def shell(project: str):
    """A shell whose prompt is `$ `."""
    terminal = Terminal("exec", "-it", project, "--env", "PS1=ready\\$ ", "--", "bash", "--norc", "-i")
    terminal.wait_for(r"ready[#$] ")
    return terminal


def test_a_shell_in_a_terminal_exits_with_its_status(shell: Terminal):
    shell.type("test -t 0 && test -t 1 && test -t 2 && echo is-a-$((40+2)); stty size\n")
    shell.wait_for(r"is-a-42\r\n24 80\r\n")
    shell.type("exit 7\n")
    assert shell.status() == 7


# It tells when it holds the terminal, goes on, or sees another size: keys that come before would be the shell's. One process: a shell that
# is just starting another one when it is stopped waits for that one, which stands still.
TELLS = (
    "python3 -c 'import os, signal as s, time; s.signal(s.SIGWINCH, lambda *_: os.system(\"stty size\")); "
    "s.signal(s.SIGCONT, lambda *_: print(f\"goes-on-{40 + 2}\", flush=True)); "
    "print(f\"holds-{40 + 2}\", flush=True); [time.sleep(0.05) for _ in iter(int, 1)]'\n"
)


def test_keys_reach_the_command_and_not_the_shell(shell: Terminal):
    shell.type(TELLS)
    shell.wait_for(r"holds-42\r\n")
    shell.type("\x1a")
    shell.wait_for(r"Stopped.*ready[#$] ")
    shell.type("fg\n")
    shell.wait_for(r"goes-on-42\r\n")
    shell.type("\x03")
    shell.wait_for(r"\^C.*ready[#$] ")
    shell.type("echo status-$?; exit 0\n")
    shell.wait_for(r"status-130\r\n")
    assert shell.status() == 0


def test_a_new_size_of_the_window_is_told(shell: Terminal):
    shell.type(TELLS)
    shell.wait_for(r"holds-42\r\n")
    shell.resize(50, 132)
    shell.wait_for(r"50 132\r\n")
    shell.type("\x03")
    shell.wait_for(r"ready[#$] ")
    shell.type("exit 0\n")
    shell.status()


def test_a_full_screen_program_draws_and_leaves(shell: Terminal):
    shell.type("python3 -c 'import curses; curses.wrapper(lambda s: (s.addstr(3, 4, \"drawn-\" + str(6 * 7)), s.refresh(), s.getch()))'\n")
    shell.wait_for(r"drawn-42")
    shell.type("q")
    shell.wait_for(r"ready[#$] ")
    shell.type("exit 0\n")
    assert shell.status() == 0


def test_vim_edits_a_file(shell: Terminal):
    shell.type("vi edited.txt\n")
    # An empty buffer shows a tilde at the beginning of each line that is not there.
    shell.wait_for(r"~.*~.*~")
    shell.type("ione\ntwo\x1b")
    shell.type(":s/two/2/\n:wq\n")
    shell.wait_for(r"ready[#$] ")
    shell.type("tr '\\n' '+' <edited.txt; rm edited.txt\n")
    shell.wait_for(r"one\+2\+")
    shell.type("exit 0\n")
    assert shell.status() == 0


@pytest.mark.parametrize("leave", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_is_closed_ends_its_shell(shell: Terminal, project: str, leave: signal.Signals):
    shell.type("sleep 4242; sleep 4242\n")
    running = [CLI, "exec", project, "--", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 424[2]' || true"]

    def count() -> int:
        return int(subprocess.run(running, capture_output=True, text=True, timeout=300, check=True).stdout)

    listed = subprocess.run([CLI, "ps", project], capture_output=True, text=True, timeout=300, check=True).stdout
    exec_id = re.search(r"(exe_\w+) .* running .*bash --norc", listed).group(1)
    deadline = time.monotonic() + 120
    while count() != 1:
        assert time.monotonic() < deadline, "what was typed never ran"
    if leave == signal.SIGHUP:
        os.close(shell.fd)
    else:
        os.kill(shell.pid, leave)
    assert os.waitstatus_to_exitcode(os.waitpid(shell.pid, 0)[1]) == 128 + leave
    deadline = time.monotonic() + 120
    while count() or re.search(rf"{exec_id} .* running ", subprocess.check_output([CLI, "ps", project], text=True)):
        assert time.monotonic() < deadline, "the shell lives on"


def test_standard_input_arrives_byte_for_byte(project: str):
    data = os.urandom(20 * 1024 * 1024)
    done = subprocess.run([CLI, "exec", "-i", project, "--", "sha256sum"], input=data, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_a_detached_command_is_listed_attached_to_and_ended(project: str):
    def cli(*arguments: str, check: bool = True) -> str:
        return subprocess.run([CLI, *arguments], capture_output=True, text=True, timeout=300, check=check).stdout

    exec_id = cli("exec", "-d", project, "--", "echo up; exec sleep 1000").strip()
    assert exec_id.startswith("exe_")
    assert re.search(rf"{exec_id} .* running ", cli("ps", project))
    early = subprocess.Popen([CLI, "attach", exec_id], stdout=subprocess.PIPE, text=True)
    assert early.stdout.readline() == "up\n"
    assert cli("kill", exec_id).strip() == "Ended; nothing of it is left."
    assert early.communicate(timeout=300)[0] == "" and early.returncode == 128 + signal.SIGTERM
    attached = subprocess.run([CLI, "attach", exec_id], capture_output=True, text=True, timeout=300)
    assert attached.stdout == "up\n" and attached.returncode == 128 + signal.SIGTERM


def test_a_later_writer_goes_on_behind_the_first(project: str):
    started = subprocess.run([CLI, "exec", "-d", "-i", project, "--", "cat"], capture_output=True, text=True, timeout=300)
    exec_id = started.stdout.strip()
    first = subprocess.Popen([CLI, "attach", "-i", exec_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    first.stdin.write(b"one\n")
    first.stdin.flush()
    assert first.stdout.readline() == b"one\n"
    first.terminate()
    first.wait(300)
    second = subprocess.run([CLI, "attach", "-i", exec_id], input=b"two\n", capture_output=True, timeout=300)
    assert second.stdout == b"one\ntwo\n" and second.returncode == 0
