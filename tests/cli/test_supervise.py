"""The daemon's command line: what it takes, what it refuses, and how little it loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervise import __version__
from supervise.cli.supervise import FLAGS, SUB_COMMANDS
from supervise.config.model import DaemonConfig
from tests.daemons import configuration, daemon_command, environment
from tests.tools import ROOT, need_root


def run(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [*daemon_command("supervise"), *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment(place), timeout=60)


def refused(place: Path, *args: str) -> str:
    """The text of a usage error, which is supervisord's two lines."""
    done = run(place, *args)
    first, second = done.stderr.splitlines()
    assert (done.returncode, done.stdout, second) == (2, "", "For help, use supervise -h")
    assert first.startswith("Error: ")
    return first.removeprefix("Error: ")


@pytest.mark.parametrize("flag", ["-h", "--help", "-?"])
def test_help(tmp_path: Path, flag: str) -> None:
    done = run(tmp_path, flag)
    assert done.returncode == 0
    for one in FLAGS:
        assert one.long in done.stdout
    assert "check" in done.stdout
    assert "schema" in done.stdout


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(tmp_path: Path, flag: str) -> None:
    done = run(tmp_path, flag)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


def test_every_flag_of_supervisord_is_here() -> None:
    shorts = {flag.short for flag in FLAGS if flag.short}
    assert shorts == {f"-{letter}" for letter in "cnsumdlyzejiqkat"}
    longs = {flag.long.lstrip("-") for flag in FLAGS}
    assert longs >= {"configuration", "nodaemon", "silent", "user", "umask", "directory", "logfile", "logfile_maxbytes"}
    assert longs >= {"logfile_backups", "loglevel", "pidfile", "identifier", "childlogdir", "nocleanup", "minfds"}
    assert longs >= {"strip_ansi", "minprocs", "profile_options"}
    fields = set(DaemonConfig.__dataclass_fields__)
    assert {flag.option for flag in FLAGS if flag.option} <= fields, "each overrides an option of [supervisord]"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-n", "-n"], "conflicting command line option '-n'"),
        (["-c", "a", "--configuration=b"], "conflicting command line option '--configuration'"),
        (["-e", "info", "--loglevel", "debug"], "conflicting command line option '--loglevel'"),
        (["--minprocs=1", "--minprocs=2"], "conflicting command line option '--minprocs'"),
        (["start"], "positional arguments are not supported: ['start']"),
        (["-n", "a", "b"], "positional arguments are not supported: ['a', 'b']"),
        (["--respawn", "--no-respawn"], "--respawn and --no-respawn exclude each other"),
        (["-X"], "option -X not recognized"),
        (["--no-such-thing"], "option --no-such-thing not recognized"),
        (["--log=x"], "option --log not a unique prefix"),
        (["-c"], "option -c requires argument"),
        (["--nodaemon=yes"], "option --nodaemon must not have an argument"),
        (["-c", "/no/such/file"], "could not find config file /no/such/file"),
    ],
)
def test_usage_errors(tmp_path: Path, args: list[str], text: str) -> None:
    assert text in refused(tmp_path, *args)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-e", "loud"], "loglevel"),
        (["-y", "much"], "logfile_maxbytes"),
        (["-z", "x"], "logfile_backups"),
        (["-m", "999"], "umask"),
        (["-a", "many"], "minfds"),
        (["--minprocs", "many"], "minprocs"),
        (["-u", "no-such-user"], "no-such-user"),
        (["-d", "/no/such/dir"], "/no/such/dir"),
        (["-q", "/no/such/dir"], "/no/such/dir"),
        (["-l", "/no/such/dir/log"], "/no/such/dir/log"),
        (["-j", "/no/such/dir/pid"], "/no/such/dir/pid"),
    ],
)
def test_bad_values(place: Path, args: list[str], text: str) -> None:
    (place / "s.conf").write_text(configuration(place, ""))
    assert text in refused(place, "-c", str(place / "s.conf"), *args)
    assert os.listdir(place) == ["s.conf"], "nothing has been touched"


def test_no_configuration_anywhere(tmp_path: Path) -> None:
    if any(Path(place).exists() for place in ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")):
        pytest.skip("a file is at one of the default places, and not ours to move")
    text = refused(tmp_path)
    assert text.startswith("No config file found at default paths (")
    assert text.endswith("); use the -c option to specify a config file at a different path")


def test_a_file_of_somebody_else_is_not_found_by_root(place: Path) -> None:
    need_root()
    config = place / "supervisord.conf"
    config.write_text(configuration(place, ""))
    os.chown(config, 33, 33)
    assert "belongs to user 33, not to root" in refused(place)


def test_an_unambiguous_beginning_of_a_long_option_is_enough(place: Path) -> None:
    """getopt allows it, so scripts may have it."""
    (place / "s.conf").write_text(configuration(place, ""))
    assert "loglevel" in refused(place, f"--conf={place}/s.conf", "--nod", "--loglev", "loud")


def test_options_override_the_file(place: Path) -> None:
    config = place / "s.conf"
    config.write_text(configuration(place, "", "loglevel = error\nidentifier = file\n"))
    code = (
        "import sys; from supervise.cli import supervise; from supervise.daemon import main as daemon\n"
        "def show(load, options):\n"
        "    d = load().daemon; print(d.loglevel, d.identifier, d.nodaemon, d.logfile, d.logfile_backups, d.umask)\n"
        "    return 0\n"
        "daemon.run = show; supervise.main()"
    )
    options = ["-c", "s.conf", "-n", "-e", "debug", "-i", "line", "-l", "other.log", "--logfile_backups=3", "-m", "027"]
    done = subprocess.run(
        [sys.executable, "-c", code, *options], capture_output=True, text=True, cwd=place, env=environment(place)
    )
    assert (done.stdout, done.stderr) == (f"10 line True {place}/other.log 3 {0o27}\n", "")


def test_sub_commands_get_the_configuration_either_way(place: Path) -> None:
    (place / "s.conf").write_text(configuration(place, "[program:a]\ncommand = cat\n"))
    for args in (["check", "-c", "s.conf"], ["-c", "s.conf", "check"]):
        done = run(place, *args)
        assert (done.returncode, done.stderr) == (0, "")
    assert run(place, "check", "-c", "none.conf").returncode == 2
    assert run(place, "schema").stdout.startswith("{")


def test_every_sub_command_is_there(tmp_path: Path) -> None:
    for name in SUB_COMMANDS:
        done = run(tmp_path, name, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: supervise {name} ")
    assert "No such option" in refused(tmp_path, "check", "--no-such-thing")


def test_help_and_errors_load_neither_the_loop_nor_the_daemon() -> None:
    code = "import sys; import supervise.cli.supervise; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "aiohttp", "click", "psutil", "supervise.config.model", "supervise.daemon.main"}
