"""Pools: what is sent to whom, in which order, and what is dropped."""

import dataclasses
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.core.events import DaemonState, RemoteCommunication, State, Timeout
from supervise.daemon import pools as module
from supervise.daemon.listeners import Listener
from supervise.daemon.memory import Memory
from supervise.daemon.pools import Pools
from supervise.daemon.supervisor import Supervisor
from supervise.system.handover import Handover
from supervise.system.journal import Journal
from tests.daemon.listening import begin, events, listener, listening, pool, types, wiring
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising


def remote(number: int) -> RemoteCommunication:
    return RemoteCommunication("test", str(number))


@asynccontextmanager
async def remembering(place: Path) -> AsyncIterator[tuple[Supervisor, Pools]]:
    """A supervisor with pools and a memory. Who closes the pools without forgetting has been killed."""
    async with supervising(place, memory=Memory(Journal(str(place / "state")), Handover())) as supervisor:
        yield supervisor, Pools(supervisor)


def numbers(place: Path, name: str = "l") -> list[int]:
    """The numbers of the `remote` events that a listener got."""
    return [int(payload.split("\n")[1]) for header, payload, _ in events(place, name) if payload.startswith("type:")]


def test_everything_that_happened_since_the_pool_was_added(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(
            tmp_path, pool(listener(tmp_path)), group(sh("p", "exit 3", startretries=0, startsecs=600))
        ) as supervisor:
            supervisor.enter(DaemonState.RUNNING)
            supervisor.bus.publish(RemoteCommunication("kind", "é\nx"))
            await reach(supervisor, "p", State.FATAL)
            await eventually(lambda: "PROCESS_STATE_FATAL" in types(tmp_path))
            got = events(tmp_path)
            assert [header["serial"] for header, _, _ in got] == [str(number) for number in range(len(got))]
            assert [header["poolserial"] for header, _, _ in got] == [header["serial"] for header, _, _ in got]
            assert {tuple(header[key] for key in ("ver", "server", "pool")) for header, _, _ in got} == {
                ("3.0", "test", "l")
            }
            assert [(header["eventname"], payload) for header, payload, _ in got][:2] == [
                ("PROCESS_GROUP_ADDED", "groupname:l\n"),
                ("PROCESS_GROUP_ADDED", "groupname:p\n"),
            ]
            assert ("REMOTE_COMMUNICATION", "type:kind\né\nx") in [(h["eventname"], p) for h, p, _ in got]
            assert ("SUPERVISOR_STATE_CHANGE_RUNNING", "") in [(h["eventname"], p) for h, p, _ in got]
            assert [
                payload
                for header, payload, _ in got
                if header["eventname"].startswith("PROCESS_STATE_") and "processname:p " in payload
            ] == [
                "processname:p groupname:p from_state:STOPPED tries:0",
                "processname:p groupname:p from_state:STARTING tries:1",
                "processname:p groupname:p from_state:BACKOFF",
            ]

    run(story)


def test_serials_count_what_somebody_has_asked_for(tmp_path: Path) -> None:
    async def story() -> None:
        remotes = pool(listener(tmp_path), events=("REMOTE_COMMUNICATION",))
        groups = pool(listener(tmp_path, group_name="g", name="g"), events=("PROCESS_GROUP",))
        async with listening(tmp_path, remotes, dataclasses.replace(groups, name="g"), start=False) as supervisor:
            supervisor.bus.publish(remote(0))
            supervisor.add_group(group(sh("p", "exit 0")))
            supervisor.bus.publish(remote(1))
            supervisor.autostart(supervisor.processes())
            await eventually(lambda: len(events(tmp_path)) == 2 and len(events(tmp_path, "g")) == 2)
            assert [(h["serial"], h["poolserial"], p) for h, p, _ in events(tmp_path)] == [
                ("1", "0", "type:test\n0"),
                ("3", "1", "type:test\n1"),
            ]
            assert [(h["serial"], h["poolserial"], p) for h, p, _ in events(tmp_path, "g")] == [
                ("0", "0", "groupname:g\n"),
                ("2", "1", "groupname:p\n"),
            ]

    run(story)


@pytest.mark.parametrize("forget", [False, True])
def test_serials_go_on_over_reloads_and_deaths(tmp_path: Path, forget: bool) -> None:
    """supervisord's reload, too, makes new pools, but goes on with the serials; only after a peaceful end they begin
    anew."""
    config = pool(listener(tmp_path), events=("REMOTE_COMMUNICATION",))

    async def first() -> None:
        async with remembering(tmp_path) as (supervisor, pools):
            supervisor.add_group(config)
            for number in range(3):
                supervisor.bus.publish(remote(number))
            supervisor.remove_group("l")
            supervisor.add_group(config)
            pools.close(forget=forget)

    async def second() -> None:
        async with remembering(tmp_path) as (supervisor, pools):
            supervisor.add_group(config)
            supervisor.bus.publish(remote(3))
            supervisor.autostart(supervisor.processes())
            await eventually(lambda: numbers(tmp_path) == [3])
            header = events(tmp_path)[0][0]
            assert (header["serial"], header["poolserial"]) == ("0" if forget else "3", "0")
            pools.close()
            assert not (tmp_path / "serial").exists()

    run(first)
    run(second)


def test_serials_without_room_to_remember_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        (tmp_path / "serial").mkdir()
        async with remembering(tmp_path) as (supervisor, pools):
            assert caplog.messages == [
                "the serials of events would begin anew after the death of this daemon: "
                f"[Errno 21] Is a directory: '{tmp_path}/serial'"
            ]
            supervisor.add_group(pool(listener(tmp_path), events=("REMOTE_COMMUNICATION",)))
            supervisor.bus.publish(remote(0))
            supervisor.autostart(supervisor.processes())
            await eventually(lambda: numbers(tmp_path) == [0])
            pools.close()

    run(story)


def test_members_share_what_waits(tmp_path: Path) -> None:
    """Each is busy with its next event until all have theirs."""

    async def story() -> None:
        together = """
open(f"{sys.argv[1]}-{n}", "w").close()
while sum(os.path.exists(f"{os.path.dirname(sys.argv[1])}/l{number}.events-{n}") for number in range(3)) < 3:
    time.sleep(0.005)
result()
"""
        members = [listener(tmp_path, together, name=f"l{number}") for number in range(3)]
        async with listening(tmp_path, pool(*members, events=("REMOTE_COMMUNICATION",))) as supervisor:
            for number in range(60):
                supervisor.bus.publish(remote(number))
            names = [member.name for member in members]
            await eventually(lambda: sum(len(events(tmp_path, name)) for name in names) == 60)
            got = {name: numbers(tmp_path, name) for name in names}
            assert sorted(number for each in got.values() for number in each) == list(range(60))
            assert all(len(each) == 20 and each == sorted(each) for each in got.values())

    run(story)


def test_only_running_listeners_are_sent_events(tmp_path: Path) -> None:
    async def story() -> None:
        slow = listener(tmp_path, startsecs=600)
        async with listening(tmp_path, pool(slow, events=("REMOTE_COMMUNICATION",))) as supervisor:
            supervisor.bus.publish(remote(0))
            await eventually(lambda: wiring(supervisor).state.name == "READY")
            assert process(supervisor, "l:l").state is State.STARTING
            assert numbers(tmp_path) == []
            supervisor.tell(process(supervisor, "l:l"), Timeout())  # as when they are over
            assert process(supervisor, "l:l").state is State.RUNNING
            await eventually(lambda: numbers(tmp_path) == [0])

    run(story)


def test_the_oldest_are_dropped_and_that_is_told_but_not_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        small = pool(listener(tmp_path), events=("REMOTE_COMMUNICATION",), buffer_size=3)
        async with listening(tmp_path, small, start=False) as supervisor:
            for number in range(100):
                supervisor.bus.publish(remote(number))
            assert caplog.record_tuples == [
                ("supervise", logging.ERROR, "pool l event buffer overflowed, discarding event 0")
            ]
            assert wiring(supervisor).pool.backlog.dropped == 97
            monkeypatch.setattr(module, "REPEAT", 0.0)
            supervisor.bus.publish(remote(100))
            assert caplog.messages[1:] == [
                "pool l event buffer overflowed, discarding event 97 (96 others were discarded before)"
            ]
            supervisor.autostart(supervisor.processes())
            await eventually(lambda: numbers(tmp_path) == [98, 99, 100])

    run(story)


def test_output_and_passages_are_events(tmp_path: Path) -> None:
    async def story() -> None:
        said = "one <!--XSUPERVISOR:BEGIN-->pass\\nage<!--XSUPERVISOR:END-->two\\n"
        script = f"printf '{said}'; printf err >&2; exec sleep 100"
        talker = sh("p", script, stdout_capture_maxbytes=100, stdout_events_enabled=True, stderr_events_enabled=True)
        wanted = pool(listener(tmp_path), events=("PROCESS_LOG", "PROCESS_COMMUNICATION"))
        async with listening(tmp_path, wanted, group(talker)) as supervisor:
            await eventually(lambda: len(events(tmp_path)) >= 4)
            pid = process(supervisor, "p").machine.pid
            assert sorted((header["eventname"], payload) for header, payload, _ in events(tmp_path)) == [
                ("PROCESS_COMMUNICATION_STDOUT", f"processname:p groupname:p pid:{pid}\npass\nage"),
                ("PROCESS_LOG_STDERR", f"processname:p groupname:p pid:{pid} channel:stderr\nerr"),
                ("PROCESS_LOG_STDOUT", f"processname:p groupname:p pid:{pid} channel:stdout\none "),
                ("PROCESS_LOG_STDOUT", f"processname:p groupname:p pid:{pid} channel:stdout\ntwo\n"),
            ]
            assert process(supervisor, "p").logs.stdout.tail_ring() == b"one two\n"

    run(story)


def test_the_last_output_comes_before_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        options: dict[str, Any] = {"stdout_capture_maxbytes": 10, "stdout_events_enabled": True, "startretries": 0}
        talker = sh("p", "printf 'x\\303'; exit 3", startsecs=600, **options)
        wanted = pool(listener(tmp_path), events=("PROCESS_LOG", "PROCESS_STATE_BACKOFF"))
        async with listening(tmp_path, wanted, group(talker)):
            await eventually(lambda: "PROCESS_STATE_BACKOFF" in types(tmp_path))
            assert [(header["eventname"], payload.rpartition("\n")[2]) for header, payload, _ in events(tmp_path)][
                :-1
            ] == [
                ("PROCESS_LOG_STDOUT", "x"),
                ("PROCESS_LOG_STDOUT", r"Undecodable: b'\xc3'"),
            ]

    run(story)


def test_the_clock_runs_only_for_those_who_ask(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path) as supervisor:
            pools = Pools(supervisor)
            supervisor.add_group(group(sh("p", "exit 0")))
            quiet = supervisor.add_group(pool(listener(tmp_path), events=("PROCESS_STATE",)))
            assert pools._ticks._timer is None
            quiet.config = dataclasses.replace(quiet.config, events=("TICK_60",))
            supervisor.regroup(quiet)
            assert pools._ticks._timer is not None
            assert list(pools._ticks._slices) == [60]
            supervisor.remove_group("l")
            assert pools._ticks._timer is None
            supervisor.add_group(pool(listener(tmp_path), events=("EVENT",)))
            assert list(pools._ticks._slices) == [5, 60, 3600]
            pools.close()
            assert pools._ticks._timer is None

    run(story)


def test_a_group_may_change(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path, pool(listener(tmp_path), events=("PROCESS_GROUP",))) as supervisor:
            members = supervisor.groups["l"]
            await eventually(lambda: types(tmp_path) == ["PROCESS_GROUP_ADDED"])
            members.config = dataclasses.replace(members.config, events=("REMOTE_COMMUNICATION",), buffer_size=2)
            supervisor.regroup(members)
            other = supervisor.add_process(members, listener(tmp_path, name="other"))
            assert isinstance(other.wiring, Listener)
            assert other.wiring.pool.backlog.max_events == 2
            supervisor.bus.publish(remote(0))
            await eventually(lambda: types(tmp_path)[1:] == ["REMOTE_COMMUNICATION"])
            await begin(supervisor, "l:other")
            await eventually(lambda: wiring(supervisor, "l:other").state.name == "READY")
            supervisor.bus.publish(remote(1))
            supervisor.bus.publish(remote(2))
            await eventually(lambda: numbers(tmp_path, "other") != [])

    run(story)


def test_listeners_of_an_earlier_daemon_are_restarted(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path, pool(listener(tmp_path), events=("SUPERVISOR_STATE_CHANGE",))) as supervisor:
            await eventually(lambda: wiring(supervisor).state.name == "READY")
            one, pid = process(supervisor, "l:l"), process(supervisor, "l:l").machine.pid
            wiring(supervisor).close()  # as when the daemon has died: its ends of the pipes are closed
            assert wiring(supervisor).cut_off
            supervisor.enter(DaemonState.RUNNING)
            await eventually(lambda: types(tmp_path) == ["SUPERVISOR_STATE_CHANGE_RUNNING"])
            assert one.machine.pid not in (None, pid)

    run(story)
