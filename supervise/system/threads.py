"""Threads beside the loop's."""

import errno
import signal
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], object], name: str) -> threading.Thread:
    """Have a daemon thread do that, for which nobody waits at the end. Any thread. Raises OSError (EAGAIN): there can
    be no more of them.

    No signal reaches it, not even at its birth: a thread has the mask of the one that makes it (pthread_create(3)).
    Signals are the main thread's business, and while that keeps them waiting for the code that is about to be executed
    in its place, one that any other thread took would be lost.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    except RuntimeError as why:
        raise OSError(errno.EAGAIN, str(why)) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread


def within(seconds: float, work: Callable[[], T], name: str, late: Callable[[T], object] = lambda _: None) -> T:
    """What `work` returns or raises, in a thread. Blocks, so long: then TimeoutError, and what it returns after that is
    given to `late`. Any thread. Raises OSError as `begin` does."""
    lock, results, errors = threading.Lock(), list[T](), list[Exception]()
    given_up = False

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            errors.append(error)
            return
        with lock:
            if not given_up:
                results.append(result)
                return
        late(result)

    begin(run, name).join(seconds)
    with lock:
        given_up = not results
    if results:
        return results[0]
    if errors:
        raise errors[0]
    raise TimeoutError(errno.ETIMEDOUT, f"no answer within {seconds:g} seconds")
