"""`supervise check`, `schema` and `sample`: look at configurations without running them."""

import json
import os
import sys

import click

from supervise.config.discover import find
from supervise.config.lint import lint
from supervise.config.load import Examination, examine
from supervise.config.machine import Machine
from supervise.config.problems import MachineError
from supervise.config.sample import sample as build_sample
from supervise.config.schema import schema as build_schema
from supervise.config.show import as_json
from supervise.errors import ConfigError, ConfigErrors


@click.command()
@click.option("-c", "--configuration", metavar="PATH", help="A file (INI or TOML) or a directory; else searched for.")
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option("--json", "as_object", is_flag=True, help="Print what is in force, and the problems, as one JSON object.")
@click.pass_context
def check(ctx: click.Context, /, configuration: str | None, strict: bool, as_object: bool) -> None:
    """Load a configuration and print all that is wrong with it, one problem a line.

    Exit status 0, or 2 if the daemon would refuse it on the machine it is meant for. Problems of this machine, such as
    a user that does not exist here, are warnings.
    """
    machine = Machine()
    errors, warnings, found = _examine(configuration or ctx.obj, machine)
    for problem in errors:
        click.echo(str(problem), err=as_object)
    for problem in warnings:
        click.echo(f"{problem} (warning)", err=as_object)
    failed = bool(errors) or (strict and bool(warnings))
    if as_object:
        shown = as_json(found.config) if found and found.config else {}
        shown |= {"errors": [*map(_problem, errors)], "warnings": [*map(_problem, warnings)]}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        click.echo(_summary(found, len(errors), len(warnings)))
    ctx.exit(2 if failed else 0)


def _examine(path: str | None, machine: Machine) -> tuple[list[ConfigError], list[ConfigError], Examination | None]:
    """Errors, warnings, and what was read; None if nothing could be."""
    try:
        path = path or find(sys.argv[0], machine.cwd)
        if path is None:
            raise click.UsageError("No config file found at default paths; use the -c option to specify one")
        found = examine(path, machine)
    except ConfigError as problem:
        return [problem], [], None
    except ConfigErrors as problems:
        return list(problems.problems), [], None
    errors = [error for error in found.errors if not isinstance(error, MachineError)]
    warnings = [_as_warning(error) for error in found.errors if isinstance(error, MachineError)]
    warnings += found.warnings
    warnings += lint(found.draft, machine)
    return errors, warnings, found


def _as_warning(error: ConfigError) -> ConfigError:
    return ConfigError(
        f"{error.message}; supervise would refuse to start here",
        file=error.file,
        line=error.line,
        section=error.section,
        option=error.option,
    )


def _problem(problem: ConfigError) -> dict[str, str | int]:
    return {
        "file": problem.file,
        "line": problem.line,
        "section": problem.section,
        "option": problem.option,
        "message": problem.message,
    }


def _summary(found: Examination | None, errors: int, warnings: int) -> str:
    counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    if found is None or found.config is None:
        return counts
    groups = found.config.groups
    processes = sum(len(group.processes) for group in groups)
    name = os.path.relpath(found.config.file) if found.config.file.startswith(os.getcwd()) else found.config.file
    return f"{name}: {_count(len(groups), 'group')}, {_count(processes, 'process', 'processes')}; {counts}"


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


@click.command()
def schema() -> None:
    """Print a JSON Schema of the TOML form, for editors."""
    click.echo(json.dumps(build_schema(), indent=2, ensure_ascii=False))


@click.command()
def sample() -> None:
    """Print a configuration to begin with (INI), every option in it; as echo_supervisord_conf, also by that name."""
    click.echo(build_sample())
