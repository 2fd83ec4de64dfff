"""The keeper: the daemon's parent, which starts it again when it dies. A program of its own, so that it stays small.

    python -I -S keeper.py NUMBER [what ps(1) shall show]

NUMBER is the descriptor of a page (a memory file, JSON, see `bequest`): the daemon's pid, our end of the socket to it,
and the command line that starts another one. From then on the daemon may tell us, one message each:

    hold NAME, with a descriptor    keep it for the next daemon, in place of another of that name
    release NAME                    close it
    ready                           it serves: from now on it is worth being started again
    upgrading                       the next word is that of new code
    ending                          it was told to end: so is the next one, if this one dies before it is done

and we tell it `ended PID START STATUS` of what we reap: the children of a daemon that died become ours. The next daemon
is given all descriptors and the ends of the last ENDS processes, by the same kind of page. Who ends well has said
something before: an empty script does so, too, and then there is no daemon yet.

It cannot be upgraded in place and must not fail: it imports nothing of ours, needs little memory, and never waits for
anything but its poll. What goes wrong in a turn is left for the next one. If it dies all the same the daemon goes on.
"""

import array
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

STEADY = 10.0  # seconds of life after which a daemon's death is its first again
BRIEF = 1.0  # seconds before another start, of one that has served and died young; twice as many for each that has not,
LONGEST = 60.0  # at most
ENDS = 4096  # processes whose end is remembered
RESERVE = 32  # descriptors that are kept free, for starting a daemon
MESSAGE = 512  # bytes of a message, at most
TRIES = 3  # starts of a daemon that only has to bring a shutdown to its end
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LAST_ORDERS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
NOT_STARTED = 127  # exit status of a daemon that could not even be executed
VARIABLE = "SUPERVISE_HANDOVER"


class Keeper:
    """What we know. `run` returns our exit status, which is the daemon's own where it ended by itself."""

    def __init__(self, page: dict[str, Any]) -> None:
        self.command: list[str] = page["command"]
        self.facts: dict[str, Any] = page["facts"]  # for every daemon to come
        self.daemon: int = page["daemon"]  # its pid; 0 while there is none
        self.link: socket.socket | None = socket.socket(fileno=page["link"])
        self.held: dict[str, int] = {}
        self.ends: deque[tuple[int, int, int]] = deque(maxlen=ENDS)
        self.died: tuple[int, int] = (0, 0)  # pid and status of the last daemon
        self.served = self.ready = self.ending = False  # any daemon; this one
        self.heard = False  # a word of the code that runs now
        self.deaths = 0  # in a row
        self.vain = 0  # of them, the last ones that never served
        self.born = self.due = time.monotonic()
        self.over: int | None = None  # our exit status
        self.wake, tell = os.pipe()
        for fd in (self.wake, tell):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*FORWARDED, signal.SIGCHLD])

    def run(self) -> int:
        """Keep, until the daemon has ended and needs no other."""
        while self.over is None:
            for act in (self.wait, self.listen, self.reap, self.start):
                try:
                    act()
                except Exception:
                    time.sleep(0.1)
        return self.over

    def wait(self) -> None:
        """Until there is something to do; signals are passed on."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        if self.link is not None:
            poll.register(self.link, select.POLLIN)
        left = None if self.daemon else max(0.0, self.due - time.monotonic()) * 1000
        poll.poll(left)
        with suppress(BlockingIOError):
            for number in dict.fromkeys(os.read(self.wake, 4096)):
                if number in FORWARDED:
                    self.forward(number)

    def forward(self, number: int) -> None:
        if number in LAST_ORDERS:
            self.ending = True
            self.due = time.monotonic()
        if self.daemon:
            os.kill(self.daemon, number)  # it is our child, and keeps its pid until we reap it

    def listen(self) -> None:
        """Take every message that is there."""
        while self.link is not None:
            fds = array.array("i")
            try:  # not socket.recv_fds, which ignores its flags
                space = socket.CMSG_LEN(fds.itemsize)
                data, rights, _, _ = self.link.recvmsg(MESSAGE, space, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data, rights = b"", []
            for _, _, numbers in rights:
                fds.frombytes(numbers[: len(numbers) - len(numbers) % fds.itemsize])
            if not data:  # it was closed
                self.link.close()
                self.link = None
                return
            verb, _, name = data.decode("ascii", "replace").partition(" ")
            self.take(verb, name, fds.tolist())

    def take(self, verb: str, name: str, fds: list[int]) -> None:
        if verb in ("hold", "release") and name in self.held:
            os.close(self.held.pop(name))
        if verb == "hold" and fds and len(self.held) < resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVE:
            self.held[name] = fds.pop()
        for fd in fds:
            os.close(fd)
        self.heard = verb != "upgrading"
        self.ready = self.ready or verb == "ready"
        self.served = self.served or self.ready
        self.ending = self.ending or verb == "ending"

    def reap(self) -> None:
        """Take what has ended."""
        with suppress(ChildProcessError):  # none at all
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                start = start_time(found.si_pid)  # while it is a zombie still
                pid, status = os.waitpid(found.si_pid, 0)
                if pid == self.daemon:
                    self.lose(status)
                else:
                    self.ends.append((pid, start, status))
                    self.tell(f"ended {pid} {start} {status}")

    def tell(self, text: str) -> None:
        """Say it to the daemon; if it does not listen, it can do without."""
        if self.link is not None:
            with suppress(OSError):
                self.link.send(text.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def lose(self, status: int) -> None:
        """The daemon is dead: that is the end, or there shall be another."""
        self.listen()  # to its last words
        if self.link is not None:
            self.link.close()
            self.link = None
        now, code = time.monotonic(), os.waitstatus_to_exitcode(status)
        self.deaths = self.deaths + 1 if now - self.born < STEADY else 1
        self.died, self.daemon = (self.daemon, status), 0
        good = code == 0 and self.heard
        if good or not self.served or (self.ending and (code > 0 or self.deaths >= TRIES)):
            self.over = code if code >= 0 else 128 - code
            return
        self.vain = 0 if self.ready else min(self.vain + 1, 16)
        self.due = now + (0.0 if self.deaths == 1 else min(LONGEST, BRIEF * 2.0**self.vain))

    def start(self) -> None:
        """Start the next daemon when it is time. What fails (no memory, no process) is tried again in a second."""
        if self.daemon or self.over is not None or time.monotonic() < self.due:
            return
        self.due = time.monotonic() + 1.0
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # What is sent to it before it listens to signals waits for it, through exec(2), as long as they are blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        try:
            page = self.write(its)
            try:
                pid = os.fork()
                if pid == 0:
                    self.become(page, its)
            finally:
                os.close(page)
        except OSError:
            ours.close()
            raise
        finally:
            its.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.daemon, self.link, self.born, self.heard, self.ready = pid, ours, time.monotonic(), False, False

    def write(self, link: socket.socket) -> int:
        """The page for the next daemon."""
        more = {"died": [*self.died, self.deaths], "ending": self.ending, "ends": list(self.ends)}
        descriptors = self.held | {"keeper": link.fileno()}
        page = os.memfd_create("handover")
        try:
            with open(page, "wb", closefd=False) as file:
                file.write(json.dumps(self.facts | more | {"descriptors": descriptors}).encode())
        except BaseException:
            os.close(page)
            raise
        return page

    def become(self, page: int, link: socket.socket) -> None:
        """In the child: be the next daemon. Does not return."""
        try:
            for fd in (page, link.fileno(), *self.held.values()):
                os.set_inheritable(fd, True)
            with suppress(OSError):  # it will say what it misses there
                os.chdir(self.facts.get("cwd", "."))
            os.execve(self.command[0], self.command, os.environ | {VARIABLE: str(page)})
        finally:
            os._exit(NOT_STARTED)


def start_time(pid: int) -> int:
    """Of a process, in clock ticks since the boot (proc_pid_stat(5), field 22): with its pid its name for ever."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def main() -> int:
    """Read the page, and keep."""
    with open(int(sys.argv[1]), "rb") as file:
        file.seek(0)
        page = json.loads(file.read())
    return Keeper(page).run()


if __name__ == "__main__":
    sys.exit(main())
