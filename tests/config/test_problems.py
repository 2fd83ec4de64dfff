from collections.abc import Callable

import pytest

from supervise.config.lint import lint
from supervise.config.load import Examination
from supervise.config.machine import Machine
from supervise.config.problems import MachineError, NotHere, Place, Problems, did_you_mean


def test_equal_problems_are_kept_once() -> None:
    problems = Problems()
    place = Place("f", 3, "program:x", "user")
    for _ in range(2):
        problems.error(place, "wrong")
        problems.warn(place, "odd")
        problems.warn_as_stock(place, "For [program:x], odd")
    problems.info("Included")
    assert [str(error) for error in problems.errors] == ["f:3: [program:x] user: wrong"]
    assert problems.messages == [(30, "f:3: [program:x] user: odd"), (30, "For [program:x], odd"), (20, "Included")]
    assert len(problems.warnings) == 2


def test_what_only_this_machine_lacks_is_marked() -> None:
    problems = Problems()
    problems.error(Place("f"), NotHere("no such user"))
    problems.error(Place("f"), ValueError("wrong"))
    assert [isinstance(error, MachineError) for error in problems.errors] == [True, False]


def test_suggestions() -> None:
    assert did_you_mean("comand", ["command", "user"]) == "; did you mean command?"
    assert did_you_mean("her", ["here"], "%({})s") == "; did you mean %(here)s?"
    assert did_you_mean("depends_on", ["command", "user"]) == ""


PLACES = {
    "[user:u]\nrole=read\npassword=": "",
    "[inet_http_server]\nport=1\nusername=a\npassword=": "",
    "[supervisorctl]\npassword=": "",
    '[program:x]\ncommand=cat\nenvironment=A="b",DB_PASSWORD=': "",
    "[supervisord]\nenvironment=DB_PASSWORD=": "",
    "[program:x]\ncommand=cat --password=": "",
    "[program:x]\ncommand=PGPASSWORD=": "",
    "[rpcinterface:x]\nsupervisor.rpcinterface_factory=os:getcwd\nanything=": "",
    "[ctlplugin:x]\nsupervisor.ctl_factory=os:getcwd\nanything=": "",
    "[supervisorctl]\nserverurl=http://me:": "@host",
    "[program:x]\ncommand=cat\npassword=": "",
    "[program:x]\ncommand=cat\n": "",
    "": "\n",
}
TEXTS = [
    *(
        "S3CRET%z",
        "S3CRET%",
        "%S3CRET",
        "%(S3CRET)s",
        "a%(ENV_X)sS3CRET",
        "%(ENV_COLOR)dS3CRET",
        '"S3CRET',
        "'S3CRET%z",
    ),
    *('"a ;S3CRET"', '"S3CRET ;b"', '"a #S3CRET"', "$S3CRET", '"${S3CRET}"', "`S3CRET`", "S3CRET@a,", "a'b@S3CRET"),
    *("{SCRYPT}S3CRET", "{SHA}S3CRET", "S3CRET;", "S3CRET>S3CRET", "S3CRET", '"S3CRET\\"%z', "\\", "'S3CRET'S3CRET@"),
]


@pytest.mark.parametrize("place", PLACES)
def test_no_message_shows_a_secret(look: Callable[..., Examination], machine: Machine, place: str) -> None:
    for text in TEXTS:
        found = look(f"{place}{text}{PLACES[place]}")
        told = [*found.errors, *found.warnings, *lint(found.draft, machine)]
        assert "S3CRET" not in str([*map(str, told), *found.draft.messages]), text


@pytest.mark.parametrize(
    "toml",
    [
        'user.u = {role = "read", password = ["S3CRET"]}',
        "user.u = {role = 'read', password = 'S3CRET%z'}",
        'supervisorctl.password = ["S3CRET"]',
        'program.x = {command = "cat", environment = {A = "S3CRET%z", B = "S3CRET"}}',
        'program.x = {command = "cat", environment = {A = ["S3CRET"]}}',
        'program.x = {command = "cat", environment = {"A=S3CRET" = "x"}}',
        'program.x = {command = "cat", environment = ["S3CRET"]}',
        'program.x = {command = ["cat", "--password", "S3CRET%z"]}',
        'program.x = {command = ["cat", "--password", "S3CRET", 5]}',
        'program.x = {command = ["cat", "sh -c \'x --password S3CRET\'", "%z"]}',
        'program.x = {command = {password = "S3CRET"}}',
        'rpcinterface.x = {"supervisor.rpcinterface_factory" = "os:getcwd", a = ["S3CRET"]}',
        'user.u = {role = "read", password = "S3CRET\\z"}',
        'user.u = {role = "read", password = "S3CRET}',
        'user.u = {role = "read", password = S3CRET}',
    ],
)
def test_nor_of_toml(look: Callable[..., Examination], toml: str) -> None:
    found = look(f"{toml}\n[supervisord]\n", "supervisord.toml")
    assert found.errors or found.warnings
    assert "S3CRET" not in str([*map(str, (*found.errors, *found.warnings)), *found.draft.messages])


def test_what_is_no_secret_is_shown(look: Callable[..., Examination]) -> None:
    text = "[program:x]\ncommand=cat --password=%(ENV_DB_PASS)s %(hree)s\nenvironment=A=%(ENV_A)s\nstartsecs=5x"
    assert [error.message.partition(" Available")[0] for error in look(text).errors] == [
        "Format string 'cat --password=******** %(hree)s' for 'program:x.command' contains names ('ENV_DB_PASS') which"
        " cannot be expanded.",
        "Format string 'A=%(ENV_A)s' for 'environment' contains names ('ENV_A') which cannot be expanded.",
        "invalid literal for int() with base 10: '5x'; write seconds, or a duration such as \"1m30s\"",
    ]
