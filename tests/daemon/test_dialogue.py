"""Talking to listeners, good and bad: what is answered, what is given back, and who is restarted."""

import logging
import os
import sys
from pathlib import Path

import pytest

from supervise.config.model import AutoRestart, EventLength, OnProtocolError
from supervise.core.events import RemoteCommunication, State
from supervise.daemon import dialogue as module
from supervise.daemon.supervisor import Supervisor
from supervise.system.blocked import waits_for_stdin
from supervise.system.pipes import pending
from tests.daemon.listening import events, listener, listening, pool, types, wiring
from tests.daemon.running import eventually, process, reach, run
from tests.tools import wait_for

REMOTE = {"events": ("REMOTE_COMMUNICATION",)}
UNKNOWN_TEXT = (
    "l: has entered the UNKNOWN state and will no longer receive events, this usually indicates the process violated"
    " the eventlistener protocol"
)


def publish(supervisor: Supervisor, *data: str) -> None:
    for each in data:
        supervisor.bus.publish(RemoteCommunication("t", each))


def got(place: Path, name: str = "l") -> list[str]:
    """The data of the events that a listener was sent."""
    return [payload.partition("\n")[2] for _, payload, _ in events(place, name)]


def runs(place: Path) -> int:
    """How many processes have written events down."""
    return len({pid for _, _, pid in events(place)})


def test_a_rejected_event_comes_again_at_once_and_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "supervise")

    async def story() -> None:
        picky = listener(tmp_path, "result('FAIL' if n <= 2 else 'OK')")
        async with listening(tmp_path, pool(picky, **REMOTE)) as supervisor:
            publish(supervisor, "a", "b")
            await eventually(lambda: len(got(tmp_path)) == 4)
            assert got(tmp_path) == ["a", "a", "a", "b"]
            assert runs(tmp_path) == 1
            headers = [header for header, _, _ in events(tmp_path)]
            assert [header["serial"] for header in headers] == ["0", "0", "0", "1"]
            await eventually(lambda: wiring(supervisor).state.name == "READY")

    run(story)
    assert caplog.messages.count("l: event was rejected") == 2
    assert caplog.messages.count("l: event was processed") == 2


def test_an_event_is_given_back_when_its_listener_dies(tmp_path: Path) -> None:
    async def story() -> None:
        mortal = listener(tmp_path, "result() if n == 2 else os._exit(1)", autorestart=AutoRestart.ALWAYS)
        async with listening(tmp_path, pool(mortal, **REMOTE)) as supervisor:
            publish(supervisor, "a", "b")
            await eventually(lambda: len(got(tmp_path)) >= 4)
            assert set(got(tmp_path)) == {"a"}  # it dies of it every time, and nothing is lost
            assert runs(tmp_path) >= 4
            assert len(wiring(supervisor).pool.backlog) in (1, 2)

    run(story)


def test_the_last_words_of_a_listener_count(tmp_path: Path) -> None:
    async def story() -> None:
        once = listener(tmp_path, "result(); os._exit(0)", autorestart=AutoRestart.ALWAYS)
        async with listening(tmp_path, pool(once, **REMOTE)) as supervisor:
            publish(supervisor, "a", "b", "c")
            await eventually(lambda: len(got(tmp_path)) == 3)
            assert got(tmp_path) == ["a", "b", "c"]

    run(story)


NONSENSE = {
    "a bad result": "say('RESULT two\\nOK')",
    "no result": "say('hello\\n')",
    "something after the result": "result(); say('what?')",
    "something while it is ready": "result(); say('READY\\n'); say('READY\\n')",
    "a huge result": "say('RESULT 999999999\\n'); say('x' * 10000)",
    "megabytes": "say('x' * 20_000_000)",
    "binary": "say(bytes(range(256)))",
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_listener_that_breaks_the_protocol_is_restarted(
    tmp_path: Path, nonsense: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        act = f"if first:\n    {NONSENSE[nonsense]}\n    time.sleep(60)\nelse:\n    result()"
        async with listening(tmp_path, pool(listener(tmp_path, act), **REMOTE)) as supervisor:
            publish(supervisor, "a", "b")
            one = process(supervisor, "l:l")
            await eventually(lambda: got(tmp_path)[-1:] == ["b"])
            assert one.restarts >= 1
            assert not one.exits[0].expected
            await eventually(lambda: wiring(supervisor).state.name == "READY")
            assert one.state is State.RUNNING

    run(story)
    assert UNKNOWN_TEXT in caplog.messages
    if nonsense == "a bad result":
        assert "l: bad result line: 'RESULT two'" in caplog.messages


def test_a_listener_that_is_not_to_be_restarted_stays_down(tmp_path: Path) -> None:
    async def story() -> None:
        bad = listener(tmp_path, "say('nonsense\\n'); time.sleep(60)", autorestart=AutoRestart.NEVER)
        async with listening(tmp_path, pool(bad, **REMOTE)) as supervisor:
            publish(supervisor, "a")
            await reach(supervisor, "l:l", State.EXITED)
            assert process(supervisor, "l:l").machine.reason.startswith(
                "it broke the event listener protocol: it wrote"
            )
            assert len(wiring(supervisor).pool.backlog) == 1

    run(story)


def test_a_listener_that_never_says_ready_properly_ends_in_fatal(tmp_path: Path) -> None:
    async def story() -> None:
        bad = listener(tmp_path, startsecs=30, startretries=0, command="/bin/sh -c 'echo hello; exec sleep 60'")
        async with listening(tmp_path, pool(bad, **REMOTE)) as supervisor:
            await reach(supervisor, "l:l", State.FATAL)
            assert "where READY was expected" in process(supervisor, "l:l").machine.reason

    run(story)


def test_supervisords_way_with_a_bad_listener(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        bad = listener(tmp_path, "say('nonsense\\n'); say('READY\\n' * 1000); time.sleep(60)")
        settings = pool(bad, on_protocol_error=OnProtocolError.UNKNOWN, **REMOTE)
        async with listening(tmp_path, settings) as supervisor:
            publish(supervisor, "a", "b")
            await eventually(lambda: wiring(supervisor).state.name == "UNKNOWN")
            await eventually(lambda: process(supervisor, "l:l").logs.stdout.tail_ring().count(b"READY") > 300)
            assert process(supervisor, "l:l").state is State.RUNNING
            assert len(wiring(supervisor).pool.backlog) == 2
            assert got(tmp_path) == ["a"]
            await supervisor.stop([process(supervisor, "l:l")])
            assert wiring(supervisor).state.name == "ACKNOWLEDGED"

    run(story)
    assert caplog.messages.count(UNKNOWN_TEXT) == 1


def test_a_listener_that_does_not_read_holds_up_nobody_else(tmp_path: Path) -> None:
    async def story() -> None:
        sleeper = listener(tmp_path, name="a", command="/bin/sh -c 'echo READY; exec sleep 1000'")
        other = listener(tmp_path, name="b")
        async with listening(tmp_path, pool(sleeper, other, **REMOTE), start=False) as supervisor:
            supervisor.autostart([process(supervisor, "l:a")])
            await eventually(lambda: wiring(supervisor, "l:a").state.name == "READY")
            publish(supervisor, "x" * 1_000_000)  # does not fit into a pipe
            await eventually(lambda: wiring(supervisor, "l:a").state.name == "BUSY")
            supervisor.autostart([process(supervisor, "l:b")])
            publish(supervisor, *map(str, range(50)))
            await eventually(lambda: got(tmp_path, "b") == [str(number) for number in range(50)])
            item = wiring(supervisor, "l:a").item
            assert item is not None
            assert item.event.serial == 0
            await supervisor.stop([process(supervisor, "l:a")])
            await eventually(lambda: len(got(tmp_path, "b")) == 51)  # what the sleeper had is the other's now

    run(story)


def test_a_large_event_to_a_slow_reader_arrives_whole(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path, pool(listener(tmp_path), **REMOTE)) as supervisor:
            data = "é" * 500_000
            publish(supervisor, data, "b")
            await eventually(lambda: len(got(tmp_path)) == 2)
            assert got(tmp_path) == [data, "b"]
            header = events(tmp_path)[0][0]
            assert header["len"] == str(len(b"type:t\n") + 1_000_000)

    run(story)


# Answers its first event when it has read the header, and reads the rest when there is a file that says so.
HASTY = """\
import json, os, sys, time
stdin, first = sys.stdin.buffer, True
def say(text):
    os.write(1, text.encode())
say("READY\\n")
while True:
    header = dict(word.split(":", 1) for word in stdin.readline().decode().split())
    if first:
        say("RESULT 2\\nOKREADY\\n")
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
    payload = stdin.read(int(header["len"]))
    with open(sys.argv[1], "a") as out:
        out.write(json.dumps([header, payload.decode(), os.getpid()]) + "\\n")
    if not first:
        say("RESULT 2\\nOKREADY\\n")
    first = False
"""


def test_a_listener_that_answers_before_it_has_read_all_is_sent_the_rest_first(tmp_path: Path) -> None:
    (tmp_path / "hasty.py").write_text(HASTY)

    async def story() -> None:
        hasty = listener(tmp_path, command=f"{sys.executable} {tmp_path}/hasty.py {tmp_path}/l.events {tmp_path}/go")
        async with listening(tmp_path, pool(hasty, **REMOTE)) as supervisor:
            large = "x" * 1_000_000  # does not fit into a pipe
            publish(supervisor, large, "a", "b")
            await eventually(lambda: wiring(supervisor).state.name == "READY" and wiring(supervisor).item is None)
            await eventually(lambda: len(wiring(supervisor).pool.backlog) == 2)
            assert not wiring(supervisor).available
            (tmp_path / "go").touch()
            await eventually(lambda: len(got(tmp_path)) == 3)
            assert got(tmp_path) == [large, "a", "b"]
            assert runs(tmp_path) == 1

    run(story)


def test_its_words_are_in_its_logs_and_its_errors_too(tmp_path: Path) -> None:
    async def story() -> None:
        logs = {"stdout_logfile": str(tmp_path / "out"), "stderr_logfile": str(tmp_path / "err")}
        talker = listener(tmp_path, "result(); sys.stderr.write('thanks'); sys.stderr.flush()", **logs)
        async with listening(tmp_path, pool(talker, **REMOTE)) as supervisor:
            publish(supervisor, "a")
            await eventually(lambda: (tmp_path / "err").exists() and (tmp_path / "err").read_text() == "thanks")
            await eventually(lambda: (tmp_path / "out").read_text() == "READY\nRESULT 2\nOKREADY\n")
            assert wiring(supervisor).state.name == "READY"

    run(story)


def test_we_are_its_parent(tmp_path: Path) -> None:
    async def story() -> None:
        asking = listener(tmp_path, "result(); os.write(2, b'%d' % os.getppid())", autorestart=AutoRestart.NEVER)
        async with listening(tmp_path, pool(asking, **REMOTE)) as supervisor:
            one = process(supervisor, "l:l")
            publish(supervisor, "a")
            stderr = one.logs.stderr
            assert stderr is not None
            await eventually(lambda: stderr.tail_ring() == b"%d" % os.getpid())

    run(story)


@pytest.mark.parametrize(
    "closed, reason", [(0, "it does not read its stdin any more"), (1, "it has closed its stdout")]
)
def test_a_listener_that_closes_a_pipe_is_restarted(
    tmp_path: Path, closed: int, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.1)

    async def story() -> None:
        close = "os.close(0); say('READY\\n')" if closed == 0 else "say('READY\\n'); os.close(1)"
        act = f"if first:\n    result(); {close}\n    time.sleep(60)\nelse:\n    result()"
        async with listening(tmp_path, pool(listener(tmp_path, act), **REMOTE)) as supervisor:
            publish(supervisor, "a")
            await eventually(lambda: got(tmp_path) == ["a"])
            await eventually(lambda: wiring(supervisor).state.name in ("READY", "UNKNOWN"))
            publish(supervisor, "b", "c")
            await eventually(lambda: got(tmp_path)[-1] == "c")
            assert runs(tmp_path) >= 2

    run(story)
    assert any(reason in message for message in caplog.messages)


def test_a_slow_handler_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_handler.py").write_text("import time\ndef handle(event, result):\n    time.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def story() -> None:
        settings = pool(listener(tmp_path, "result('any')"), result_handler="slow_handler:handle", **REMOTE)
        async with listening(tmp_path, settings) as supervisor:
            publish(supervisor, "a", "b")
            await eventually(lambda: got(tmp_path) == ["a"])
            publish(supervisor, "c")  # the loop is free all the time
            await eventually(lambda: got(tmp_path) == ["a", "b", "c"])

    run(story)


@pytest.mark.parametrize("way", OnProtocolError)
def test_a_handler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: OnProtocolError) -> None:
    name = f"failing_handler_{way.value}"
    (tmp_path / f"{name}.py").write_text(
        "n = 0\ndef handle(event, result):\n    global n\n    n += 1\n    if n < 3: raise OSError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    async def story() -> None:
        settings = pool(listener(tmp_path), result_handler=f"{name}:handle", on_protocol_error=way, **REMOTE)
        async with listening(tmp_path, settings) as supervisor:
            publish(supervisor, "a")
            if way is OnProtocolError.UNKNOWN:
                await eventually(lambda: wiring(supervisor).state.name == "UNKNOWN")
                assert len(wiring(supervisor).pool.backlog) == 1
            else:
                await eventually(lambda: got(tmp_path) == ["a", "a", "a"])
                await eventually(lambda: wiring(supervisor).state.name == "READY")
                assert runs(tmp_path) == 1

    run(story)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    async def story() -> None:
        brief = listener(tmp_path, command="/bin/true", autorestart=AutoRestart.NEVER)
        missing = listener(tmp_path, name="missing", command="/no/such", startretries=0)
        async with listening(tmp_path, pool(brief, missing, **REMOTE), start=False) as supervisor:
            for number in range(20):
                supervisor.autostart(supervisor.processes())
                await reach(supervisor, "l:l", State.EXITED)
                await reach(supervisor, "l:missing", State.FATAL)
                await eventually(lambda: all(pipe.fd < 0 for pipe in process(supervisor, "l:l").logs._current))
                if number == 4:
                    before = len(os.listdir("/proc/self/fd"))
            await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
            assert types(tmp_path) == []

    run(story)


# Reads text, as childutils does, and so takes `len` for a number of characters.
TEXT = """\
import json, os, sys
while True:
    sys.stdout.write("READY\\n")
    sys.stdout.flush()
    line = sys.stdin.readline()
    header = dict(word.split(":") for word in line.split())
    payload = sys.stdin.read(int(header["len"]))
    with open(sys.argv[1], "a") as out:
        out.write(json.dumps([header, payload, os.getpid()]) + "\\n")
    sys.stdout.write("RESULT 2\\nOK")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("length", EventLength)
def test_listeners_that_read_text(tmp_path: Path, length: EventLength, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "supervise")
    (tmp_path / "text.py").write_text(TEXT)

    async def story() -> None:
        command = f"{sys.executable} -X utf8 {tmp_path}/text.py {tmp_path}/l.events"
        reader = listener(tmp_path, command=command)
        async with listening(tmp_path, pool(reader, event_length=length, **REMOTE)) as supervisor:
            publish(supervisor, "plain", "héllo wörld", "naïve", "plain")
            if length is EventLength.BYTES:  # it hangs, as the manual's listeners do under supervisord 4
                await eventually(lambda: len(got(tmp_path)) == 1 and wiring(supervisor).state.name == "BUSY")
            else:
                await eventually(lambda: len(got(tmp_path)) == 4)
                assert [data.rstrip("\n") for data in got(tmp_path)] == ["plain", "héllo wörld", "naïve", "plain"]
                assert got(tmp_path)[2:] == ["naïve", "plain"]  # from the second on, to the character
                assert runs(tmp_path) == 1

    run(story)
    assert any("reads events as text" in message for message in caplog.messages) == (length is EventLength.AUTO)


def test_a_listener_that_reads_text_behind_a_shell(tmp_path: Path) -> None:
    (tmp_path / "text.py").write_text(TEXT)

    async def story() -> None:
        command = f"sh -c '{sys.executable} -X utf8 {tmp_path}/text.py {tmp_path}/l.events; exit 0'"
        async with listening(tmp_path, pool(listener(tmp_path, command=command), **REMOTE)) as supervisor:
            publish(supervisor, "héllo", "naïve", "plain")
            await eventually(lambda: len(got(tmp_path)) == 3)
            assert [data.rstrip("\n") for data in got(tmp_path)] == ["héllo", "naïve", "plain"]
            assert got(tmp_path)[1:] == ["naïve", "plain"]

    run(story)


def test_a_listener_that_has_just_answered_does_not_wait_for_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path, pool(listener(tmp_path), **REMOTE)) as supervisor:
            await eventually(lambda: wiring(supervisor).state.name == "READY")
            one, pid = wiring(supervisor), process(supervisor, "l:l").machine.pid
            publish(supervisor, "héllo")
            wait_for(lambda: got(tmp_path) == ["héllo"])  # the loop does nothing meanwhile
            wait_for(lambda: pid is not None and waits_for_stdin(pid))
            assert one._run is not None
            assert one.item is not None
            one._run._suspect(one.item, 0.25)
            publish(supervisor, "wörld")
            await eventually(lambda: got(tmp_path) == ["héllo", "wörld"])
            assert not one.characters

    run(story)


def test_an_event_that_is_being_written_is_not_added_to(tmp_path: Path) -> None:
    async def story() -> None:
        async with listening(tmp_path, pool(listener(tmp_path), **REMOTE)) as supervisor:
            await eventually(lambda: wiring(supervisor).state.name == "READY")
            one, pid = wiring(supervisor), process(supervisor, "l:l").machine.pid
            publish(supervisor, data := "é" * 500_000)
            assert one._run is not None
            assert one.item is not None
            stdin = one._run._stdin
            wait_for(lambda: pid is not None and pending(stdin) == 0 and waits_for_stdin(pid))  # the loop stands still
            one._run._suspect(one.item, 0.25)  # as after its first sending, if it has been rejected
            publish(supervisor, "b")
            await eventually(lambda: len(got(tmp_path)) == 2)
            assert got(tmp_path) == [data, "b"]

    run(story)


# It has got all, and reads on. It is no Python program, so nobody knows why.
GREEDY = "sh -c 'echo READY; cat > {}'"


def test_a_listener_that_waits_for_more_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SUSPICION", (0.1, 0.2))

    async def story() -> None:
        greedy = listener(tmp_path, command=GREEDY.format(tmp_path / "got"))
        async with listening(tmp_path, pool(greedy, **REMOTE)) as supervisor:
            publish(supervisor, "héllo")
            await eventually(lambda: any("event 0, and seems to wait for more" in each for each in caplog.messages))
            assert (tmp_path / "got").read_text().endswith("héllo")

    run(story)


def test_a_listener_that_reads_bytes_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        slow = listener(tmp_path, "time.sleep(0.6); result()")
        async with listening(tmp_path, pool(slow, **REMOTE)) as supervisor:
            publish(supervisor, "héllo", "wörld")
            await eventually(lambda: got(tmp_path) == ["héllo", "wörld"])
            await eventually(lambda: wiring(supervisor).state.name == "READY")
            assert not wiring(supervisor).characters

    run(story)
