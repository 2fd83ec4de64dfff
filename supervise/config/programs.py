"""From [program:x], [group:x], [eventlistener:x] and [fcgi-program:x] to groups of processes."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from supervise.config import sockets
from supervise.config.convert import Converter
from supervise.config.declare import Names, Option, declared
from supervise.config.document import Section
from supervise.config.model import DaemonConfig, GroupConfig, ProgramConfig, SocketConfig
from supervise.config.problems import NotHere, Place, did_you_mean
from supervise.config.sections import options_of
from supervise.config.values import AUTO, EVENT_TYPES, SYSLOG, StopScope

MAX_PROCESSES = 10_000
Kind = Literal["program", "eventlistener", "fcgi-program"]


class Shared(NamedTuple):
    """What programs take from other sections."""

    environment: Mapping[str, str]  # of [supervisord]; every process gets it
    daemon: DaemonConfig
    sockets: dict[str, SocketConfig]
    event_types: tuple[str, ...]  # of plugins


def groups(converter: Converter, shared: Shared) -> tuple[GroupConfig, ...]:
    """All groups by priority, then by name."""
    builder = _Builder(converter, shared)
    found = [*builder.mixed(), *builder.programs(), *builder.pools(), *builder.fcgi()]
    found.sort(key=lambda group: (group.priority, group.name))
    builder.check_names(found)
    builder.check_sockets(found)
    return tuple(found)


class _Builder:
    def __init__(self, converter: Converter, common: Shared) -> None:
        self.converter, self.common = converter, common
        self.document, self.problems, self.machine = converter.document, converter.problems, converter.machine
        self.in_group: set[str] = set()  # sections that a [group:x] took, which have no group of their own

    # Groups, in the order in which supervisord makes them

    def mixed(self) -> Iterator[GroupConfig]:
        for section in self.document.of_kind("group"):
            options = options_of("group")
            name = self.checked(section, section.label)
            processes: list[ProgramConfig] = []
            for program in self.converter.get(section, options["programs"]):
                if member := self.member(section, program):
                    self.in_group.add(member.name)
                    processes += self.processes(member, name, "program")
            if not section.get("programs"):
                self.problems.warn(section.place(), "has no programs")
            yield GroupConfig(
                name=name,
                priority=self.converter.get(section, options["priority"]),
                processes=tuple(processes),
            )

    def member(self, section: Section, program: str) -> Section | None:
        """The section that a group means by `program`."""
        named = [s for kind in ("program", "fcgi-program") if (s := self.document.sections.get(f"{kind}:{program}"))]
        place = section.place("programs")
        if not named:
            known = [s.label for kind in ("program", "fcgi-program") for s in self.document.of_kind(kind)]
            hint = did_you_mean(program, known)
            self.problems.error(place, f"[{section.name}] names unknown program or fcgi-program {program}{hint}")
            return None
        if len(named) == 2:
            self.problems.error(
                place, f"[{section.name}] name {program} is ambiguous (exists as program and fcgi-program)"
            )
        return named[0]

    def programs(self) -> Iterator[GroupConfig]:
        for section in self.alone("program"):
            yield self.homogeneous(section, "program", 999)

    def pools(self) -> Iterator[GroupConfig]:
        options = options_of("eventlistener")
        for section in self.alone("eventlistener"):
            group = self.homogeneous(section, "eventlistener", -1)
            buffer_size = self.converter.get(section, options["buffer_size"])
            if buffer_size is not None and buffer_size < 1:
                self.problems.error(
                    section.place("buffer_size"), f"[{section.name}] section sets invalid buffer_size ({buffer_size})"
                )
            if any(process.redirect_stderr for process in group.processes):
                self.problems.error(
                    section.place("redirect_stderr"),
                    f"[{section.name}] section sets redirect_stderr=true but this is not allowed because it will"
                    " interfere with the eventlistener protocol",
                )
            yield dataclasses.replace(
                group,
                kind="pool",
                buffer_size=buffer_size,
                events=self.events(section, options["events"]),
                result_handler=self.handler(section, options["result_handler"]),
                on_protocol_error=self.converter.get(section, options["on_protocol_error"]),
                event_length=self.converter.get(section, options["event_length"]),
            )

    def events(self, section: Section, option: Option) -> tuple[str, ...]:
        names: tuple[str, ...] = self.converter.get(section, option)
        if not names:
            self.problems.error(section.place("events"), f'[{section.name}] section requires an "events" line')
        known = (*EVENT_TYPES, *self.common.event_types)
        for name in names:
            if name not in known:
                self.problems.error(
                    section.place("events"),
                    f"Unknown event type {name} in [{section.name}] events{did_you_mean(name, known)}",
                )
        return names

    def handler(self, section: Section, option: Option) -> str:
        spec: str = self.converter.get(section, option)
        try:
            self.machine.require_factory(spec, section.name)
        except NotHere as why:
            self.problems.error(section.place("result_handler"), why)
        return spec

    def fcgi(self) -> Iterator[GroupConfig]:
        for section in self.alone("fcgi-program"):
            group = self.homogeneous(section, "fcgi-program", 999)
            socket = next((process.fcgi_socket for process in group.processes), None)
            yield dataclasses.replace(group, kind="fcgi", socket=socket)

    def alone(self, kind: str) -> Iterator[Section]:
        return (section for section in list(self.document.of_kind(kind)) if section.name not in self.in_group)

    def homogeneous(self, section: Section, kind: Kind, priority: int) -> GroupConfig:
        """The group that a program is when no [group:x] has it: same name, same priority."""
        name = self.checked(section, section.label)
        if section.get("priority"):
            priority = self.converter.get(section, options_of(kind)["priority"])
        return GroupConfig(name=name, priority=priority, processes=tuple(self.processes(section, name, kind)))

    # Processes

    def processes(self, section: Section, group: str, kind: Kind) -> list[ProgramConfig]:
        """The processes of one section, by name; none if something is wrong with them."""
        get = self.converter.get
        options = options_of(section.kind)
        program = section.label.strip()
        names: dict[str, object] = {"program_name": program, "group_name": group, "host_node_name": self.machine.node}
        of_all, of_each = _kept(kind)
        shared = self.converter.all(section, of_all, names)
        self.fix_stopping(section, shared)
        self.fix_user(section, shared)
        count, first = get(section, options["numprocs"], names), get(section, options["numprocs_start"], names)
        if not self.check_template(section, count):
            count = 1  # the others would only have the same to say
        if count <= 0:
            self.problems.warn(section.place("numprocs"), f"numprocs is {count}: there is no process")
        elif not section.get("command"):
            self.problems.error(section.place(), f"program section {section.name} does not specify a command")
        if count > MAX_PROCESSES:
            self.problems.error(section.place("numprocs"), f"{count} is above upper bound ({MAX_PROCESSES})")
            return []
        listening = sockets.chosen(self.converter, section, shared["sockets"], self.common.sockets)
        found: list[ProgramConfig] = []
        for number in range(first, first + count):
            before = len(self.problems.errors)
            mine: dict[str, object] = {**names, "process_num": number, "numprocs": count, **self.converter.environ}
            environment: dict[str, str] = get(section, options["environment"], mine)
            mine |= {f"ENV_{key}": value for key, value in environment.items()}
            own = self.converter.all(section, of_each, mine)
            name = get(section, options["process_name"], mine) if section.get("process_name") else program
            self.fix_logs(section, shared["redirect_stderr"], own)
            self.fix_syslog(section, own)
            if len(self.problems.errors) > before or own["command"] is None:
                break  # the others would have the same to say
            found.append(
                ProgramConfig(
                    **(shared | own),
                    name=name.strip(),
                    program=program,
                    group_name=group,
                    process_num=number,
                    kind=kind,
                    environment=tuple(sorted({**self.common.environment, **environment}.items())),
                    listening=listening,
                )
            )
        if section.kind == "fcgi-program" and (socket := self.fcgi_socket(section, kind, found)):
            found = [dataclasses.replace(process, fcgi_socket=socket) for process in found]
        return sorted(found, key=lambda process: process.name)

    def fix_stopping(self, section: Section, shared: dict[str, Any]) -> None:
        if not section.get("killasgroup"):
            shared["killasgroup"] = shared["stopasgroup"]
        elif shared["stopasgroup"] and not shared["killasgroup"]:
            self.problems.error(section.place("killasgroup"), "Cannot set stopasgroup=true and killasgroup=false")
        if not section.get("stop_scope") and shared["killasgroup"]:
            shared["stop_scope"] = StopScope.TREE

    def fix_user(self, section: Section, shared: dict[str, Any]) -> None:
        """uid and gid from user and group. An unusable group is only warned of: supervisord ignores the option."""
        user, group = shared["user"], shared["group"]
        uid: Any = None
        gid = None
        try:
            if user is not None:
                uid = self.machine.uid_of(user)
                gid = self.machine.primary_group(uid)
        except NotHere as why:
            self.problems.error(section.place("user"), why)
            uid = why.value
        except KeyError:
            gid = None
        try:
            if group is not None and user is None:
                self.problems.warn(section.place("group"), "ignored: it needs user= beside it")
            elif group is not None:
                gid = self.machine.gid_of(group)
        except NotHere as why:
            self.problems.warn(section.place("group"), f"ignored: {why}")
        shared |= {"uid": uid, "gid": gid}

    def fix_logs(self, section: Section, redirect: bool, own: dict[str, Any]) -> None:
        """supervisord's rules about log files, with its warnings."""
        for channel in ("stdout", "stderr"):
            log, maxbytes, syslog = f"{channel}_logfile", f"{channel}_logfile_maxbytes", f"{channel}_syslog"
            if own[log] == SYSLOG:
                own |= {log: None, syslog: True}
                self.problems.warn_as_stock(
                    section.place(log),
                    f"For [{section.name}], {log}=syslog but this is deprecated and will be removed.  Use {syslog}=true"
                    " to enable syslog instead.",
                )
            if own[log] == AUTO and not own[maxbytes]:
                self.problems.warn_as_stock(
                    section.place(maxbytes),
                    f"For [{section.name}], AUTO logging used for {log} without rollover, set maxbytes > 0 to avoid"
                    " filling up filesystem unintentionally",
                )
        if redirect:
            if own["stderr_logfile"] not in (AUTO, None):
                self.problems.warn_as_stock(
                    section.place("stderr_logfile"),
                    f"For [{section.name}], redirect_stderr=true but stderr_logfile has also been set to a filename,"
                    " the filename has been ignored",
                )
            own["stderr_logfile"] = None

    def fix_syslog(self, section: Section, own: dict[str, Any]) -> None:
        """A program that sends to syslog, and does not say where, sends where the daemon does."""
        for option in ("syslog_target", "syslog_format"):
            if (own["stdout_syslog"] or own["stderr_syslog"]) and not section.get(option):
                own[option] = getattr(self.common.daemon, option)

    def fcgi_socket(self, section: Section, kind: Kind, processes: list[ProgramConfig]) -> SocketConfig | None:
        """The socket of an fcgi-program, in a group too, where supervisord forgets it (and so needs none)."""
        if kind == "fcgi-program" or section.get("socket"):
            return sockets.fcgi(self.converter, section, processes)
        self.problems.warn(section.place(), "has no socket, and so nobody can reach it")
        return None

    # Names

    def checked(self, section: Section, name: str) -> str:
        """A program's or group's name, stripped."""
        self.check_name(section, "", name)
        return name.strip()

    def check_template(self, section: Section, count: int) -> bool:
        """Whether so many processes have a name each."""
        entry = section.get("process_name")
        template = entry.raw if entry and isinstance(entry.raw, str) else "%(program_name)s"
        self.check_name(section, "process_name", template)
        alike = count > 1 and "%(process_num)" not in template
        if alike:
            self.problems.error(
                section.place("process_name"),
                "%(process_num) must be present within process_name when numprocs > 1;"
                " for example process_name=%(program_name)s_%(process_num)02d",
            )
        return not alike

    def check_name(self, section: Section, option: str, name: str) -> None:
        for character in " :/\0":
            if character in name.strip():
                self.problems.error(
                    section.place(option), f"Invalid name: {name!r} because of character: {character!r}"
                )
                return
        if not name.strip():
            self.problems.error(section.place(option), f"Invalid name: {name!r} is empty")

    def check_sockets(self, found: list[GroupConfig]) -> None:
        """Warn of sockets that nobody listens on."""
        used = {name for group in found for process in group.processes for name in process.sockets}
        for section in self.document.of_kind("socket"):
            if (name := section.label.strip()) in self.common.sockets and name not in used:
                self.problems.warn(section.place(), "no program names this socket: it is never opened")

    def check_names(self, found: list[GroupConfig]) -> None:
        """Warn of names that supervisord lets through, although one of two equal ones can never run."""
        seen: set[str] = set()
        for group in found:
            place = Place(self.document.file, section=f"group:{group.name}")
            if group.name in seen:
                self.problems.warn(place, f"there are two groups called {group.name}; only the first one runs")
            seen.add(group.name)
            names = Counter(process.name for process in group.processes)
            for name in sorted(name for name, count in names.items() if count > 1):
                self.problems.warn(place, f"two processes of the group are called {name}; only the last one runs")


@cache
def _kept(kind: Kind) -> tuple[tuple[Option, ...], tuple[Option, ...]]:
    """The options that a process has, but for `environment`: those that all of a section share, and those of each."""
    kept = [_as_read(option, kind) for option in declared(ProgramConfig) if option.key != "environment"]
    each = tuple(option for option in kept if option.names is Names.PROCESS)
    return tuple(option for option in kept if option.names < Names.PROCESS), each


def _as_read(option: Option, kind: Kind) -> Option:
    """supervisord reads the user of an fcgi-program before it knows the names of a program."""
    early = kind == "fcgi-program" and option.key == "user"
    return dataclasses.replace(option, names=Names.HERE) if early else option
