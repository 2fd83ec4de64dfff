"""The sockets that programs share: how long they are open, and who uses them.

1. A socket is opened by the first spawn that needs it, and closed when no process that uses it is up or about to be:
   a process that is stopped only to be started again keeps it, and so do the clients that wait in its queue.
   (supervisord closes it whenever the last member has stopped, also in the middle of a restart.)
2. A socket is its address. Whoever names the same address shares it, and a new configuration that names it again finds
   it open: `kept` says that something is being exchanged, and that nothing is to be closed before that is over.
"""

import errno
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from supervise.config.model import ProgramConfig, SocketConfig
from supervise.core.events import AT_REST
from supervise.daemon.memory import is_alive
from supervise.daemon.process import Process
from supervise.system.activation import Launch, Slots, activated
from supervise.system.handover import Handover, name_of
from supervise.system.listening import ListenError, Listening, borrow, listen, recognise

log = logging.getLogger("supervise")

Address = tuple[str, str, int]


@dataclass(slots=True, eq=False)
class _Shared:
    """One address. `listening` None: nobody has been spawned yet, or by a daemon before us."""

    users: set[Process] = field(default_factory=set)
    kept: int = 0
    listening: Listening | None = None


class Sockets:
    """All sockets of all programs. Loop thread only. Without `slots`, they are made when a program first needs them."""

    def __init__(self, slots: Slots | None, handover: Handover) -> None:
        self._slots, self._handover = slots, handover
        self._shared: dict[Address, _Shared] = {}
        self._held: dict[Process, tuple[SocketConfig, ...]] = {}

    def follow(self, process: Process) -> None:
        """Something has happened to a process: see whether it holds its sockets, or no longer."""
        machine = process.machine
        if machine.state in AT_REST and machine.deadline is None:
            self.release(process)
        elif process not in self._held and (needs := needed(process.config)):
            self._held[process] = needs
            for config in needs:
                shared = self._shared.setdefault(_address(config), _Shared())
                shared.users.add(process)
                if shared.listening is None:  # unless a daemon before us had it open, it is made when it is needed
                    shared.listening = self._recovered(config, machine.pid if is_alive(process) else None)
                    self._hold(shared.listening)

    def release(self, process: Process) -> None:
        """It needs its sockets no longer; the last one closes them."""
        if held := self._held.pop(process, None):
            for config in held:
                if shared := self._shared.get(_address(config)):
                    shared.users.discard(process)
            self._close_unused()

    @contextmanager
    def kept(self, processes: Iterable[Process]) -> Iterator[None]:
        """Inside, no socket that these use now is closed: they stop only to be started again, or to be replaced."""
        used = {_address(config) for process in processes for config in self._held.get(process, ())}
        shared = [self._shared[address] for address in used]
        for each in shared:
            each.kept += 1
        try:
            yield
        finally:
            for each in shared:
                each.kept -= 1
            self._close_unused()

    @contextmanager
    def lend(self, process: Process, launch: Launch) -> Iterator[Launch]:
        """What to spawn so that the process has its sockets: descriptor 0 of an fcgi-program, 3 and up of others.

        Nothing but the spawn may happen inside. Opens what is not open. Raises ListenError, OSError.
        """
        config = process.config
        if not needed(config):
            yield launch
            return
        stdin = self._ready(config.fcgi_socket, process) if config.fcgi_socket else launch.stdin
        fds = [self._ready(each, process) for each in config.listening]
        if not fds:
            yield launch._replace(stdin=stdin)
            return
        if self._slots is None:
            self._slots = Slots()
        launch = activated(launch.filename, launch.argv, launch.env, [each.name for each in config.listening])
        with self._slots.placed(fds) as numbers:
            yield launch._replace(stdin=stdin, fds=numbers)

    def _ready(self, config: SocketConfig, process: Process) -> int:
        """The descriptor of an open socket. Raises ListenError."""
        shared = self._shared.setdefault(_address(config), _Shared())
        shared.users.add(process)
        if shared.listening is not None and not shared.listening.intact:
            log.warning("socket %s was gone; it is made anew", config.url)
            self._close(shared)
        if shared.listening is None:
            shared.listening = self._recovered(config, None) or self._create(config)
            self._hold(shared.listening)
        elif shared.listening.config != config:
            shared.listening.adapt(config)
        if len(shared.users) == 1:
            shared.listening.unblock()
        return shared.listening.sock.fileno()

    def _create(self, config: SocketConfig) -> Listening:
        log.info("Creating socket %s", config.url)
        try:
            return listen(config)
        except ListenError as error:
            idle = [shared for shared in self._shared.values() if shared.listening and not shared.users]
            if error.errno != errno.EADDRINUSE or not idle:
                raise
        for shared in idle:  # one that is kept, for nobody so far, may be in the way: *:80 in that of localhost:80
            self._close(shared)
        return listen(config)

    def _recovered(self, config: SocketConfig, pid: int | None) -> Listening | None:
        """The socket as a daemon before us had it open: handed over to us, or found with a process that has it."""
        for fd in list(self._handover.sockets):
            if found := recognise(fd, config):
                self._handover.sockets.remove(fd)
                return found
        return borrow(pid, config) if pid is not None else None

    def _hold(self, listening: Listening | None) -> None:
        """Have it kept for a daemon after us."""
        if listening is not None:
            fd = listening.sock.fileno()
            self._handover.hold(fd, name_of(fd, "socket"))

    def _close_unused(self) -> None:
        for address in [address for address, shared in self._shared.items() if not shared.users and not shared.kept]:
            self._close(self._shared.pop(address))

    def _close(self, shared: _Shared) -> None:
        if shared.listening is not None:
            log.info("Closing socket %s", shared.listening.config.url)
            self._handover.release(shared.listening.sock.fileno())
            shared.listening.close()
            shared.listening = None

    def descriptors(self) -> list[int]:
        """Every open socket, for a daemon after us."""
        return [shared.listening.sock.fileno() for shared in self._shared.values() if shared.listening is not None]

    def close(self) -> None:
        """Close all that are still open, whoever uses them."""
        for shared in self._shared.values():
            self._close(shared)
        self._shared, self._held = {}, {}


def needed(config: ProgramConfig) -> tuple[SocketConfig, ...]:
    """The sockets of one process."""
    return config.listening if config.fcgi_socket is None else (config.fcgi_socket, *config.listening)


def _address(config: SocketConfig) -> Address:
    return config.path, config.host, config.port
