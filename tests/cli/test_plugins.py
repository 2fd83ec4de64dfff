"""Plugins of supervisectl, against a running daemon."""

import textwrap
from pathlib import Path

import pytest

from tests.daemons import Daemon, Supervisors

PLUGIN = '''
class Plugin:
    def __init__(self, controller, greeting="hello"):
        self.ctl, self.greeting = controller, greeting

    def do_greet(self, words):
        """Greet every process."""
        for process in self.ctl.client.processes():
            self.ctl.output(f"{self.greeting} {process['namespec']} {words}")

    def do_oldstyle(self, words):
        if self.ctl.upcheck():
            self.ctl.output(self.ctl.get_supervisor().getProcessInfo("cat")["statename"])
            self.ctl.output(self.ctl.get_server_proxy().system.methodSignature("supervisor.getPID"))
            self.ctl.exitstatus = 5

    def help_oldstyle(self):
        self.ctl.output("oldstyle: as for supervisorctl")

    def do_broken(self, words):
        raise ZeroDivisionError(words)

    def do_internals(self, words):
        self.ctl.options.usage()

    def do_status(self, words):
        self.ctl.output("ours comes first")

def factory(controller, **options):
    return Plugin(controller, **options)

def unmade(controller, **options):
    raise RuntimeError("not today")
'''


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    place = shared_supervisors.place()
    (place / "greeter.py").write_text(textwrap.dedent(PLUGIN))
    text = """
        [program:cat]
        command = cat
        startsecs = 0
        [ctlplugin:greeter]
        supervisor.ctl_factory = greeter:factory
        greeting = good %(ENV_DAYTIME)s
    """
    env = {"PYTHONPATH": f"{place}:{Path(__file__).parents[2]}", "DAYTIME": "day"}
    daemon = shared_supervisors.start("supervise", text, place=place, env=env)
    daemon.wait_state("cat", "RUNNING")
    return daemon


def ctl(daemon: Daemon, *words: str) -> tuple[int, str]:
    done = daemon.ctl(*words)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_an_action_of_a_plugin(daemon: Daemon) -> None:
    assert ctl(daemon, "greet", "a", "-b", "--help") == (0, "good day cat a -b --help\n")
    assert ctl(daemon, "help", "greet") == (0, "Greet every process.\n")


def test_in_the_shell(daemon: Daemon) -> None:
    done = daemon.ctl("-i", stdin="greet you\nquit\n")
    assert "good day cat you" in done.stdout


def test_a_plugin_of_supervisorctls_kind(daemon: Daemon) -> None:
    assert ctl(daemon, "oldstyle") == (5, "RUNNING\n['int']\n")
    assert ctl(daemon, "help", "oldstyle") == (0, "oldstyle: as for supervisorctl\n")


def test_our_own_actions_come_first(daemon: Daemon) -> None:
    assert "RUNNING" in ctl(daemon, "status")[1]
    assert "start NAME" in ctl(daemon, "help", "start")[1]


def test_what_nobody_has(daemon: Daemon) -> None:
    assert ctl(daemon, "nothing")[1] == "*** Unknown syntax: nothing\n"
    assert ctl(daemon, "help", "nothing")[1] == daemon.ctl("help", "nothing").stdout


def test_failures_are_one_line(daemon: Daemon) -> None:
    code, said = ctl(daemon, "broken", "pieces")
    assert (code, said) == (1, "error: the plugin [ctlplugin:greeter] failed: ZeroDivisionError('pieces')\n")
    code, said = ctl(daemon, "internals")
    assert (code, said.count("\n")) == (1, 1)
    assert "the plugin [ctlplugin:greeter] wants 'options' of supervisorctl's controller" in said


def test_a_plugin_that_cannot_be_made(daemon: Daemon) -> None:
    text = daemon.config.read_text()
    other = daemon.place / "other.conf"
    for factory, says in (
        ("greeter:unmade", "error: the plugin [ctlplugin:greeter] cannot be made: RuntimeError('not today')"),
        ("nowhere:factory", "nowhere:factory cannot be resolved within [ctlplugin:greeter]: No module named 'nowhere'"),
    ):
        other.write_text(text.replace("greeter:factory", factory))
        code, said = _other(daemon, other, "greet")
        assert code == 1
        assert says in said
        assert _other(daemon, other, "pid")[0] == 0  # nobody else is troubled


def _other(daemon: Daemon, config: Path, *words: str) -> tuple[int, str]:
    own, daemon.config = daemon.config, config
    try:
        done = daemon.ctl(*words)
        return done.returncode, done.stdout
    finally:
        daemon.config = own
