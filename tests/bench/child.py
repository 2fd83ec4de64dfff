"""What child.c does, for machines without a compiler; `keep` apart. Slower: its birth is an interpreter's start."""

import os
import sys
import time

DIGITS = 10


def stamp(word: str, value: int) -> None:
    """Tell the bench."""
    os.write(stamps, f"{name} {word} {os.getpid()} {value}\n".encode())


def line(length: int, number: int) -> bytes:
    """One line of output."""
    return f"{name} {number:0{DIGITS}d} ".encode().ljust(length - 1, b"x") + b"\n"


def put(data: bytes) -> None:
    """All of it, to stdout."""
    while data:
        data = data[os.write(1, data) :]


def write(length: int, chunk: int, total: int, go: str) -> None:
    """Numbered lines, when the file `go` exists."""
    while not os.path.exists(go):
        time.sleep(0.002)
    stamp("begin", time.monotonic_ns())
    for number in range(0, total // length, chunk // length):
        put(b"".join(line(length, number + more) for more in range(chunk // length)))
    stamp("done", time.monotonic_ns())


def lag(path: str, count: int) -> None:
    """Write a line, and look how long it takes to be in the file."""
    for number in range(count):
        time.sleep(0.002)
        before = size(path)
        begin = time.monotonic_ns()
        put(line(200, number))
        while size(path) == before:
            pass
        stamp("lag", time.monotonic_ns() - begin)


def size(path: str) -> int:
    """Of a file that may not exist yet."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def chat(pause: float) -> None:
    """A line, again and again."""
    number = 0
    while True:
        put(line(200, number))
        number += 1
        if pause:
            time.sleep(pause)


def check(length: int, total: int, paths: list[str]) -> str:
    """What is wrong with the files; empty: they are what `write` wrote."""
    number, rest = 0, b""
    for path in paths:
        with open(path, "rb") as file:
            while data := file.read(1 << 20):
                data = rest + data
                whole = len(data) // length
                want = b"".join(line(length, number + more) for more in range(whole))
                if data[: whole * length] != want:
                    return f"{path}: not what was written, about line {number}"
                number, rest = number + whole, data[whole * length :]
    done = number * length + len(rest)
    return "" if done == total else f"{done} bytes of {total}"


born = time.monotonic_ns()
name, mode, words = sys.argv[2], sys.argv[3], sys.argv[4:]
if mode == "check":
    sys.exit(check(int(words[0]), int(words[1]), words[2:]) or 0)
stamps = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
stamp("born", born)
if mode == "write":
    write(int(words[0]), int(words[1]), int(words[2]), words[3])
elif mode == "lag":
    lag(words[0], int(words[1]))
elif mode in {"chat", "flood"}:
    chat(int(words[0]) / 1e6 if words else 0)
while True:
    time.sleep(1000)
