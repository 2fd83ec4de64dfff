"""Lives of a pool of event listeners that end by SIGKILL, for tests of what the next one makes of them.

    python -m tests.daemon.perishing every [N] [FIRST]   killed at every line (every Nth) of the modules concerned
    python -m tests.daemon.perishing reload [N] [FIRST]  the same, where all is made anew in the midst of each life
    python -m tests.daemon.perishing twice SEED TRIES    at two random ones, so that taking up is interrupted too

A program of its own with one thread, since it forks. The listener lives on between the lives, and nobody keeps its
pipes. After the last life, which may come to its end, every event must have been acknowledged: once, or twice if it was
in flight at a death; and no serial was given to two of them. Prints what is wrong, or the number of tries and how many
listeners had to be restarted.
"""

import asyncio
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from supervise.core.events import DaemonState, RemoteCommunication, Start
from supervise.daemon.bus import Bus
from supervise.daemon.logs import Logs
from supervise.daemon.memory import Memory
from supervise.daemon.pools import Pools
from supervise.daemon.supervisor import Supervisor
from supervise.system.handover import Handover
from supervise.system.journal import Journal
from supervise.system.reap import Reaper, become_subreaper
from tests.daemon.killing import forked, killed_at
from tests.daemon.listening import events, listener, pool, wiring

ROOMS = (
    "daemon/dialogue",
    "daemon/listeners",
    "daemon/pools",
    "daemon/eventlog",
    "system/counter",
    "system/entries",
    "core/pool",
    "core/listener",
    "system/intent",
)
EACH = 4  # events of a life
PATIENCE = 20.0


class Place:
    """The files of one try."""

    def __init__(self, *, reload: bool) -> None:
        self.reload = reload
        self.path = Path(tempfile.mkdtemp(prefix="perishing-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.published = self.path / "published"
        self.published.write_text("0")

    @property
    def acknowledged(self) -> Counter[int]:
        return Counter(int(payload.partition("\n")[2]) for _, payload, _ in events(self.path))

    async def live(self) -> None:
        """One life: some events, until they have been acknowledged."""
        loop = asyncio.get_running_loop()
        memory = Memory(Journal(str(self.path / "state")), Handover())
        logs = Logs(loop, childlogdir=str(self.path), identifier="test", custody=memory.handover)
        logs.record_in(str(self.path))
        supervisor = Supervisor(logs, Reaper(loop), Bus(), memory)
        pools = Pools(supervisor)
        hears = pool(listener(self.path, stdout_logfile=str(self.path / "l.log")), events=("REMOTE_COMMUNICATION",))
        supervisor.add_group(hears)
        supervisor.enter(DaemonState.RUNNING)
        recalled = memory.recalled
        supervisor.autostart(p for p in supervisor.processes() if (p.group, p.name) not in recalled)
        if self.reload:
            for process in supervisor.processes():  # may have been stopped by a reload that came to no end
                supervisor.tell(process, Start())
        await self._tell(supervisor)
        if self.reload:
            await supervisor.stop(list(supervisor.processes()))
            supervisor.remove_group("l")
            supervisor.add_group(hears)
            supervisor.enter(DaemonState.RUNNING)
            supervisor.autostart(supervisor.processes())
            await self._tell(supervisor)
        pools.close(forget=False)

    async def _tell(self, supervisor: Supervisor) -> None:
        for _ in range(EACH):
            number = int(self.published.read_text())
            supervisor.bus.publish(RemoteCommunication("t", str(number)))
            self.published.write_text(str(number + 1))
        async with asyncio.timeout(PATIENCE):
            while not (wiring(supervisor).available and wiring(supervisor).up_to_date):
                await asyncio.sleep(0.002)

    def check(self, deaths: int) -> str:
        """What is wrong; "" if nothing is."""
        got, count = self.acknowledged, int(self.published.read_text())
        found = events(self.path)
        serials = [int(header["poolserial"]) for header, _, _ in found]
        of = {(header["serial"], payload) for header, payload, _ in found}
        if missing := [number for number in range(count) if not got[number]]:
            return f"lost {missing}: {got}"
        if sum(got.values()) > sum(1 for number in got if number < count) + 2 * deaths:
            return f"doubled {got}"
        if len(of) != len({serial for serial, _ in of}):
            return f"a serial is of two events: {sorted(of)}"
        if self.reload:  # the new pool begins anew, as supervisord's
            return ""
        if sorted(set(serials)) != list(range(len(set(serials)))) or len(set(serials)) > count + deaths:
            return f"serials {serials}"
        return ""

    @property
    def pids(self) -> set[int]:
        """The listeners that there were."""
        return {pid for _, _, pid in events(self.path)}

    def close(self) -> None:
        for pid in self.pids:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                continue
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        shutil.rmtree(self.path)


def attempt(moments: list[int], *, reload: bool = False) -> tuple[bool, str, int]:
    """Lives killed at these moments, then one that is not: whether the first was killed, what is wrong, and how many
    listeners there were."""
    place = Place(reload=reload)

    def live() -> None:
        asyncio.run(place.live())

    try:
        killed = [killed_at(moment, ROOMS, live) for moment in moments]
        if forked(live) != 0:
            return True, "the last life has failed", 0
        return killed[0], place.check(sum(killed)), len(place.pids)
    finally:
        place.close()


def every(step: int = 1, first: int = 1, *, reload: bool = False) -> None:
    tries = restarted = 0
    for moment in itertools.count(first, step):
        killed, wrong, listeners = attempt([moment], reload=reload)
        tries += 1
        restarted += listeners > 1
        if wrong:
            raise SystemExit(f"killed at line {moment}: {wrong}")
        if not killed:
            break
    print(tries, restarted)


def twice(seed: int, tries: int) -> None:
    chance, restarted = random.Random(seed), 0
    for _ in range(tries):
        moments = [chance.randrange(1, 1500) for _ in range(2)]
        _, wrong, listeners = attempt(moments)
        restarted += listeners > 1
        if wrong:
            raise SystemExit(f"killed at lines {moments}: {wrong}")
    print(tries, restarted)


if __name__ == "__main__":
    become_subreaper()
    match sys.argv[1:]:
        case ["every", *numbers]:
            every(*map(int, numbers))
        case ["reload", *numbers]:
            every(*map(int, numbers), reload=True)
        case ["twice", seed, tries]:
            twice(int(seed), int(tries))
