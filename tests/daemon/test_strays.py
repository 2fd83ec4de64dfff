"""What a daemon says of programs that another one has left, which it does not take up."""

import os
import signal
import time

import pytest

from tests.daemons import Supervisors, sleepers
from tests.tools import alive, need_root, wait_for

IDLE = sleepers("idle") + 'environment = PLACE="{place}"\n'  # daemons of other tests have other ones
PROGRAMS = IDLE + sleepers("edited")


@pytest.mark.parametrize("living", [False, True])
def test_of_another_pidfile(supervisors: Supervisors, living: bool) -> None:
    """It was edited; or there are two daemons on purpose, and both live."""
    first = supervisors.start("supervise", PROGRAMS)
    pids = {name: first.wait_state(name, "RUNNING")["pid"] for name in ("idle", "edited")}
    if not living:
        first.stop(signal.SIGKILL)
    other = first.place / "other.conf"
    (first.place / "conf").mkdir()
    text = first.config.read_text().replace("main.pid", "conf/supervise.pid").replace("/s.sock", "/t.sock")
    other.write_text(
        text.replace("/main.log", "/other.log").replace("[program:edited]", "[program:edited]\numask = 077")
    )
    second = supervisors.run("supervise", other, first.place, answers=False)
    wait_for(lambda: "spawned: 'idle'" in second.read("other.log"))

    def said() -> list[str]:
        return [line for line in second.read("other.log").splitlines() if "left running by a daemon" in line]

    if living:
        wait_for(lambda: "idle entered RUNNING state" in second.read("other.log"))
        time.sleep(0.5)  # it is said when the daemon serves
        assert said() == []
    else:
        wait_for(said)
        [line] = said()
        assert f" CRIT idle (pid {pids['idle']}): left running by a daemon of user {os.geteuid()} that has died" in line
        assert f"with -j {first.place}/main.pid takes them up" in line
        assert "edited" not in line, "that is another program by now"


def test_of_another_user(supervisors: Supervisors) -> None:
    need_root()
    first = supervisors.start("supervise", IDLE)
    pid = first.wait_state("idle", "RUNNING")["pid"]
    first.stop(signal.SIGKILL)
    first.place.chmod(0o777)
    for name in ("main.log", "main.pid", "s.sock"):
        (first.place / name).unlink()
    first.configure(IDLE, "user = nobody")
    second = supervisors.run("supervise", first.config, first.place)
    assert f" CRIT idle (pid {pid}): left running by a daemon of user 0 that has died" in second.log
    assert alive(pid)
