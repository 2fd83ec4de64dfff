from dataclasses import replace

import pytest

from supervise.config import values
from supervise.config.convert import Converter
from supervise.config.declare import Change, Names, Option
from supervise.config.document import Document, Entry, Section
from supervise.config.machine import Machine
from supervise.config.problems import MachineError, Problems

OPTION = Option(
    key="size",
    doc="A size.",
    type=values.SIZE,
    default=7,
    where=("program",),
    names=Names.HERE,
    changed=Change.LIVE,
    required=False,
)


@pytest.fixture
def converter(machine: Machine) -> Converter:
    return Converter(Document("f", "/here"), machine, Problems(), {"ENV_N": "5"})


def section(converter: Converter, raw: object) -> Section:
    converter.document.open("program:x", "f", 1)["size"] = Entry(raw, "f", 2)
    return converter.document.sections["program:x"]


@pytest.mark.parametrize(("raw", "value"), [("%(ENV_N)sKB", 5120), (3, 3)])
def test_values(converter: Converter, raw: object, value: int) -> None:
    assert converter.get(section(converter, raw), OPTION) == value
    assert not converter.problems.errors


def test_what_is_not_set_has_its_default(converter: Converter) -> None:
    assert converter.get(Section("program:x", "f", 1, {}), OPTION) == 7
    assert converter.get(Section("program:x", "f", 1, {}), replace(OPTION, required=True)) is None
    assert converter.get(Section("program:x", "f", 1, {}), replace(OPTION, type=values.ENVIRONMENT, default=())) == {}
    log = replace(OPTION, type=values.LOG, default="a.log")
    assert converter.get(Section("program:x", "f", 1, {}), log) == f"{converter.machine.cwd}/a.log"


@pytest.mark.parametrize("raw", ["5M", "%(nope)s", True])
def test_what_is_wrong_has_its_default_too(converter: Converter, raw: object) -> None:
    assert converter.get(section(converter, raw), OPTION) == 7
    assert [error.line for error in converter.problems.errors] == [2]


def test_what_the_machine_lacks_keeps_its_value(converter: Converter) -> None:
    assert converter.get(section(converter, "/no/such"), replace(OPTION, type=values.DIRECTORY)) == "/no/such"
    assert isinstance(converter.problems.errors[0], MachineError)


def test_names_by_level(converter: Converter) -> None:
    extra = {"program_name": "x"}
    assert set(converter.names(Names.ENV, extra)) == {"ENV_N"}
    assert set(converter.names(Names.HERE, extra)) == {"ENV_N", "here"}
    assert set(converter.names(Names.PROCESS, extra)) == {"ENV_N", "here", "program_name"}
