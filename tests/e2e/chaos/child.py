"""What every program of the chaos run executes: python -I -S child.py PLACE NAME KIND. Imports little, to start fast.

The ledger of a run, PLACE/ledgers/NAME/PID-START, holds one line for each thing that is about to be done: `S` it has
begun, `1 N`, `2 N` line N will be written to stdout or stderr, `E CODE` or `K SIGNAL` how it will end. While it runs it
holds a lock on PLACE/locks/NAME: a second copy finds it taken, and says so in PLACE/doubles.
"""

import fcntl
import os
import random
import signal
import socket
import sys
import time

place, name, kind = sys.argv[1:4]
alone = True


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
    """Have our stdout and stderr kept by somebody who does not die."""
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
    record(f"{stream} {number} {size}")
    data = line(stream, number, size)
    while data:
        data = data[os.write(stream, data) :]


def end(code: int) -> None:
    record(f"E {code}")
    os._exit(code)


held = lock()
show_pipes()
me = run_id()
chance = random.Random(me)
os.makedirs(f"{place}/ledgers/{name}", exist_ok=True)
ledger = os.open(f"{place}/ledgers/{name}/{me}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "stubborn" else lambda *_: end(0))
for harmless in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
    signal.signal(harmless, lambda *_: None)
record(f"S {time.time():.3f}")

if kind == "forker" and os.fork() == 0:  # a grandchild that goes on writing after our end
    if os.fork():
        os._exit(0)
    os.close(held)
    show_pipes()
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    me = run_id()
    ledger = os.open(f"{place}/ledgers/{name}/{me}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(chance.randrange(5, 40)):
        write(1, number, 64)
        time.sleep(chance.uniform(0, 0.1))
    record("E 0")
    os._exit(0)

counts = {1: 0, 2: 0}
last = chance.randrange(5, 200) if kind in ("crasher", "forker", "killer") else 1 << 60
while sum(counts.values()) < last:
    stream = 2 if kind in ("both", "shared", "merged") and chance.random() < 0.5 else 1
    size = chance.choice((64, 200, 5000, 70000)) if kind == "long" else 64
    for _ in range(chance.randrange(1, 30)):
        write(stream, counts[stream], size)
        counts[stream] += 1
        if size > 200:
            break
    time.sleep(chance.choice((0, 0.002, 0.02, 0.2)))
if kind == "killer":
    number = chance.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT))
    record(f"K {int(number)}")
    os.kill(os.getpid(), number)
end(chance.choice((0, 1, 2, 3, 77)))
