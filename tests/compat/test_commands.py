"""The daemon's command line: the same exit codes as supervisord's, and a complaint in the same two lines."""

import subprocess

import pytest

from tests.daemons import Kind, Supervisors, configuration, daemon_command, environment

GOOD = "[program:a]\ncommand = sleep 1000\n"
CASES = {
    "help": ("-h", GOOD),
    "long help": ("--help", GOOD),
    "version": ("-v", GOOD),
    "long version": ("--version", GOOD),
    "unknown option": ("-X", GOOD),
    "unknown long option": ("--nothing", GOOD),
    "no argument": ("-c", GOOD),
    "an option twice": ("-n -n -c s.conf", GOOD),
    "two spellings of one option": ("-n --nodaemon -c s.conf", GOOD),
    "positional": ("-c s.conf word", GOOD),
    "no such file": ("-c none.conf", GOOD),
    "bad level": ("-n -c s.conf -e loud", GOOD),
    "bad size": ("-n -c s.conf -y large", GOOD),
    "bad number": ("-n -c s.conf -z few", GOOD),
    "bad umask": ("-n -c s.conf -m 999", GOOD),
    "bad user": ("-n -c s.conf -u nosuchuser", GOOD),
    "bad log directory": ("-n -c s.conf -q /no/such", GOOD),
    "bad directory": ("-n -c s.conf -d /no/such", GOOD),
    "bad log": ("-n -c s.conf -l /no/such/log", GOOD),
    "bad pidfile": ("-n -c s.conf -j /no/such/pid", GOOD),
    "no command": ("-n -c s.conf", "[program:a]\nautostart = true\n"),
    "bad value": ("-n -c s.conf", GOOD + "numprocs = x\n"),
    "unknown user": ("-n -c s.conf", GOOD + "user = nosuchuser\n"),
    "unknown name": ("-n -c s.conf", GOOD + "directory = %(nothing)s\n"),
    "unknown group member": ("-n -c s.conf", "[group:g]\nprograms = nobody\n"),
    "half a password": ("-n -c s.conf", "[inet_http_server]\nport = 127.0.0.1:9\nusername = a\n"),
    "bad event": ("-n -c s.conf", "[eventlistener:l]\ncommand = a\nevents = NOTHING\n"),
    "stop but not kill the group": ("-n -c s.conf", GOOD + "stopasgroup = true\nkillasgroup = false\n"),
    "an address of another machine": ("-n -c s.conf", "[inet_http_server]\nport = 192.0.2.1:9\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_exit_code(supervisors: Supervisors, case: str) -> None:
    words, programs = CASES[case]

    def run(kind: Kind) -> tuple[int, bool, bool]:
        place = supervisors.place()
        (place / "s.conf").write_text(configuration(place, programs))
        done = subprocess.run(
            [*daemon_command(kind), *words.split()],
            capture_output=True,
            text=True,
            cwd=place,
            env=environment(place),
            timeout=60,
            check=False,
        )
        complaint = done.stderr.splitlines()
        return (
            done.returncode,
            done.stderr.startswith("Error: "),
            complaint[-1:] != [] and "For help, use" in complaint[-1],
        )

    assert run("supervise") == run("supervisord")
