"""Making what runs what the files say, touching only what has to be touched (A5, B15)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from supervise.config.declare import Change
from supervise.config.diff import Diff, classify, diff, same_frame
from supervise.config.model import Config, GroupConfig, ProgramConfig
from supervise.core.events import RUNNING_STATES, DaemonState, Start, State
from supervise.daemon.loading import Loader
from supervise.daemon.memory import is_outdated
from supervise.daemon.owed import owed
from supervise.daemon.process import Group, Process
from supervise.daemon.slices import at_once
from supervise.daemon.supervisor import Supervisor
from supervise.errors import CommandError, ConfigErrors, Fault

log = logging.getLogger("supervise")


KINDS = {Change.LIVE: "live", Change.NEXT_START: "next-start", Change.RESTART: "restart"}
TEXTS = {
    "remove": "stopped and removed",
    "add": "added",
    "start": "started: it starts by itself now",
    "restart": "restarted with its new options",
    "next-start": "keeps running; its new options count from its next start",
    "live": "keeps running with its new options",
    "down": "does not run; its new options count from its next start",
    "error": "has problems; still there as it was",
}
STOPPING = frozenset({"remove", "restart"})


class Step(NamedTuple):
    """One thing that an update did, or would do. `text` is supervisorctl's line where it has one (no process)."""

    kind: str
    group: str
    process: str | None
    text: str


class Updater:
    """The configuration as last read, and the verbs that bring the active groups nearer to it."""

    def __init__(self, supervisor: Supervisor, config: Config, load: Callable[[], Config]) -> None:
        self._supervisor, self.config, self._load = supervisor, config, Loader(load)
        self.amid = ""  # "an update", while one is under way

    async def reread(self) -> Diff:
        """Read the files. Raises CommandError(CANT_REREAD) with every problem, keeping the old configuration."""
        try:
            self.config = await self._load.read()
        except ConfigErrors as exc:
            log.error("the configuration cannot be read: %s", "; ".join(map(str, exc.problems)))
            raise CommandError(Fault.CANT_REREAD, str(exc)) from None
        return self._diff()

    def _diff(self) -> Diff:
        groups = self._supervisor.groups
        found = diff([group.config for group in groups.values()], self.config.groups)
        outdated = {name for name, group in groups.items() if any(map(is_outdated, group.processes.values()))}
        outdated.update(found.changed)
        changed = [each.name for each in self.config.groups if each.name in outdated]
        return found._replace(changed=tuple(dict.fromkeys(changed)))

    def add(self, name: str) -> None:
        """See `Commands.add`."""
        if name in self._supervisor.groups:
            raise CommandError(Fault.ALREADY_ADDED, name)
        self._add(self._configured(name))

    def _configured(self, name: str) -> GroupConfig:
        for group in self.config.groups:
            if group.name == name:
                return group
        raise CommandError(Fault.BAD_NAME, name)

    def _add(self, config: GroupConfig) -> None:
        self._supervisor.memory.readmit(config.name)
        group = self._supervisor.add_group(config)
        self._supervisor.autostart(group.processes.values())

    def remove(self, name: str) -> None:
        """See `Commands.remove`."""
        group = self._supervisor.groups.get(name)
        if group is None:
            raise CommandError(Fault.BAD_NAME, name)
        if not all(process.at_rest for process in group.processes.values()):
            raise CommandError(Fault.STILL_RUNNING, name)
        self._supervisor.remove_group(name)
        if any(group.name == name for group in self.config.groups):
            self._supervisor.memory.dismiss(name)  # else it would be back with the next daemon

    async def update(self, names: Sequence[str], *, dry_run: bool) -> list[Step]:
        """See `Commands.update`. Raises CommandError: CANT_REREAD; FAILED while another update is under way."""
        if self.amid:
            raise CommandError(Fault.FAILED, "another update is under way")
        self.amid = "an update"
        try:
            found = await self.reread()
            return await self._carry_out(found, [name for name in names if name != "all"], dry_run)
        finally:
            self.amid = ""

    async def _carry_out(self, found: Diff, only: Sequence[str], dry_run: bool) -> list[Step]:
        wanted = {group.name: group for group in reversed(self.config.groups)}  # of equal names the first counts
        known = self._supervisor.groups.keys() | wanted.keys()
        errors = [Step("error", name, None, f"ERROR: no such group: {name}") for name in only if name not in known]

        def chosen(names: Sequence[str]) -> list[str]:
            return [name for name in names if not only or name in only]

        groups = self._supervisor.groups
        removed, changed = ([groups[name] for name in chosen(names)] for names in (found.removed, found.changed))
        touched = [process for group in (*removed, *changed) for process in group.processes.values()]
        with self._supervisor.sockets.kept(touched):  # what takes their place may listen there too
            acts = [partial(self._remove, group, dry_run) for group in removed]
            acts += [partial(self._change, group, wanted[group.name], dry_run) for group in changed]
            steps = [step for done in await at_once(lambda act: act(), acts) for step in done]
            for name in chosen(found.added):
                if not dry_run:
                    self._appear(wanted[name])
                steps.append(Step("added", name, None, f"{name}: added process group"))
        return [*errors, *steps]

    async def _remove(self, group: Group, dry_run: bool) -> list[Step]:
        name = group.name
        if not dry_run:
            await self._supervisor.stop(group.processes.values())
            if any(map(_lives_on, group.processes.values())):
                return [Step("error", name, None, f"{name}: has problems; not removing")]
            self._forget(group)
        return [
            Step("stopped", name, None, f"{name}: stopped"),
            Step("removed", name, None, f"{name}: removed process group"),
        ]

    def _forget(self, group: Group) -> None:
        """Remove a group that has just been stopped, unless another client was faster."""
        if self._is_active(group):
            self._supervisor.remove_group(group.name)

    def _appear(self, config: GroupConfig) -> None:
        """Add a group, unless another client was faster, or has ordered a reload or a shutdown."""
        if config.name not in self._supervisor.groups and self._supervisor.state is DaemonState.RUNNING:
            self._add(config)

    def _is_active(self, group: Group) -> bool:
        return self._supervisor.groups.get(group.name) is group and self._supervisor.state is DaemonState.RUNNING

    async def _change(self, group: Group, new: GroupConfig, dry_run: bool) -> list[Step]:
        name = group.name
        if not same_frame(group.config, new):
            if not dry_run:
                again = {config.name for config in new.processes if config.autostart}
                with owed(self._supervisor, [one for one in group.processes.values() if one.name in again]):
                    await self._supervisor.stop(group.processes.values())
                    if any(map(_lives_on, group.processes.values())):
                        return [Step("error", name, None, f"{name}: has problems; not updating")]
                    self._forget(group)
                    self._appear(new)
            stopped = [Step("stopped", name, None, f"{name}: stopped")]
            return [*stopped, Step("updated", name, None, f"{name}: updated process group")]
        plan = self._plan(group, new)
        done = plan if dry_run else await self._follow(group, new, plan)
        stops = [Step("stopped", name, None, f"{name}: stopped")] if any(step.kind in STOPPING for step in done) else []
        if any(step.kind == "error" for step in done):  # it is not what the files say
            return [*stops, *done]
        return [*stops, *done, Step("updated", name, None, f"{name}: updated process group")]

    def _plan(self, group: Group, new: GroupConfig) -> list[Step]:
        """What changes for each member, and how gently it can be brought about."""
        wanted = {config.name: config for config in new.processes}
        steps = [self._step("remove", group, name) for name in group.processes if name not in wanted]
        for name, config in wanted.items():
            if name not in group.processes:
                steps.append(self._step("add", group, name))
            elif is_outdated(group.processes[name]):
                steps.append(self._step("restart", group, name))
            elif (change := classify(group.processes[name].config, config)) is not Change.NOTHING:
                kind = "start" if _is_to_start(group.processes[name], config) else KINDS[change]
                steps.append(self._step(kind, group, name, starts=config.autostart))
        return steps

    def _step(self, kind: str, group: Group, name: str, *, starts: bool = True) -> Step:
        """`starts`: what a restart finds at rest is started by it."""
        namespec = name if name == group.name else f"{group.name}:{name}"
        stays_down = kind in KINDS.values() and group.processes[name].at_rest and not (kind == "restart" and starts)
        return Step(kind, group.name, name, f"{namespec}: {TEXTS['down' if stays_down else kind]}")

    async def _follow(self, group: Group, new: GroupConfig, plan: Sequence[Step]) -> list[Step]:
        """Carry out a plan; returns it as it went. What cannot be ended stays as it is, for a later update to try."""
        wanted = {config.name: config for config in new.processes}
        restarted = [step.process or "" for step in plan if step.kind == "restart"]
        await at_once(lambda name: self._replace(group.processes[name], wanted[name]), restarted)
        await self._supervisor.stop([group.processes[step.process or ""] for step in plan if step.kind == "remove"])
        if not self._is_active(group):  # another client has removed it meanwhile, or ends everything
            return list(plan)
        done = [self._unless_it_lives_on(group, step) for step in plan]
        for step in done:
            if step.kind == "error" and step.process:
                wanted[step.process] = group.processes[step.process].config
        group.config = replace(new, processes=tuple(wanted.values()))
        self._supervisor.regroup(group)
        for step in done:
            name = step.process or ""
            match step.kind:
                case "remove":
                    self._supervisor.remove_process(group, name)
                case "add":
                    self._supervisor.autostart([self._supervisor.add_process(group, wanted[name])])
                case "live" | "next-start":
                    self._configure(group.processes[name], wanted[name])
                case "start":
                    self._configure(group.processes[name], wanted[name])
                    self._supervisor.autostart([group.processes[name]])
                case _:  # restarted above, or not to be ended
                    pass
        group.processes = {name: group.processes[name] for name in wanted}
        return done

    def _unless_it_lives_on(self, group: Group, step: Step) -> Step:
        if step.kind not in STOPPING:
            return step
        process = group.processes[step.process or ""]
        if not (_lives_on(process) if step.kind == "remove" else process.state is State.UNKNOWN):
            return step
        return step._replace(kind="error", text=f"{step.text.partition(': ')[0]}: {TEXTS['error']}")

    async def _replace(self, process: Process, config: ProgramConfig) -> None:
        """Stop, change, and start again what was up or starts by itself; nothing of what cannot be ended."""
        again = process.state in RUNNING_STATES or config.autostart
        with owed(self._supervisor, [process] if again else []):
            await self._supervisor.stop([process])
            if process.removed or process.state is State.UNKNOWN:
                return
            self._configure(process, config)
            if again:
                self._supervisor.tell(process, Start())

    def _configure(self, process: Process, config: ProgramConfig) -> None:
        process.machine.config = config
        process.logs.reconfigure(config)
        if process.machine.pid is not None:
            self._supervisor.memory.remember(process)  # how it is to be stopped, too


def _lives_on(process: Process) -> bool:
    """Whether it could not be ended, or another client has started it again meanwhile: it must not be forgotten, nor
    get a second copy beside it."""
    return process.state is State.UNKNOWN or not process.at_rest


def _is_to_start(process: Process, config: ProgramConfig) -> bool:
    """Whether nothing of it runs, and `autostart` has just been set: as a group that is added, it starts."""
    return config.autostart and not process.config.autostart and process.at_rest and process.state is not State.UNKNOWN
