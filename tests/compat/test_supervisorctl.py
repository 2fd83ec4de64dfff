"""The real supervisorctl 4.3.0 drives both daemons through every command: same lines, same exit codes."""

import pytest

from tests.compat.pair import Pair
from tests.daemons import UNSTARTABLE, Daemon, Supervisors
from tests.tools import wait_for

pytestmark = pytest.mark.timeout(300)

PROGRAMS = f"""
[program:web]
command = sh -c 'echo hello; echo oops >&2; exec sleep 1000'
startsecs = 0

[program:cat]
command = cat
startsecs = 0

[program:pool]
command = sleep 1000
process_name = %(process_num)d
numprocs = 2
startsecs = 0

[program:off]
command = sleep 1000
autostart = false
startsecs = 0

{UNSTARTABLE}
"""

COMMANDS = """\
version
status
status web
status web cat nope
status pool:*
status pool:
status nope:*
status all
pid
pid web
pid all
pid nope
avail
start
start web
start off
start off
start nope
start nope:*
start bad
start plain
start quick
start pool:*
status quick
stop
stop off
stop off
stop nope
stop pool:*
stop pool:0
start pool:*
restart web
restart nope
restart off pool:1
signal
signal CONT
signal CONT web
signal NOPE web
signal CONT off pool:0
signal CONT nope
signal HUP pool:*
start pool:*
tail web
tail web stderr
tail -3 web
tail -3 web stderr
tail web nope
tail nope
tail -x web
tail
tail web stdout more
maintail -1 stdout
clear
clear nope
clear web
clear pool:*
clear web cat
tail web
reread
reread extra
add web
add nope
add
remove web
remove nope
stop cat
remove cat
status
add cat
update
update nope
update all
fg
fg nope
fg web cat
help
help start
help nope
open nonsense
nonsense
start "web
stop all
start all
"""


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    both = Pair(shared_supervisors, PROGRAMS)
    for daemon in (both.ours, both.theirs):
        wait_for(lambda daemon=daemon: daemon.rpc.supervisor.readProcessStderrLog("web", 0, 0), "web has written")
    return both


def lines(shown: str) -> list[str]:
    """Output as a set of lines: those of several processes come in the order in which they ended."""
    return sorted(line.rstrip() for line in shown.splitlines())


@pytest.mark.parametrize("command", COMMANDS.splitlines())
def test_command(pair: Pair, command: str) -> None:
    def run(daemon: Daemon) -> object:
        done = daemon.ctl(*command.split(" "), client="supervisord")
        pids = [line for line in lines(done.stdout) if not line.isdigit()]
        # of several problems the last one decides, and which is last is a matter of who fails first
        code = bool(done.returncode) if command.endswith(" all") else done.returncode
        return {"code": code, "stdout": pids, "stderr": lines(done.stderr)}

    pair.agree(run)


@pytest.mark.parametrize("typed", ["hello\n", "status\nexit\n", "help\nversion\nquit\n", "stop off\n\nstatus off\n"])
def test_interactive(pair: Pair, typed: str) -> None:
    pair.agree(lambda daemon: talk(daemon, typed))


def talk(daemon: Daemon, typed: str, *words: str) -> object:
    done = daemon.ctl(*words, client="supervisord", stdin=typed)
    return {"code": done.returncode, "stdout": lines(done.stdout)}


def test_a_changed_configuration(pair: Pair) -> None:
    """reread, avail and update of a program that was added, changed and taken away."""

    def say(*commands: str) -> None:
        for command in commands:
            pair.agree(lambda daemon, command=command: talk(daemon, "", *command.split()))

    pair.configure(PROGRAMS.replace("[program:off]", "[program:new]").replace("command = cat", "command = cat -u"))
    say("reread", "avail", "update", "status new cat", "reread")
    pair.configure(PROGRAMS)
    say("reread", "update", "avail")
    for path in ("{place}/cat.log", "NONE", "AUTO"):  # instead of the AUTO it runs with
        pair.configure(PROGRAMS.replace("command = cat", f"command = cat\nstdout_logfile = {path}"))
        say("reread")
    pair.configure(PROGRAMS)


def test_a_broken_configuration(pair: Pair) -> None:
    pair.configure(PROGRAMS + "[program:x]\n")
    ours, theirs = (daemon.ctl("reread", client="supervisord") for daemon in (pair.ours, pair.theirs))
    pair.configure(PROGRAMS)
    assert ours.returncode == theirs.returncode == 1
    assert ours.stdout.startswith("ERROR: CANT_REREAD: ")
    assert theirs.stdout.startswith("ERROR: CANT_REREAD: ")


def test_reload_and_shutdown(supervisors: Supervisors) -> None:
    both = Pair(supervisors, "[program:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    both.agree(lambda daemon: talk(daemon, "", "reload"))
    for daemon in (both.ours, both.theirs):
        wait_for(lambda daemon=daemon: daemon.log.count("spawned: 'web'") == 2, "web runs again")
        daemon.wait_state("web", "RUNNING")
    both.agree(lambda daemon: talk(daemon, "", "shutdown"))
    both.agree(lambda daemon: daemon.process.wait(60))
    both.agree(lambda daemon: talk(daemon, "", "status"))
    both.agree(lambda daemon: talk(daemon, "", "shutdown"))
