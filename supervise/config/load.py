"""The pipeline: files -> document -> values -> Config, with everything that is wrong."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from supervise.config import endpoints, programs, sockets, source
from supervise.config.convert import Converter
from supervise.config.document import KINDS, Document, Section
from supervise.config.machine import Machine
from supervise.config.model import Config, CtlConfig, PluginConfig
from supervise.config.problems import MachineError, Place, Problems, did_you_mean
from supervise.config.sections import options_of
from supervise.errors import ConfigError, ConfigErrors

PLUGINS = ("rpcinterface", "ctlplugin")


class Examination(NamedTuple):
    """A configuration and what was found in it."""

    draft: Config  # what is wrong has its default there, or is missing
    errors: tuple[ConfigError, ...]
    warnings: tuple[ConfigError, ...]

    @property
    def config(self) -> Config | None:
        """None if an error does not only concern this machine."""
        return self.draft if all(isinstance(error, MachineError) for error in self.errors) else None


def load(path: str | Path, machine: Machine | None = None, overrides: Mapping[str, str] | None = None) -> Config:
    """Read a file or a directory, with what it includes. Raises ConfigErrors with all problems together.

    `overrides` are options of [supervisord] as texts, from the command line: not expanded, and stronger than the file.
    Blocking: reads files. What the result depends on beside them is all in `machine`.
    """
    found = examine(path, machine, overrides)
    if found.errors or found.config is None:
        raise ConfigErrors(found.errors)
    return found.config


def load_ctl(path: str | Path, machine: Machine | None = None) -> tuple[CtlConfig, tuple[PluginConfig, ...]]:
    """What the client needs of a file: [supervisorctl] and its plugins. Programs and their mistakes do not matter.

    Raises ConfigErrors.
    """
    machine, problems = machine or Machine(), Problems()
    document = _read(str(path), machine, problems)
    errors = [error for error in problems.errors if error.file == document.file and error.section != "include"]
    problems = Problems()
    converter = Converter(document, machine, problems, _environ(machine))
    settings = endpoints.ctl(converter)
    plugins = tuple(endpoints.plugins(converter, "ctlplugin"))
    errors += problems.errors
    if settings is None:
        errors.append(ConfigError(".ini file does not include supervisorctl section", file=document.file))
    if errors or settings is None:
        raise ConfigErrors(errors)
    return settings, plugins


def examine(
    path: str | Path, machine: Machine | None = None, overrides: Mapping[str, str] | None = None
) -> Examination:
    """As `load`, but tells everything instead of raising, and looks on after errors of the machine.

    Raises ConfigErrors only if the file itself cannot be read.
    """
    machine, problems = machine or Machine(), Problems()
    document = _read(str(path), machine, problems)
    check_names(document, problems)
    config = _build(document, machine, problems, overrides or {})
    order = {file: number for number, file in enumerate(document.files)}
    errors = sorted(problems.errors, key=lambda error: (order.get(error.file, -1), error.line))
    return Examination(config, tuple(errors), tuple(problems.warnings))


def _read(path: str, machine: Machine, problems: Problems) -> Document:
    try:
        return source.read(machine.absolute(path), machine.environ, machine.node, problems, shown=path)
    except source.Unreadable as why:
        raise ConfigErrors([ConfigError(str(why), file=path)]) from None


def _environ(machine: Machine) -> dict[str, object]:
    return {f"ENV_{name}": value for name, value in machine.environ.items()}


def _build(document: Document, machine: Machine, problems: Problems, overrides: Mapping[str, str]) -> Config:
    """supervisord's order: its own section, whose environment the others may use, plugins, groups, servers."""
    main = document.sections.get("supervisord")
    if main is None:
        if not problems.errors:  # or it may be in what could not be read
            problems.error(Place(document.file), ".ini file does not include supervisord section")
        main = Section("supervisord", document.file, 0, document.defaults)
    converter = Converter(document, machine, problems, _environ(machine))
    daemon, environment = endpoints.daemon(converter, main, overrides)
    converter.environ |= {f"ENV_{name}": value for name, value in environment.items()}
    rpcinterfaces = tuple(endpoints.plugins(converter, "rpcinterface"))
    listening = sockets.named(converter)
    event_types = tuple(name for plugin in rpcinterfaces for name, _ in plugin.event_types)
    groups = programs.groups(converter, programs.Shared(environment, daemon, listening, event_types))
    servers, users = tuple(endpoints.servers(converter)), tuple(endpoints.users(converter))
    ctl, ctlplugins = _client_part(document, machine, problems)
    return Config(
        daemon=daemon,
        servers=servers,
        users=users,
        ctl=ctl,
        groups=groups,
        sockets=tuple(listening.values()),
        rpcinterfaces=rpcinterfaces,
        ctlplugins=ctlplugins,
        file=document.file,
        here=document.here,
        files=tuple(document.files),
        origins={(place.section, place.option): f"{place.file}:{place.line}" for place in _places(document)},
        warnings=tuple(problems.warnings),
        messages=tuple(problems.messages),
    )


def _client_part(
    document: Document, machine: Machine, problems: Problems
) -> tuple[CtlConfig | None, tuple[PluginConfig, ...]]:
    """What concerns only the client cannot keep the daemon from starting: its errors are warnings here."""
    own = Problems()
    converter = Converter(document, machine, own, _environ(machine))
    ctl, ctlplugins = endpoints.ctl(converter), tuple(endpoints.plugins(converter, "ctlplugin"))
    for error in own.errors:
        problems.warn(Place(error.file, error.line, error.section, error.option), error.message)
    return ctl, ctlplugins


def _places(document: Document) -> Iterator[Place]:
    for section in document.sections.values():
        known = options_of(section.kind)
        inherited = [option for option in document.defaults if option in known]
        for option in dict.fromkeys((*section.own, *inherited)):
            yield section.place(option)


def check_names(document: Document, problems: Problems) -> None:
    """Warn of sections and options that mean nothing: supervisord ignores them without a word."""
    for section in document.sections.values():
        if not section.kind:
            problems.warn(section.place(), f"unknown section{_section_hint(section.name)}")
        elif section.kind not in PLUGINS:
            known = options_of(section.kind)
            for name in section.own:
                if name not in known:
                    problems.warn(section.place(name), f"unknown option{did_you_mean(name, known)}")


def _section_hint(name: str) -> str:
    kind, colon, label = name.partition(":")
    if kind in KINDS and not colon:
        return f"; did you mean [{kind}:NAME]?"
    if kind in KINDS:
        return f"; did you mean [{kind}]?"
    return did_you_mean(kind, KINDS, "[{}:" + label + "]" if colon else "[{}]")
