"""Real configuration files load with the values that the real parser has for them, or fail where it fails.

The corpus is the directory in WILD_CONFIGS (default: ../shared/wild-configs beside the repository). Its README says how
the reference was made; another corpus of the same form works as well.
"""

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervise.config.load import load, load_ctl
from supervise.config.machine import Machine
from supervise.config.show import group_values, server_values
from supervise.errors import ConfigErrors

REPOSITORY = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("WILD_CONFIGS") or REPOSITORY.parent / "shared" / "wild-configs")
NAMES = sorted(path.stem for path in (CORPUS / "reference").glob("*.json"))
NO_ENVIRONMENT = ("HOME", "PATH", "LANG", "USER")
STUB = re.compile(r" \(stub\)$")

pytestmark = [
    pytest.mark.skipif(not NAMES, reason=f"no corpus at {CORPUS}: set WILD_CONFIGS"),
    pytest.mark.parametrize("name", NAMES or ["none"]),
]


def relaxed(scratch: Path, environ: dict[str, str]) -> Machine:
    """The machine of the reference: every user and every directory exists, no plugin is installed."""

    def number(name: str) -> int:
        return 0 if name == "root" else 10000 + zlib.crc32(name.encode()) % 50000

    def missing(spec: str) -> object:
        raise ImportError(spec)

    return Machine(
        environ=environ,
        node="rocky51",
        cwd=str(scratch),
        uid=0,
        tempdir=lambda: "/tmp",
        user_id=number,
        group_id=number,
        known_uid=lambda uid: True,
        known_gid=lambda gid: True,
        primary_group=lambda uid: uid,
        is_directory=lambda path: True,
        resolve=missing,
    )


class Case:
    """One configuration, unpacked as its reference was made, and what the reference says."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.scratch = scratch
        self.reference = json.loads((CORPUS / "reference" / f"{name}.json").read_text())
        self.own = scratch / self.reference["file"]
        shutil.copy(CORPUS / "configs" / self.own.name, self.own)
        if (companions := CORPUS / "companions" / name).is_dir():
            shutil.copytree(companions, scratch, dirs_exist_ok=True)
        self.main = self.own
        if self.reference["kind"] == "fragment":
            self.main = scratch / "supervisord.conf"
            self.main.write_text(f"[supervisord]\n\n[include]\nfiles = {self.own.name}\n")
        self.environ = json.loads((CORPUS / "env.json").read_text())

    def machine(self, variant: str) -> Machine:
        """The machine on which a variant of the reference was made."""
        if variant == "noenv":
            return relaxed(self.scratch, {key: self.environ[key] for key in NO_ENVIRONMENT if key in self.environ})
        machine = relaxed(self.scratch, self.environ)
        return replace(machine, resolve=lambda spec: spec) if variant == "stubbed" else machine

    def said(self, variant: str, part: str) -> Any:
        """A part of the reference, or None; "same as relaxed" is followed."""
        found = self.reference.get(variant, {}).get(part)
        return self.reference["relaxed"][part] if isinstance(found, str) else found

    def plain(self, value: Any) -> Any:
        """`value` with the scratch directory written as in the reference."""
        text = json.dumps(value)
        text = text.replace(str(self.scratch), "@HERE@").replace(str(self.scratch.parent), "@PARENT@")
        return json.loads(text)


@pytest.fixture
def case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    scratch = tmp_path / "parent" / "scratch"
    scratch.mkdir(parents=True)
    monkeypatch.chdir(scratch)
    return Case(name, scratch)


@pytest.mark.parametrize("variant", ["relaxed", "stubbed", "noenv"])
def test_the_daemon_reads_what_the_real_one_reads(case: Case, variant: str) -> None:
    if (said := case.said(variant, "supervisord")) is None:
        return
    machine = case.machine(variant)
    if said["outcome"] != "loaded":
        assert_refused(case, said, lambda: load(case.main, machine))
        return
    config, wanted = load(case.main, machine), said["config"]
    assert [as_known(group) for group in case.plain([group_values(group) for group in config.groups])] == [
        as_known(group) for group in wanted["groups"]
    ]
    realized = {key: getattr(config.daemon, key, None) for key in wanted["realized"]}
    realized |= {"configfile": config.file, "here": config.here, "serverurl": config.serverurl, "nodaemon": 1}
    assert case.plain(realized) == wanted["realized"]
    assert dict(config.daemon.environment) == case.plain(wanted["supervisord"]["environment"])
    servers = [
        server_values(server) | {"password": server.password}  # which is hidden there
        for server in config.servers
    ]
    assert case.plain(servers) == [
        {**server, "host": server["host"].strip("[]")} if "host" in server else server
        for server in wanted["http_servers"]
    ]
    assert case.plain([[plugin.name, plugin.factory, dict(plugin.options)] for plugin in config.rpcinterfaces]) == [
        [label, STUB.sub("", factory), options] for label, factory, options in wanted["rpcinterfaces"]
    ]
    messages = case.plain([text for _, text in config.messages])
    assert set(wanted["messages"]["warning"]) <= set(messages)
    assert [text for text in messages if text.startswith("Included")] == wanted["messages"]["info"]


@pytest.mark.parametrize("variant", ["relaxed", "stubbed", "noenv"])
def test_the_client_reads_what_the_real_one_reads(case: Case, variant: str) -> None:
    if (said := case.said(variant, "supervisorctl")) is None:
        return
    machine = case.machine(variant)
    if said["outcome"] != "loaded":
        if "does not include supervisorctl section" in said["error"] and case.reference["companions"]:
            return  # ours looks into the included files as well
        assert_refused(case, said, lambda: load_ctl(case.own, machine))
        return
    settings, plugins = load_ctl(case.own, machine)
    wanted = said["config"]
    ours = {key: getattr(settings, key) for key in wanted if key != "plugins"}
    assert case.plain(ours) == {key: value for key, value in wanted.items() if key != "plugins"}
    assert [[plugin.name, plugin.factory, dict(plugin.options)] for plugin in plugins] == [
        [label, STUB.sub("", factory), options] for label, factory, options in wanted["plugins"][1:]
    ]


@pytest.mark.parametrize("part", ["supervisord", "supervisorctl"])
def test_a_fragment_alone_is_refused_as_by_the_real_one(case: Case, part: str) -> None:
    if said := case.said("direct", part):
        reader = load if part == "supervisord" else load_ctl
        assert_refused(case, said, lambda: reader(case.own, case.machine("relaxed")))


def as_known(group: dict[str, Any]) -> dict[str, Any]:
    """A group with what the reference knows of: without our own options, and stubs under their own names."""
    processes = [
        {key: value for key, value in process.items() if key in PROCESS_KEYS} for process in group["processes"]
    ]
    handler = {"result_handler": STUB.sub("", group["result_handler"])} if "result_handler" in group else {}
    socket = {"socket": {k: v for k, v in group["socket"].items() if k != "class"}} if "socket" in group else {}
    known = {key: value for key, value in group.items() if key not in OWN_POOL_KEYS}
    return {**known, **handler, **socket, "processes": processes}


OWN_POOL_KEYS = frozenset({"buffer_limit", "on_protocol_error", "event_length"})  # which supervisord has not
PROCESS_KEYS = frozenset(
    {
        *("argv", "autorestart", "autostart", "class", "command", "directory", "environment", "exitcodes"),
        *("killasgroup", "name", "priority", "redirect_stderr", "serverurl", "startretries", "startsecs"),
        *(
            f"{channel}_{option}"
            for channel in ("stdout", "stderr")
            for option in (
                *("capture_maxbytes", "events_enabled", "logfile", "logfile_backups", "logfile_maxbytes", "syslog"),
            )
        ),
        *("stopasgroup", "stopsignal", "stopsignal_name", "stopwaitsecs", "uid", "umask"),
    }
)


def assert_refused(case: Case, said: dict[str, Any], read: Callable[[], object]) -> None:
    """`read` fails, and says at least what the real parser says, in its words."""
    with pytest.raises(ConfigErrors) as refused:
        read()
    ours = "\n".join(case.plain([problem.message for problem in refused.value.problems]))
    lines = {problem.line for problem in refused.value.problems}
    theirs = said["error"]
    if theirs.startswith(("Source contains parsing errors", "File contains no section headers")):
        assert theirs.split(".")[0].split(":")[0] in ours  # the rest is worded by each Python as it likes
        assert {int(number) for number in re.findall(r"line\s*:?\s*(\d+)", theirs)} <= lines
        return
    theirs = re.sub(r" in section '.*' \(file: '.*'\)$", "", theirs, flags=re.DOTALL)  # ours has that in front
    theirs = re.sub(r"^\('(.*) %s', '(.*)'\)", r"\1 \2", theirs)  # a tuple by mistake
    assert theirs in ours
