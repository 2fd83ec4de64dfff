"""Output on its way from the log thread to listeners."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from supervise.core.events import Communication, Output
from supervise.daemon import inlet as module
from supervise.daemon.inlet import Inlet
from supervise.daemon.transit import Transit
from tests.daemon.running import eventually, run

BOTH = frozenset({"PROCESS_LOG_STDOUT", "PROCESS_LOG_STDERR"})


def test_from_another_thread_in_order() -> None:
    async def story() -> None:
        seen: list[Output] = []
        inlet = Inlet(seen.append, lambda group, name: 9)
        inlet.wanted = BOTH

        def work() -> None:
            for number in range(1000):
                inlet.put_output("g:p", "stdout", 7, b"%d" % number)
            inlet.put_passage("single", "stderr", 8, b"passage")

        threading.Thread(target=work).start()
        await eventually(lambda: len(seen) == 1001)
        assert seen[:-1] == [Output("g", "p", 7, "stdout", b"%d" % number) for number in range(1000)]
        assert seen[-1] == Communication("single", "single", 8, "stderr", b"passage")

    run(story)


def test_what_nobody_wants_is_not_kept() -> None:
    async def story() -> None:
        seen: list[Output] = []
        inlet = Inlet(seen.append, lambda group, name: 9)
        inlet.wanted = frozenset({"PROCESS_LOG_STDERR"})
        inlet.put_output("p", "stdout", 7, b"x")
        inlet.put_output("p", "stderr", 7, b"y")
        inlet.flush()
        assert [output.data for output in seen] == [b"y"]

    run(story)


def test_characters_are_not_cut() -> None:
    async def story() -> None:
        seen: list[Output] = []
        inlet = Inlet(seen.append, lambda group, name: 9)
        inlet.wanted = BOTH
        text = "añ€😀\n".encode() * 3
        for place in range(len(text)):
            inlet.put_output("p", "stdout", 7, text[place : place + 1])
            inlet.put_output("p", "stderr", 7, b"!")
        inlet.flush()
        assert "".join(output.text for output in seen if output.channel == "stdout") == text.decode()
        assert not any("Undecodable" in output.text for output in seen)

    run(story)


def test_the_last_byte_is_told_at_the_end() -> None:
    async def story() -> None:
        seen: list[Output] = []
        inlet = Inlet(seen.append, lambda group, name: 9)
        inlet.wanted = BOTH
        inlet.put_output("p", "stdout", 7, b"a\xc3")
        inlet.end("p", "p")
        assert [output.text for output in seen] == ["a", r"Undecodable: b'\xc3'"]
        inlet.put_output("p", "stdout", 8, b"\xe2")
        inlet.put_output("p", "stdout", 9, b"\xac\x82")  # another run: these do not belong together
        inlet.flush()
        assert [(output.pid, output.data) for output in seen[2:]] == [(8, b"\xe2"), (9, b"\xac\x82")]

    run(story)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "LIMIT", 100)

    async def story() -> None:
        seen: list[Output] = []
        inlet = Inlet(seen.append, lambda group, name: 9)
        inlet.wanted = BOTH
        for _ in range(50):
            inlet.put_output("p", "stdout", 7, b"x" * 10)
        inlet.flush()
        assert len(seen) == 10
        assert inlet.lost == 400

    run(story)
    assert caplog.record_tuples == [
        ("supervise", logging.WARNING, "400 bytes of output were too much for event listeners")
    ]


def test_what_is_written_before_the_spawn_has_returned_gets_its_pid() -> None:
    async def story() -> None:
        seen: list[Output] = []
        inlet = Inlet(seen.append, lambda group, name: {("g", "p"): 7}[group, name])
        inlet.wanted = BOTH
        inlet.put_output("g:p", "stdout", 0, b"x")
        inlet.put_passage("g:p", "stdout", 0, b"y")
        inlet.flush()
        assert seen == [Output("g", "p", 7, "stdout", b"x"), Communication("g", "p", 7, "stdout", b"y")]

    run(story)


def test_what_was_on_its_way_at_our_death_comes_first_and_not_before_all_are_there(tmp_path: Path) -> None:
    async def story() -> None:
        dead = Transit(str(tmp_path))
        dead.add(Output("g", "p", 0, "stdout", b"one"))
        dead.close(remove=False)
        seen: list[Output] = []
        inlet = Inlet(seen.append, lambda group, name: 9, Transit(str(tmp_path)))
        inlet.wanted = frozenset({"PROCESS_LOG_STDOUT"})
        inlet.put_output("g:p", "stdout", 9, b"two")
        inlet.flush()
        assert seen == []
        inlet.begin()
        assert seen == [Output("g", "p", 9, "stdout", data) for data in (b"one", b"two")]
        inlet.put_output("g:p", "stdout", 9, b"three")
        inlet.close(forget=False)
        inlet.put_output("g:p", "stdout", 9, b"four")
        assert [each.data for each in Transit(str(tmp_path)).found] == [b"three"]

    asyncio.run(story())
