"""What is kept of lists is never out of date, and says what a rendering from scratch would say."""

import asyncio
import contextlib
import json
import xmlrpc.client
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervise.api import shapes, structs, wire
from supervise.api.listing import AT_ONCE, Kept
from supervise.config.model import ProgramConfig
from supervise.core.events import Event, Exited, SignalFailed, Spawned, SpawnFailed, Start, Stop, Timeout
from supervise.core.process import IllegalEvent, ProcessMachine
from supervise.daemon.info import Facts, Moment, ProcessInfo, describe, facts
from supervise.daemon.logs import Logs
from supervise.daemon.process import Exit, Process
from tests.api.test_structs import MEMBERS
from tests.daemon.running import program, run

TEXT = st.text('aä<&>"\\\x00\r\n\ud800€', max_size=4)


class World:
    """Some processes as a daemon has them, but for the daemon."""

    def __init__(self, logs: Logs, names: Sequence[str]) -> None:
        self.logs, self.now, self.priority = logs, 1000.0, 999
        self.processes = [self.process(name) for name in names]

    def process(self, name: str) -> Process:
        config = program(name, "true", stdout_logfile=f"{self.logs.childlogdir}/{name}")
        return Process(ProcessMachine(config), self.logs.open(config), config.group_name)

    def facts(self) -> list[Facts]:
        return [facts(process, self.priority) for process in self.processes]

    @property
    def moment(self) -> Moment:
        return Moment(1.7e9 + self.now, self.now)


Operation = Callable[[World], object]


def steps(*events: Event) -> Callable[[Process, World], object]:
    def happen(process: Process, world: World) -> None:
        for event in events:
            with contextlib.suppress(IllegalEvent):
                process.machine.step(event, world.now)

    return happen


def assign(name: str, value: object) -> Callable[[Process, World], object]:
    return lambda process, _: setattr(process, name, value)


def end(status: int | None, text: str) -> Callable[[Process, World], object]:
    return lambda process, world: process.add_exit(Exit(world.now, status, text, True, 1.0, ()))


def trouble(dropped: int, problem: str) -> Callable[[Process, World], object]:
    def happen(process: Process, _: World) -> None:
        channel = process.logs.stderr or process.logs.stdout
        channel._dropped = dropped
        if channel.sink is not None:
            channel.sink.problem = problem

    return happen


def configure(**options: object) -> Callable[[Process, World], object]:
    def happen(process: Process, world: World) -> None:
        changed: dict[str, object] = {"stdout_logfile": f"{world.logs.childlogdir}/new"} | options
        process.machine.config = config = program(process.name, "true", **changed)
        process.logs.reconfigure(config)

    return happen


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.sampled_from([Start(), Stop(), Stop(restart=True), Timeout()]),
    st.builds(Spawned, st.integers(1, 2**22)),
    st.builds(SpawnFailed, TEXT),
    st.builds(SignalFailed, TEXT),
    st.builds(Exited, st.sampled_from([0, 1, -9, None]), st.booleans(), TEXT),
)
TIMES = st.floats(0.0, 2e9)
TO_ONE = st.one_of(
    EVENTS.map(steps),
    st.builds(steps, st.just(Start()), EVENTS),
    st.builds(steps, st.just(Start()), st.builds(Spawned, st.integers(1, 2**22)), EVENTS),
    st.builds(assign, st.sampled_from(["started", "stopped"]), TIMES),
    st.builds(assign, st.just("restarts"), st.integers(0, 9)),
    st.builds(assign, st.just("leftovers"), st.tuples(st.integers(1, 9))),
    st.builds(end, st.sampled_from([0, 1, -9, None]), TEXT),
    st.builds(trouble, st.integers(0, 2**40), TEXT),
    st.builds(configure, priority=st.integers(0, 9), redirect_stderr=st.booleans()),
)


def pass_time(seconds: float) -> Operation:
    return lambda world: setattr(world, "now", world.now + seconds)


def to_one(number: int, change: Callable[[Process, World], object]) -> Operation:
    return lambda world: change(world.processes[number % len(world.processes)], world) if world.processes else None


OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    *[st.builds(to_one, st.integers(0, 9), TO_ONE)] * 4,
    st.floats(0.0, 1e5).map(pass_time),
    st.integers(0, 9).map(lambda number: lambda world: setattr(world, "priority", number)),
    st.sampled_from("xyz").map(lambda name: lambda world: world.processes.insert(0, world.process(name))),
    st.just(lambda world: world.processes and world.logs.loop.call_soon(world.processes.pop().logs.close)),
)


def anew(world: World) -> list[ProcessInfo]:
    """From nothing that is kept."""
    kept = [process.told for process in world.processes]
    for process in world.processes:
        process.told = None
    infos = [describe(known, world.moment) for known in world.facts()]
    for process, told in zip(world.processes, kept, strict=True):
        process.told = told
    return infos


def as_struct(info: ProcessInfo) -> Any:
    return xmlrpc.client.loads(wire.response({member: getattr(info, member) for member in MEMBERS}))[0][0]


@example([to_one(0, steps(Start(), Timeout()))])  # which no daemon does: RUNNING, and nobody there
@settings(deadline=None)
@given(st.lists(OPERATIONS, max_size=20))
def test_an_answer_is_the_same_as_one_made_anew(
    tmp_path_factory: pytest.TempPathFactory, does: list[Operation]
) -> None:
    async def story() -> None:
        logs = Logs(asyncio.get_running_loop(), childlogdir=str(place), identifier="test", nocleanup=True)
        world = World(logs, "ab")
        as_structs, as_objects = Kept(structs.lasting), Kept(shapes.lasting)
        for operation in (lambda _: None, *does):
            operation(world)
            at, infos = world.moment, anew(world)
            told = wire.response(structs.processes(await as_structs.of(world.facts()), at))
            assert xmlrpc.client.loads(told)[0][0] == list(map(as_struct, infos))
            assert told == wire.response(list(map(structs.process, infos)))
            listed = json.loads(b"".join(shapes.processes(await as_objects.of(world.facts()), at)))
            assert listed == json.loads(shapes.dumps({"processes": list(map(shapes.process, infos))}))
        for process in world.processes:
            process.logs.close()
        await logs.close()

    place = tmp_path_factory.mktemp("logs")
    run(story)


def test_only_what_has_changed_is_rendered() -> None:
    async def story() -> None:
        rendered = list[str]()

        def render(known: Facts) -> str:
            rendered.append(known.name)
            return f"{known.name} {known.reason}"

        kept = Kept(render)
        first = list(map(some, ["a", "b", "c"]))
        assert await kept.of(first) == ["a ", "b ", "c "]
        assert await kept.of(list(first)) == ["a ", "b ", "c "]
        assert await kept.of([first[0], first[1]._replace(reason="x"), first[2]]) == ["a ", "b x", "c "]
        assert rendered == ["a", "b", "c", "b"]
        assert await kept.of([]) == []

    run(story)


def test_others_have_their_turn_while_many_are_rendered() -> None:
    async def story() -> None:
        turns = list[int]()

        def render(known: Facts) -> str:
            turns.append(1)
            return known.name

        kept = Kept(render)
        asyncio.get_running_loop().call_soon(lambda: turns.append(0))
        names = [str(number) for number in range(2 * AT_ONCE)]
        assert await kept.of(list(map(some, names))) == names
        assert 0 in turns[:-1]

    run(story)


def some(name: str) -> Facts:
    """Facts about a process that has just been added."""
    config = ProgramConfig(name=name, program=name, group_name=name, command="true")
    fresh = Facts._make([None] * len(Facts._fields))
    return fresh._replace(config=config, reason="")
