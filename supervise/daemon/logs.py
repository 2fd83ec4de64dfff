"""The logs of all processes: one log thread, their targets, their pipes."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from supervise.config.model import AUTO, ProgramConfig
from supervise.daemon.autologs import AUTO_MODE, auto_path, is_auto_log, retire_auto_logs
from supervise.daemon.channel import OLD_PIPES, Channel, OutputHook, Target, log
from supervise.daemon.childpipe import ChildPipe, Ends, finish
from supervise.daemon.draining import Drain
from supervise.daemon.losses import Losses
from supervise.daemon.outputs import Outputs, for_program
from supervise.daemon.sinks import Sink, Sinks
from supervise.daemon.touching import Touching
from supervise.daemon.unfinished import Unfinished
from supervise.system.logfile import LogFile
from supervise.system.pipes import open_pipe
from supervise.system.pump import Custody, Pump, Worker

STALL = 1.0  # seconds in one write after which a fresh thread takes the other channels
SHOWN = 5  # lines that `last_lines` gives


class Logs:
    """Opens the logs of processes. Loop thread only; the log thread starts at first use (so: after daemonising)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        childlogdir: str,
        identifier: str,
        strip_ansi: bool = False,
        nocleanup: bool = False,
        custody: Custody | None = None,
    ) -> None:
        self.loop = loop
        self.childlogdir, self.identifier, self.strip_ansi = childlogdir, identifier, strip_ansi
        self.in_use: frozenset[str] = frozenset()  # AUTO logs of processes that outlived the daemon before us
        self.on_output: OutputHook | None = None  # (namespec, channel, pid, data); log thread; events_enabled only
        self.on_passage: OutputHook | None = None  # the same for what is between capture tokens
        self.pump = Pump(self._busy, custody)
        self.sinks = Sinks(self.pump)
        self.touching = Touching(loop, self.pump)
        self.outputs = Outputs()
        self.unfinished = Unfinished(self.pump)
        self.losses = Losses()
        self._timer: asyncio.TimerHandle | None = None
        self._clean = not nocleanup

    def open(self, config: ProgramConfig, auto: Mapping[str, str] | None = None) -> "ProcessLogs":
        """Return the logs of a process. Never raises for a bad file: that is tried again, and told.

        `auto`: by channel, the names of the AUTO logs that a daemon before us has begun.
        """
        if self._clean:
            self._clean = False
            directory, identifier, in_use = self.childlogdir, self.identifier, self.in_use
            self.pump.call(lambda _: retire_auto_logs(directory, identifier, in_use))
        return ProcessLogs(self, config, auto or {})

    def record_in(self, directory: str | None) -> None:
        """Make output exact over our own death by SIGKILL, with records in the journal's directory.

        Before any log of a program is opened. What is unfinished there is finished by `ProcessLogs.resume`, and when
        all programs are there by `unfinished.settle`.
        """
        self.unfinished, self.losses = Unfinished(self.pump, directory), Losses(directory)

    def reopen(self, some: Iterable[Sink] | None = None) -> asyncio.Future[None]:
        """Close and open every file, or some (USR2). The future never fails: trouble is the file's `problem`."""
        done = self.loop.create_future()

        def reopen(worker: Worker) -> None:
            for sink in sinks:
                try:
                    sink.command(worker, sink.file.open)
                except OSError:
                    sink.write(worker, b"")
            self._tell(done)

        sinks = self.sinks.all() if some is None else tuple(some)
        self.pump.call(reopen)
        return done

    def order(self, sink: Sink, action: Callable[[], None]) -> asyncio.Future[None]:
        """Have the log thread do something with a target's file; the future raises its OSError."""
        done: asyncio.Future[None] = self.loop.create_future()

        def perform(worker: Worker) -> None:
            error: OSError | None = None
            try:
                sink.command(worker, action)
            except OSError as exc:
                error = exc
            self._tell(done, error)

        self.pump.call(perform)
        return done

    def _tell(self, done: "asyncio.Future[None]", error: OSError | None = None) -> None:
        def settle() -> None:
            if error is not None and not done.done():
                done.set_exception(error)
            elif not done.done():
                done.set_result(None)

        self.post(settle)

    def post(self, function: Callable[[], None]) -> None:
        """Run a function in the loop, from the log thread; nothing happens when the loop is closed."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function)

    async def close(self) -> None:
        """Write what was sent, close everything, end the thread."""
        self.sinks.release_all()
        await asyncio.to_thread(self.pump.close)
        for stream in self.sinks.ending():
            await asyncio.to_thread(stream.join)
        await asyncio.to_thread(self.outputs.close)
        if self._timer is not None:
            self._timer.cancel()

    # A hung file: looked at a second after it was begun, and only then

    def _busy(self) -> None:
        self.post(self._arm)

    def _arm(self) -> None:
        self._timer = self.loop.call_later(STALL, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.pump.relieve(STALL):
            self._arm()


class ProcessLogs:
    """stdout and stderr of one process. Loop thread only."""

    __slots__ = ("_auto", "_config", "_current", "_former", "_logs", "_pump", "aimed", "stderr", "stdout")

    def __init__(self, logs: Logs, config: ProgramConfig, auto: Mapping[str, str]) -> None:
        self._logs = logs
        self._auto = auto
        self._pump = logs.pump
        self._config = config
        self._current: tuple[ChildPipe, ...] = ()
        self._former: tuple[Channel, ...] = ()
        self.aimed = 0  # how often `files` or `auto_paths` may have changed
        self.stdout = self._channel("stdout")
        self.stderr: Channel | None = None if config.redirect_stderr else self._channel("stderr")

    def _channel(self, name: str) -> Channel:
        channel = Channel(self._logs.loop, self._config.namespec, name)
        channel.strip, channel.loss = self._logs.strip_ansi, self._logs.losses.of(channel.namespec, name)
        self._aim(channel)
        return channel

    def _aim(self, channel: Channel) -> None:
        """Point a channel at the target that the configuration names, keeping the old one if it is the same."""
        self.aimed += 1
        config, name = self._config, channel.name
        wanted: str | None = getattr(config, f"{name}_logfile")
        limits = getattr(config, f"{name}_logfile_maxbytes"), getattr(config, f"{name}_logfile_backups")
        channel.copied = config.name
        spoken = config.kind == "eventlistener" and name == "stdout"  # to us: that makes no events
        channel.hook = self._logs.on_output if getattr(config, f"{name}_events_enabled") and not spoken else None
        channel.capture = 0 if spoken else getattr(config, f"{name}_capture_maxbytes")
        channel.passage = self._logs.on_passage
        channel.auto = wanted == AUTO
        if channel.auto:
            auto = channel.path is not None and is_auto_log(channel.path, self._logs.identifier)
            fresh = auto_path(self._logs.childlogdir, self._logs.identifier, config.name, name)
            wanted = channel.path if auto else self._auto.get(name, fresh)
        old, channel.path = channel.sink, wanted
        channel.target = None if wanted in (None, "/dev/null") else (wanted, *limits)
        channel.sink = self._logs.sinks.acquire(*channel.target) if channel.target else None
        if old is not None:
            self._logs.sinks.release(old)
        if channel.sink is not None and channel.auto:
            channel.sink.file.mode = AUTO_MODE
            self._logs.touching.add(channel.sink)
        former, channel.lines = channel.lines, for_program(self._logs.outputs, config, name)
        self._logs.outputs.retire(former, self._pump, self._logs.post)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """stdout, and stderr if it has a channel of its own."""
        return (self.stdout,) if self.stderr is None else (self.stdout, self.stderr)

    def pipes(self) -> Ends:
        """Make new pipes for one spawn. Use as a context manager: leaving it closes the child's ends.

        What still writes into an earlier run's pipe keeps it. Raises OSError (EMFILE, ENFILE).
        """
        ends, pipes = [], []
        try:
            for channel in self.channels:
                reader, writer = open_pipe(self._config.uid)
                ends.append(writer)
                pipes.append(ChildPipe(self._pump, channel, reader))
        except OSError:
            for fd in ends:
                os.close(fd)  # the log thread finds our own ends at their end, and closes them
            raise
        for pipe in self._current:
            if pipe.fd >= 0:
                self._retire(pipe)
        self._current = tuple(pipes)
        for channel in self.channels:
            channel.begin()
            if channel.sink is not None and not channel.sink.touched:
                self._logs.touching.add(channel.sink)
        return Ends(ends[0], ends[-1])

    def inodes(self) -> dict[str, list[int]]:
        """By channel, the pipes that somebody may write to: first the present run's, then those of earlier ones."""
        inodes: dict[str, list[int]] = {}
        for channel in (*self.channels, *self._former):
            open_ones = [pipe.inode for pipe in self._current if pipe.channel is channel and pipe.fd >= 0]
            if channel.old:
                open_ones += [pipe.inode for pipe in reversed(channel.old[-2 * OLD_PIPES :]) if pipe.fd >= 0]
            inodes[channel.name] = inodes.get(channel.name, []) + open_ones
        return inodes

    def files(self) -> dict[str, Target]:
        """By channel, the file that what is written there goes to, if to any."""
        return {channel.name: channel.target for channel in (*self._former, *self.channels) if channel.target}

    def auto_paths(self) -> dict[str, str]:
        """The names of the AUTO logs in use, by channel."""
        return {channel.name: channel.path for channel in self.channels if channel.auto and channel.path}

    def resume(
        self,
        inodes: Mapping[str, Sequence[int]],
        find: Callable[[int], int | None],
        files: Mapping[str, Target] | None = None,
    ) -> list[Channel]:
        """Read on from the pipes of a daemon before us, as `inodes` and `files` told; `find` opens one, or has None.

        All of them, whatever is configured by now: who writes into a pipe that nobody reads hangs in the end.
        Returns the channels whose present run has a pipe that could not be opened.
        """
        current: list[ChildPipe] = []
        missing: list[Channel] = []
        channels = {channel.name: channel for channel in self.channels}
        for name, pipes in inodes.items():
            for number, inode in reversed(list(enumerate(pipes))):  # earlier runs come first
                fd, steps = find(inode), self._logs.unfinished.of(inode)
                if fd is None and number == 0:
                    missing.append(channels.get(name, self.stdout))
                if fd is not None or steps:
                    if name not in channels:
                        channels[name] = self._formerly(name, (files or {}).get(name))
                    pipe = ChildPipe(self._pump, channels[name], -1 if fd is None else fd, inode, steps)
                    (channels[name].old if number else current).append(pipe)
        self._current = tuple(current)
        return missing

    def _formerly(self, name: str, file: Target | None) -> Channel:
        """A channel that is not configured any more, for what is still written there: to the file that it had."""
        if file is None:
            return self.stdout
        channel = Channel(self._logs.loop, self._config.namespec, name)
        channel.strip, channel.path, channel.target = self._logs.strip_ansi, file[0], file
        channel.sink = self._logs.sinks.acquire(*file)
        self._former = (*self._former, channel)
        self.aimed += 1
        return channel

    def _retire(self, pipe: ChildPipe) -> None:
        channel = pipe.channel
        channel.old.append(pipe)
        for each in list(channel.old):
            if each.fd < 0:
                each.leave()  # it ended while it was being added
        if len(read := [each for each in channel.old if not each.given_up]) > OLD_PIPES:
            oldest = read[0]
            oldest.given_up = True
            channel.unread += 1
            log.warning(
                "%s: too many processes of earlier runs hold %s; the oldest is no longer read",
                channel.namespec,
                channel.name,
            )
            self._pump.call(partial(finish, self._pump, [oldest]))

    def started(self, pid: int) -> None:
        """Tell the pid that the current pipes belong to (for events)."""
        for pipe in self._current:
            pipe.pid = pid
            if pipe.channel.lines is not None:
                pipe.channel.lines.pid = pid

    def drain(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop when all that the process wrote has been passed on to its log.

        At once, before returning, if nothing is pending; and soon at the latest (see `Drain`).
        """
        pipes = self._current
        if all(pipe.idle() for pipe in pipes):
            for channel in self.channels:
                if channel.lines is not None:
                    self._pump.call(channel.end_line)
            callback()
            return
        drain = Drain(self._logs.loop, self._pump, callback)
        self._pump.call(partial(drain.take, pipes))

    def last_lines(self) -> tuple[str, ...]:
        """The last lines of stderr (of stdout if that takes both) that the present run wrote, from memory."""
        text = (self.stderr or self.stdout).run_ring().decode("utf-8", "replace")
        return tuple(text.splitlines()[-SHOWN:])

    def _order(self, action: Callable[[LogFile], Callable[[], None]]) -> Awaitable[object]:
        sinks = {channel.sink for channel in self.channels if channel.sink is not None}
        return asyncio.gather(*[self._logs.order(sink, action(sink.file)) for sink in sinks])

    def clear(self) -> Awaitable[object]:
        """Empty the files, also while the process is stopped. The awaitable raises OSError."""
        return self._order(lambda file: file.clear)

    def rotate(self) -> Awaitable[object]:
        """Rotate the files now. The awaitable raises OSError."""
        return self._order(lambda file: file.rotate)

    def reopen(self) -> Awaitable[object]:
        """Close the files and open what now has their names. The awaitable raises OSError."""
        return self._order(lambda file: file.open)

    def reconfigure(self, config: ProgramConfig) -> None:
        """Take over new targets and limits, for running processes too; redirect_stderr at the next spawn."""
        self._config = config
        self._aim(self.stdout)
        if config.redirect_stderr and self.stderr is not None:
            self._former = (*self._former, self.stderr)  # a running process still writes there
            self.stderr = None
        elif self.stderr is not None:
            self._aim(self.stderr)
        elif not config.redirect_stderr:
            self.stderr = self._channel("stderr")

    def close(self) -> None:
        """Stop reading and give up the files, after what is readable now."""
        channels = (*self.channels, *self._former)
        pipes = (*self._current, *(pipe for channel in channels for pipe in list(channel.old)))
        self._current = ()
        self._pump.call(partial(finish, self._pump, pipes))
        for channel in channels:
            channel.loss.forget()
            if channel.sink is not None:
                self._logs.sinks.release(channel.sink)
            self._logs.outputs.retire(channel.lines, self._pump, self._logs.post)
