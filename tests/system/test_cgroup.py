"""Control groups for process trees."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervise.system.cgroup import LONGEST, Cgroups, name_of
from tests.tools import alive, need_cgroup, need_root, wait_for


@pytest.fixture
def groups() -> Iterator[Cgroups]:
    need_cgroup()
    made = Cgroups(f"supervise-test{os.getpid()}-")
    yield made
    place = need_cgroup()

    def clean() -> bool:
        made.clean()
        return not list(place.glob(f"supervise-test{os.getpid()}-*"))

    wait_for(clean, "a group is empty soon after its processes were waited for")


@contextmanager
def born_in(groups: Cgroups, name: str, *command: str) -> Iterator[int]:
    with groups.within(name) as cgroup:
        assert cgroup is not None
        child = subprocess.Popen(command or ("sleep", "1000"))
    try:
        yield child.pid
    finally:
        cgroup.kill()
        child.kill()
        child.wait()


def test_a_child_is_born_there_and_we_are_back(groups: Cgroups) -> None:
    home = name_of(os.getpid())
    with born_in(groups, "web") as pid:
        assert name_of(os.getpid()) == home
        cgroup = groups.find("web")
        assert cgroup is not None
        assert cgroup.name == name_of(pid) == f"{home}/{groups.called('web')}"
        assert cgroup.pids() == [pid]
        assert cgroup.has(pid)
        assert not cgroup.has(os.getpid())
        assert groups.find("other") is None
        cgroup.remove()
        assert cgroup.pids() == [pid], "what is in use stays"


def test_nothing_leaves_it_and_all_of_it_is_killed(groups: Cgroups, tmp_path: Path) -> None:
    script = "setsid sh -c 'setsid sleep 1001 & echo $! > pid; sleep 1000' & sleep 1000"
    with born_in(groups, "p", "sh", "-c", f"cd {tmp_path}; {script}"):
        pid = int(wait_for((tmp_path / "pid").read_text))
        cgroup = groups.find("p")
        assert cgroup is not None
        assert pid in cgroup.pids()
        cgroup.kill()
        wait_for(lambda: not cgroup.pids())
        wait_for(lambda: not alive(pid), "it has left the group, and ends")


def test_groups_that_a_program_makes_below_are_part_of_it(groups: Cgroups) -> None:
    with born_in(groups, "p") as pid:
        cgroup = groups.find("p")
        assert cgroup is not None
        below = Path(cgroup.path, "its-own")
        below.mkdir()
        (below / "cgroup.procs").write_text(str(pid))
        assert cgroup.pids() == [pid]
        assert cgroup.has(pid)
        assert groups.around(pid, "p") == cgroup

    def removed() -> bool:
        cgroup.remove()
        return groups.find("p") is None

    wait_for(removed)


def test_we_are_never_killed_ourselves(groups: Cgroups) -> None:
    with groups.within("p") as cgroup:
        assert cgroup is not None
        assert cgroup.pids() == []
        cgroup.kill()
    inside = (
        "from supervise.system.cgroup import Cgroups; import os; "
        f"groups = Cgroups({groups.called('')!r}); print(groups.find('p'), groups.around(os.getpid(), 'p'))"
    )
    with groups.within("p"):
        child = subprocess.Popen([sys.executable, "-c", inside], stdout=subprocess.PIPE, text=True)
    assert child.communicate()[0].split() == ["None", "None"], "a program of ours has started us: its group is ours"


def test_a_group_that_another_daemon_made_elsewhere_is_found(groups: Cgroups) -> None:
    with groups.within("elsewhere") as elsewhere:
        assert elsewhere is not None
    other = f"{elsewhere.path}/{groups.called('p')}"
    os.mkdir(other)
    with subprocess.Popen(["sleep", "1000"]) as child:
        Path(other, "cgroup.procs").write_text(str(child.pid))
        found = groups.around(child.pid, "p")
        assert found is not None
        assert found.path == other
        assert groups.around(child.pid, "q") is None
        assert groups.around(os.getpid(), "p") is None
        found.kill()
        assert child.wait(30) == -signal.SIGKILL
    wait_for(lambda: not found.pids())

    def removed() -> bool:
        elsewhere.remove()
        return not os.path.exists(elsewhere.path)

    wait_for(removed)


def test_somebody_moves_us(groups: Cgroups) -> None:
    with groups.within("before") as before:
        assert before is not None
    home = need_cgroup()
    elsewhere = home / groups.called("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "cgroup.procs").write_text("0")
    try:
        with groups.within("p") as cgroup:
            assert cgroup is not None
            assert Path(cgroup.path).parent == elsewhere
        assert name_of(os.getpid()) == f"{before.name.rpartition('/')[0]}/{elsewhere.name}"
    finally:
        (home / "cgroup.procs").write_text("0")
    cgroup.remove()
    before.remove()
    elsewhere.rmdir()


@pytest.mark.parametrize("name", ["a/b", "..", "größe\n\u202e", "cgroup.procs", "x" * 5000, "a b:c"])
def test_any_name_is_one_directory(groups: Cgroups, name: str) -> None:
    called = groups.called(name)
    assert "/" not in called
    assert len(called) <= LONGEST
    with born_in(groups, name) as pid:
        assert (name_of(pid) or "").endswith(f"/{called}")
        found = groups.around(pid, name)
        assert found is not None
        assert found == groups.find(name)


def test_who_is_frozen_is_not_visited(groups: Cgroups) -> None:
    with groups.within("p") as cgroup:
        assert cgroup is not None
    path = Path(cgroup.path)
    (path / "cgroup.freeze").write_text("1")
    with groups.within("p") as cgroup:
        assert cgroup is None
    assert "is frozen" in groups.problem
    (path / "cgroup.freeze").write_text("0")


@pytest.mark.parametrize(
    ("world", "why"),
    [
        ("umount -R /sys/fs/cgroup", "cgroup version 2 is not mounted"),
        ("mount -t tmpfs none /sys/fs/cgroup", "not ours to write"),
        ("mkdir -p /run/systemd/system", "systemd has not delegated"),
    ],
)
def test_where_none_can_be_made_it_says_why(groups: Cgroups, world: str, why: str) -> None:
    need_root("CAP_SYS_ADMIN")
    script = (
        "from supervise.system.cgroup import Cgroups; groups = Cgroups('supervise-x-'); "
        "print(groups.within('p').__enter__(), groups.find('p'), groups.problem)"
    )
    command = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none /run; {world}; exec {sys.executable} -c "{script}"']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("None None "), done
    assert why in done.stdout


def test_who_is_gone_is_in_no_group() -> None:
    with subprocess.Popen(["true"]) as child:
        pass
    assert name_of(child.pid) is None
