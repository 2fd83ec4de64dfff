"""What every program of the chaos run executes: python -I -S child.py PLACE NAME KIND. Imports little, to start fast.

The ledger of a run, PLACE/ledgers/NAME/PID-START, holds one line for each thing that is about to be done: `S` it has
begun (`G`: a grandchild), `1 N`, `2 N` line N will be written to stdout or stderr, `C N` passage N will be written
between the tokens that make it an event, `E CODE` or `K SIGNAL` how it will end. While it runs it holds a lock on
PLACE/locks/NAME: a second copy finds it taken, and says so in PLACE/doubles. An event listener writes each event to
PLACE/heard/NAME before it acknowledges it.
"""

import fcntl
import os
import random
import signal
import socket
import stat
import sys
import time

place, name, kind = sys.argv[1:4]


def run_id() -> str:
    with open("/proc/self/stat") as file:
        return f"{os.getpid()}-{file.read().rpartition(')')[2].split()[19]}"


def lock() -> int:
    fd = os.open(f"{place}/locks/{name}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with open(f"{place}/doubles", "a") as file:
            file.write(f"{name} {run_id()}\n")
        os._exit(99)
    return fd


def show_pipes() -> None:
    """Have our stdout and stderr kept by somebody who does not die, unless the keeper does that."""
    if not os.path.exists(f"{place}/safe"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as safe:
        safe.connect(f"{place}/safe")
        socket.send_fds(safe, [f"{name} {os.getpid()}".encode()], [1, 2])
        safe.recv(1)


def record(text: str) -> None:
    os.write(ledger, f"{text}\n".encode())


def line(stream: int, number: int, size: int) -> bytes:
    head = f"@{name} {me} {stream} {number} "
    return f"{head}{'.' * max(0, size - len(head) - 2)}$\n".encode()


def write(stream: int, number: int, size: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # who is told to end does so between two lines
    record(f"{stream} {number} {size}")
    data = line(stream, number, size)
    while data:
        data = data[os.write(stream, data) :]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def end(code: int) -> None:
    record(f"E {code}")
    os._exit(code)


def passage(number: int) -> None:
    """In pieces, between which we or the daemon may die."""
    record(f"C {number} {time.time():.3f}")
    data = f"<!--XSUPERVISOR:BEGIN-->{name} {me} {number}<!--XSUPERVISOR:END-->".encode()
    while data:
        piece = chance.choice((3, 20, 200))
        os.write(1, data[:piece])
        data = data[piece:]
        if data and chance.random() < 0.2:
            time.sleep(chance.uniform(0, 0.05))


def said(length: int | None = None) -> bytes:
    """A line of our stdin, or so many bytes of it."""
    while (b"\n" not in heard) if length is None else (len(heard) < length):
        heard.extend(os.read(0, 65536))
    end = heard.index(b"\n") + 1 if length is None else length
    data = bytes(heard[:end])
    del heard[:end]
    return data


def listen() -> None:
    """Be an event listener, sometimes slow, sometimes one that dies over an event."""
    out = os.open(f"{place}/heard/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    number = 0
    while True:
        os.write(1, b"READY\n")
        header = dict(word.split(b":", 1) for word in said().split())
        data = said(int(header[b"len"])).rpartition(b"\n")[2]
        os.write(out, b"%b %b %b\n" % (header[b"serial"], header[b"poolserial"], data))
        write(2, number, 64)
        number += 1
        if chance.random() < 0.02:
            time.sleep(chance.uniform(0, 0.5))
        if chance.random() < 0.003:
            end(5)
        for piece in (b"RESULT 2\n", b"OK") if chance.random() < 0.3 else (b"RESULT 2\nOK",):
            os.write(1, piece)


def is_listening(fd: int) -> bool:
    """Whether that descriptor is a socket that clients can connect to."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


held = lock()
show_pipes()
heard = bytearray()
me = run_id()
chance = random.Random(me)
os.makedirs(f"{place}/ledgers/{name}", exist_ok=True)
ledger = os.open(f"{place}/ledgers/{name}/{me}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "stubborn" else lambda *_: end(0))
for harmless in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
    signal.signal(harmless, lambda *_: None)
record(f"S {time.time():.3f}")
if (kind == "fcgi" and not is_listening(0)) or (
    kind == "activated" and not (os.environ.get("LISTEN_PID") == str(os.getpid()) and is_listening(3))
):
    with open(f"{place}/complaints", "a") as file:
        file.write(f"{name} {me} has no socket\n")
if kind == "listener":
    listen()

if kind == "forker" and os.fork() == 0:  # a grandchild that goes on writing after our end
    if os.fork():
        os._exit(0)
    os.close(held)
    show_pipes()
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    me = run_id()
    ledger = os.open(f"{place}/ledgers/{name}/{me}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    record(f"G {time.time():.3f}")
    for number in range(chance.randrange(5, 40)):
        write(1, number, 64)
        time.sleep(chance.uniform(0, 0.1))
    record("E 0")
    os._exit(0)

counts, passages = {1: 0, 2: 0}, 0
last = chance.randrange(5, 200) if kind in ("crasher", "forker", "killer", "fcgi", "activated") else 1 << 60
while sum(counts.values()) < last:
    stream = 2 if kind in ("both", "shared", "merged") and chance.random() < 0.5 else 1
    size = chance.choice((64, 200, 5000, 70000)) if kind == "long" else 64
    for _ in range(chance.randrange(1, 30)):
        write(stream, counts[stream], size)
        counts[stream] += 1
        if size > 200:
            break
    if kind == "captured" and chance.random() < 0.2:
        passage(passages)
        passages += 1
    time.sleep(chance.choice((0, 0.002, 0.02, 0.2)))
if kind == "killer":
    number = chance.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT))
    record(f"K {int(number)}")
    os.kill(os.getpid(), number)
end(chance.choice((0, 1, 2, 3, 77)))
