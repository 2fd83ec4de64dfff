import grp
import os
import pwd
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from supervise.config.machine import Machine
from supervise.config.problems import NotHere


def test_this_machine(tmp_path: Path) -> None:
    here = Machine()
    root, group = pwd.getpwuid(0), grp.getgrgid(0)
    assert here.environ == dict(os.environ)
    assert here.cwd == os.getcwd()
    assert here.uid_of(root.pw_name) == here.uid_of("0") == 0
    assert here.gid_of(group.gr_name) == here.gid_of("0") == 0
    assert here.owner_of("0") == (0, -1)
    assert here.owner_of(f"0:{group.gr_name}") == (0, 0)
    assert here.primary_group(0) == root.pw_gid
    assert here.is_writable(str(tmp_path / "new"))
    assert not here.is_writable(str(tmp_path / "no" / "new"))
    here.require_factory("supervisor.rpcinterface:make_main_rpcinterface", "rpcinterface:supervisor")
    here.require_factory("os:path.join", "rpcinterface:x")


def test_where_no_temporary_file_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a read-only container: that is no reason not to start."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: iter(["no/such"] * 1000))
    assert Machine().tempdir() == "/tmp"


@pytest.mark.parametrize(
    ("question", "text", "message"),
    [
        ("uid_of", "no such user", "Invalid user name no such user"),
        ("uid_of", "4294967294", "Invalid user id 4294967294"),
        ("uid_of", "-5", "Invalid user id -5"),
        ("gid_of", "no such group", "Invalid group name no such group"),
        ("gid_of", str(2**80), f"Invalid group id {2**80}"),
        ("uid_of", str(2**80), f"Invalid user id {2**80}"),
        ("owner_of", "root:nobody at all", "Invalid user:group definition root:nobody at all: Invalid group name"),
        ("existing_directory", "/no/such", "/no/such is not an existing directory"),
        ("existing_parent", "/no/such/file", "The directory named as part of the path /no/such/file does not exist"),
    ],
)
def test_what_this_machine_lacks(question: str, text: str, message: str) -> None:
    with pytest.raises(NotHere) as refused:
        getattr(Machine(), question)(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("spec", ["no.such.module:x", "os:nothing", "os", ":x", "os:", " : "])
def test_what_cannot_be_imported(spec: str) -> None:
    with pytest.raises(NotHere, match=r" cannot be resolved within \[rpcinterface:x\]: "):
        Machine().require_factory(spec, "rpcinterface:x")


@pytest.mark.parametrize(
    ("path", "expanded"),
    [("~", "/home/me"), ("~/x", "/home/me/x"), ("a~", "a~"), ("~root/x", os.path.expanduser("~root/x"))],
)
def test_home_directories(machine: Machine, path: str, expanded: str) -> None:
    assert replace(machine, environ={"HOME": "/home/me/"}).expanduser(path) == expanded


def test_home_of_root_and_no_home(machine: Machine) -> None:
    assert replace(machine, environ={"HOME": "/"}).expanduser("~") == "/"
    assert replace(machine, environ={}).expanduser("~/x") == os.path.expanduser("~/x")


def test_paths_are_normalised(machine: Machine) -> None:
    assert replace(machine, cwd="/a/b").absolute("../c/./d") == "/a/c/d"
